"""What a cluster is asked for: how many jobs, and memory, time and GPUs of each."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter

import pytest
from miniature import Miniature, fresh

pytestmark = pytest.mark.slow
PROFILE = ("--workflow-profile", "profiles/slurm")


@pytest.fixture
def miniature(tmp_path) -> Miniature:
    return Miniature(tmp_path / "run")


def submissions(miniature: Miniature) -> tuple[Counter[str], list[str]]:
    """How many submissions there would be of each group or single rule, and all jobs' resources."""
    done = miniature.snakemake("--dry-run", *PROFILE)
    assert done.returncode == 0, done.stderr[-6000:]
    text = done.stdout + done.stderr
    names = re.findall(r"^(?:\[.*\] Group job (\w+) \(|rule (\w+):)", text, re.MULTILINE)
    found = Counter(group or rule for group, rule in names)
    del found["default"]  # it does nothing, where Snakemake runs
    return found, re.findall(r"resources: (.*)", text)


def test_short_jobs_go_in_few_submissions(miniature):
    found, resources = submissions(miniature)
    assert found == {
        # Of the source and of the target; the groups that wait for no training are joined.
        **{"data": 2, "patch": 1, "preflight": 3, "train": 5},
        **{"evaluate": 1, "bundle": 2, "figures": 1},
    }
    needs = [line for line in resources if "grouped=1" in line]
    assert len(needs) == len(resources) - 1 > 50  # of the default target
    assert all(re.search(r"mem_mb=\d", line) and re.search(r"runtime=\d", line) for line in needs)


def test_experiments_in_stages_are_grouped_as_well(miniature):
    second = {**fresh(miniature.config["experiments"]["tuned"]), "start_from": "tuned"}
    miniature.config["experiments"]["second"] = second
    assert submissions(miniature)[0]["train"] == 7


def test_what_is_asked_for_follows_the_configuration(miniature):
    miniature.config["resources"] = {"training": {"mem_mb": 7001, "runtime": 77}}
    miniature.config["training"] = {"gpu": True, "threads": 2}
    done = miniature.snakemake("--dry-run", *PROFILE)
    trainings = re.findall(
        r"^ *threads: 2\n *resources: (.*gpu=1.*)$", done.stdout + done.stderr, re.MULTILINE
    )
    assert len(trainings) == 5
    for line in trainings:
        assert {"runtime=77", "mem_mb=7001"} <= set(line.split(", "))


STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "apptainer version 1.3.0"; exit; fi
echo "$@" >> "$APPTAINER_LOG"
for word; do shift; case "$word" in *.sif) break ;; esac; done
exec "$@"
"""


def test_every_job_runs_in_the_image_that_is_named(miniature, monkeypatch):
    """By a stand-in for Apptainer, which notes what it is asked for and runs it as it is."""
    program = miniature.folder / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    log = miniature.folder / "apptainer.log"
    (miniature.folder / "recaffe.sif").touch()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("APPTAINER_LOG", str(log))
    miniature.config["container"] = "recaffe.sif"
    target = "results/bars/lmdb/train.json"
    miniature.run("--", target)
    assert not log.exists()
    shutil.rmtree(miniature.folder / "results")
    miniature.run("--software-deployment-method", "apptainer", "--", target)
    asked = log.read_text()
    assert re.findall(r"python -m (caffetools\.\w+)", asked) == [
        "caffetools.dataset",
        "caffetools.lmdb",
    ]
    assert asked.count("/recaffe.sif ") + asked.count(" recaffe.sif ") == 2
