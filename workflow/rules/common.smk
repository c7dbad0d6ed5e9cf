# What all rules share: the checked configuration and the digests of the commands' code.
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.shell import shell
from snakemake.utils import update_config, validate

from caffetools.cli import ToolError
from caffetools.config import check_config, typed
from caffetools.digest import files_digest, folder_digest, source_digest
from caffetools.plan import Plan, run_folder
from caffetools.plan_detection import DetectionPlan

# Rules say `python`: the one that runs Snakemake, also where no environment is activated.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)
# `logged LOG COMMAND`, by which all rules run their commands.
LOGGED = workflow.source_path("../scripts/logged.sh")
shell.prefix(f"set -euo pipefail; . {shlex.quote(LOGGED)}; ")


def loudness():
    """How much commands say: as Snakemake was told at first, also in jobs of other machines."""
    settings = workflow.output_settings
    told = "verbose" if settings.verbose else "quiet" if settings.quiet else "normal"
    return os.environ.get("RECAFFE_LOG", told)


os.environ.update(RECAFFE_LOG=loudness())


def checked_plan(schemas):
    """The plan of the configuration, which must be as its task's schema says."""
    try:
        update_config(config, typed(workflow.config_settings.config))
        detects = config.get("task") == "detection"
        schema = schemas["detection" if detects else "classification"]
        check_config(config, Path(schema))
        validate(config, schema)
        plan = DetectionPlan(config) if detects else Plan(config)
        plan.require_folders()
        return plan
    except ToolError as error:
        raise WorkflowError(str(error)) from None


PLAN = checked_plan(
    {
        "classification": workflow.source_path("../schemas/config.schema.yaml"),
        "detection": workflow.source_path("../schemas/detection.schema.yaml"),
    }
)
# The only modules that nets may run as Python layers.
os.environ.update(RECAFFE_PYTHON_LAYERS=",".join(PLAN.python_layers))
# Snakemake gives a job fewer threads where there are fewer cores, and sums would be added up in
# another order.
PINNED = "env " + " ".join(
    f"{library}_NUM_THREADS={config['training']['threads']}"
    for library in ("OMP", "OPENBLAS", "MKL")
)
RUN = "results/{dataset}/experiments/{experiment}/seed{seed}"
# Of whose run figures and bundles are made.
FIRST_SEED = PLAN.seeds[0]
PREFLIGHT = "results/{dataset}/experiments/{experiment}/preflight.json"


wildcard_constraints:
    dataset="|".join(PLAN.datasets),
    split="train|val|test",
    experiment="[A-Za-z0-9][A-Za-z0-9_-]*",
    seed=r"\d+",


def as_param(value):
    """A value as one string: Snakemake compares a rule's parameters as a set."""
    return json.dumps(value, sort_keys=True)


def one_of(names):
    """A pattern for these names; of none, one that nothing fits."""
    return "|".join(names) or "(?!)"


def lmdb_inputs(*splits):
    """LMDBs of the target of the wildcard, each with the manifest that tells of a change."""
    return [f"results/{{dataset}}/lmdb/{split}.json" for split in splits] + [
        ancient(f"results/{{dataset}}/lmdb/{split}/data.mdb") for split in splits
    ]


def database_folder(wildcards, input):
    """The folder of the one LMDB among a rule's inputs."""
    return os.path.dirname(input.lmdb[1])


def listing(dataset):
    """Changes when a file of a user's folder is added, removed or replaced."""
    folder = PLAN.given_folder(dataset)
    if not folder or not Path(folder).is_dir():
        return ""
    # Of listed images the folder may hold many more, or be the root of all.
    if PLAN.is_listed(dataset):
        return files_digest(Path(folder), PLAN.listed_paths(dataset))
    return folder_digest(Path(folder))


def runs(pattern, experiments=None):
    """``pattern`` for every run of the experiments on the target data set."""
    return expand(
        pattern,
        dataset=PLAN.target,
        experiment=experiments or PLAN.experiments,
        seed=PLAN.seeds,
    )


def weights_before(wildcards):
    """The weights that the first seed started from, none where it started from fillers."""
    return PLAN.weights(wildcards.dataset, wildcards.experiment, FIRST_SEED) or []


def before_option(wildcards, input):
    """The option that tells a command of the weights before, where there are some."""
    return ["--before", input.before] if input.before else []
