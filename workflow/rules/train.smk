# From a published net to trained and evaluated ones.


rule fetch:
    """Fetch published weights and check them against their checksum."""
    output:
        f"results/{PLAN.target}/pretrained.caffemodel",
    log:
        f"results/{PLAN.target}/logs/fetch.log",
    cache: "omit-software"
    conda:
        "../../envs/recaffe.yaml"
    params:
        code=source_digest("caffetools.fetch"),
        options=PLAN.fetch_options,
    shell:
        "logged {log:q} python -m caffetools.fetch {params.options:q} --output {output:q}"


rule published:
    """Write the net or the solver of a published model."""
    output:
        PLAN.published_file("{kind}"),
    log:
        f"results/{PLAN.target}/logs/published.{{kind}}.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/published.{{kind}}.tsv"
    wildcard_constraints:
        kind="train_val|solver",
    group:
        "patch"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.pretrained.__main__"),
        name=PLAN.published.name if PLAN.published else "",
    shell:
        "logged {log:q} python -m caffetools.pretrained prototxt {params.name:q} --kind {wildcards.kind}"
        " --output {output:q}"


rule gray_weights:
    """Sum the first kernels over the colours, for images of one channel."""
    input:
        PLAN.pretrained_weights,
    output:
        PLAN.gray_weights,
    log:
        f"results/{PLAN.target}/logs/gray_weights.log",
    benchmark:
        f"results/{PLAN.target}/benchmarks/gray_weights.tsv"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.gray_weights"),
    shell:
        "logged {log:q} python -m caffetools.gray_weights --weights {input:q} --output {output:q}"


rule patch:
    """Turn the published net and solver into those of one run."""
    input:
        net=PLAN.model["train_val"],
        solver=PLAN.model["solver"],
        classes="results/{dataset}/dataset/classes.txt",
        lmdbs=lmdb_inputs("train", "val"),
    output:
        net=f"{RUN}/train_val.prototxt",
        solver=f"{RUN}/solver.prototxt",
        deploy=f"{RUN}/deploy.prototxt",
        changes=f"{RUN}/patch.json",
    log:
        "results/{dataset}/logs/patch.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/patch.{experiment}.{seed}.tsv"
    group:
        "patch"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("short"),
    params:
        code=source_digest("caffetools.patch"),
        settings=lambda wildcards: as_param(
            PLAN.settings(wildcards.dataset, wildcards.experiment, int(wildcards.seed))
        ),
    shell:
        "logged {log:q} python -m caffetools.patch --net {input.net:q} --solver {input.solver:q}"
        " --settings {params.settings:q} --data results/{wildcards.dataset}"
        ' --output "$(dirname {output.net:q})"'


rule preflight:
    """Report what would go wrong with a training; an error stops the run before it starts."""
    input:
        net=expand(rules.patch.output.net, seed=FIRST_SEED, allow_missing=True),
        solver=expand(rules.patch.output.solver, seed=FIRST_SEED, allow_missing=True),
        lmdbs=lmdb_inputs("train", "val"),
        mean=(
            "results/{dataset}/mean.binaryproto" if PLAN.model["subtract_mean"] else []
        ),
        classes="results/{dataset}/dataset/classes.txt",
        duplicates="results/{dataset}/dataset/duplicates.csv",
        weights=lambda wildcards: PLAN.weights(
            wildcards.dataset, wildcards.experiment, FIRST_SEED
        )
        or [],
    output:
        PREFLIGHT,
    log:
        "results/{dataset}/logs/preflight.{experiment}.log",
    benchmark:
        "results/{dataset}/benchmarks/preflight.{experiment}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.preflight.__main__"),
        options=lambda wildcards, input: [
            *(["--weights", input.weights] if input.weights else []),
            *PLAN.preflight_options(wildcards.dataset, wildcards.experiment),
        ],
    shell:
        "logged {log:q} python -m caffetools.preflight --solver {input.solver:q} --classes {input.classes:q}"
        " --duplicates {input.duplicates:q} {params.options:q} --output {output:q}"


rule preflight_all:
    """What would go wrong, of every experiment, without any training on the target."""
    input:
        expand(PREFLIGHT, dataset=PLAN.target, experiment=PLAN.experiments),


rule train:
    """Train one run, from its last snapshot if it was stopped."""
    input:
        net=rules.patch.output.net,
        solver=rules.patch.output.solver,
        lmdbs=lmdb_inputs("train", "val"),
        mean=(
            "results/{dataset}/mean.binaryproto" if PLAN.model["subtract_mean"] else []
        ),
        weights=lambda wildcards: PLAN.weights(
            wildcards.dataset, wildcards.experiment, int(wildcards.seed)
        )
        or [],
        # Not ancient(): where both must run, Snakemake would then forget that this one must. A
        # preflight alone costs no training, which finds its last snapshot and is done.
        preflight=PREFLIGHT,
    output:
        weights=f"{RUN}/final.caffemodel",
        history=f"{RUN}/history.csv",
        gradients=f"{RUN}/gradients.csv",
    log:
        "results/{dataset}/logs/train.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/train.{experiment}.{seed}.tsv"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("training"),
        gpu=int(PLAN.uses_gpu),
    params:
        code=source_digest("caffetools.train"),
        command=PLAN.on_caffe("caffetools.train"),
        # Outside the outputs, which Snakemake deletes when a job fails.
        snapshots=f"{RUN}/snapshots",
        options=lambda wildcards, input: [
            *(["--weights", input.weights] if input.weights else []),
            *PLAN.computing_options,
        ],
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --solver {input.solver:q} {params.options:q}"
        " --snapshots {params.snapshots:q} --output {output.weights:q}"
        " --history {output.history:q} --gradients {output.gradients:q}"


rule evaluate:
    """Count the errors of a trained net on the test LMDB."""
    input:
        net=rules.patch.output.net,
        weights=rules.train.output.weights,
        lmdb=lmdb_inputs("test"),
        mean=(
            "results/{dataset}/mean.binaryproto" if PLAN.model["subtract_mean"] else []
        ),
        classes="results/{dataset}/dataset/classes.txt",
    output:
        evaluation=f"{RUN}/evaluation.json",
        per_class=f"{RUN}/per_class.csv",
        confusion=f"{RUN}/confusion.csv",
        calibration=f"{RUN}/calibration.csv",
        predictions=f"{RUN}/predictions.csv",
    log:
        "results/{dataset}/logs/evaluate.{experiment}.{seed}.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate.{experiment}.{seed}.tsv"
    group:
        "evaluate"
    conda:
        "../../envs/recaffe.yaml"
    threads: config["training"]["threads"]
    resources:
        **PLAN.resources("nets"),
    params:
        code=source_digest("caffetools.evaluate"),
        command=PLAN.on_caffe("caffetools.evaluate"),
        lmdb=database_folder,
        options=PLAN.evaluation_options,
    shell:
        f"logged {{log:q}} {PINNED}"
        " python -m {params.command:q} --net {input.net:q} --weights {input.weights:q}"
        " --lmdb {params.lmdb:q} --classes {input.classes:q} {params.options:q}"
        ' --output-dir "$(dirname {output.evaluation:q})"'
