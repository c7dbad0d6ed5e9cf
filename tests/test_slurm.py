"""The workflow on a real Slurm on this machine: its results, early ends and failures."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import slurm
from miniature import Miniature

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
LONGEST = 900.0
TRAINED = "experiments/scratch/seed0"
ITERATIONS = 30
# So that the wall-time, of which Slurm's shortest is a minute, comes before the end.
PAUSE = 2.5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    try:
        slurm.require()
    except slurm.SlurmError as error:
        pytest.skip(str(error))
    with slurm.running(tmp_path_factory.mktemp("slurm") / "cluster"):
        yield


def only_scratch(folder: Path, **solver: object) -> Miniature:
    """A miniature with one experiment from no weights, and one seed."""
    miniature = Miniature(folder)
    row = miniature.config["experiments"]["scratch"]
    row["solver"] = {**row["solver"], **solver}
    miniature.config["experiments"] = {"scratch": row}
    miniature.config["seeds"] = [0]
    return miniature


class Whole(NamedTuple):
    """A workflow that runs from its start to its end."""

    miniature: Miniature
    log: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module", autouse=True)
def whole(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Beside all that the tests do: most of the time it waits for Slurm, as they do."""
    folder = tmp_path_factory.mktemp("whole")
    miniature, log = only_scratch(folder / "run"), folder / "whole.log"
    with slurm.submit(miniature, log) as process:
        yield Whole(miniature, log, process)
        process.kill()


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that happens while a process runs."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_training_that_is_stopped_comes_back_and_goes_on(tmp_path):
    """First cancelled, then at the end of its time, then it comes to its end."""
    target = f"results/bars/{TRAINED}/final.caffemodel"
    here = only_scratch(tmp_path / "here", max_iter=ITERATIONS)
    there = only_scratch(tmp_path / "there", max_iter=ITERATIONS)
    here.run(target)
    there.run(
        f"results/bars/{TRAINED}/patch.json", "results/bars/experiments/scratch/preflight.json"
    )
    slow_down(there)
    there.config["resources"] = {"training": {"mem_mb": 1000, "runtime": 1}}
    log, trained = tmp_path / "there.log", there.path("logs/train.scratch.0.log")
    options = (target, "--retries", "6", "--rerun-triggers", "mtime")
    with slurm.submit(there, log, *options) as process:
        wait_until(lambda: trained.is_file() and "iteration 3 of" in trained.read_text(), process)
        slurm.cancel(*slurm.jobs("there", "train"))
        assert process.wait(LONGEST) == 0, log.read_text()[-6000:]
    said = log.read_text()
    ends = re.findall(r"SLURM status is: '(\w+)'", said)
    assert ends[:2] == ["CANCELLED", "TIMEOUT"]
    assert set(ends[2:]) <= {"TIMEOUT"}  # as often as this machine is slow
    went_on = re.search(r"going on from iteration (\d+)", trained.read_text())
    assert went_on is not None
    assert int(went_on[1]) > 8  # which the second attempt got to, and not the first
    for name in ("final.caffemodel", "history.csv", "gradients.csv"):
        results = [each.path(f"{TRAINED}/{name}").read_bytes() for each in (here, there)]
        assert results[0] == results[1]


def slow_down(miniature: Miniature) -> None:
    """Let each iteration of its trainer wait."""
    path = miniature.folder / "src" / "caffetools" / "train.py"
    text = path.read_text()
    step = "                self._step(1)\n"
    assert text.count(step) == 1
    path.write_text(
        text.replace(step, f"{step}                __import__('time').sleep({PAUSE})\n")
    )


def test_the_log_of_a_job_that_fails_is_shown(tmp_path):
    miniature = only_scratch(tmp_path / "run")
    miniature.config["experiments"]["scratch"]["freeze_up_to"] = "nowhere"
    log = tmp_path / "run.log"
    with slurm.submit(
        miniature, log, "--retries", "0", f"results/bars/{TRAINED}/patch.json"
    ) as run:
        assert run.wait(LONGEST) == 1
    said = log.read_text()
    assert "Error in group patch" in said
    assert re.search(r"^ *error: .*nowhere", said, re.MULTILINE)


def test_its_results_are_those_of_one_machine(tmp_path, whole):
    here = only_scratch(tmp_path / "here")
    here.run()
    assert whole.process.wait(LONGEST) == 0, whole.log.read_text()[-6000:]
    assert whole.miniature.hashes() == here.hashes()
    submitted = re.findall(r"has been submitted with SLURM jobid \d+", whole.log.read_text())
    assert len(submitted) == 7
