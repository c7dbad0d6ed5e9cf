"""What a cluster is asked for: how many jobs, and memory, time and GPUs of each."""

from __future__ import annotations

import re
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
