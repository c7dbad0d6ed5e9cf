"""What is told of a job that failed, and what stays of what jobs said before."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from miniature import Miniature

pytestmark = pytest.mark.slow
SUMMARY = "results/bars/dataset/summary.json"
MANIFEST = "results/bars/dataset/manifest.csv"
ERROR = "photos/high/zz.png"


@pytest.fixture
def strict(tmp_path) -> Miniature:
    """A data set that wants every image, with one that cannot be read."""
    miniature = Miniature(tmp_path / "run")
    miniature.config["dataset"]["strict"] = True
    (miniature.folder / ERROR).write_bytes(b"no image")
    return miniature


def lines_after(text: str, start: str) -> list[str]:
    return [line.strip() for line in text.partition(start)[2].splitlines()]


@pytest.mark.parametrize("options", [(), ("--quiet", "rules")])
def test_the_log_and_the_command_of_what_failed_are_told_at_the_end(strict, options):
    done = strict.snakemake(*options, "--", SUMMARY)
    assert done.returncode == 1
    said = lines_after(done.stderr, "results/bars/logs/dataset.log ends with:\n")
    assert said[0] == "dropped: 'high/zz.png' cannot be decoded as an image"
    told = lines_after(done.stderr, "This job alone:\n")[0]
    assert told == f"snakemake --cores 2 --nocolor {' '.join(options)} -- {MANIFEST}".replace(
        "  ", " "
    )
    (strict.folder / ERROR).unlink()
    again = [sys.executable, "-m", *shlex.split(told)]
    strict.start("--version").communicate()  # the configuration as it is now
    done = subprocess.run(again, cwd=strict.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (strict.folder / MANIFEST).is_file()


def test_what_earlier_attempts_said_stays(strict):
    logs = strict.path("logs")
    said = []
    for name in ("zz.png", "a.png", "b.png"):
        (strict.folder / "photos/high" / name).write_bytes(b"no image")
        strict.snakemake("--", SUMMARY)
        said.append(strict.log("dataset"))
        (strict.folder / "photos/high" / name).unlink()
    assert len(set(said)) == 3
    assert [(logs / f"dataset.log.{n}").read_text() for n in (1, 2)] == [said[1], said[0]]
    for n in range(3, 10):
        (logs / f"dataset.log.{n}").write_text(f"older {n}")
    strict.run("--", SUMMARY)
    kept = {path.name: path.read_text() for path in logs.glob("dataset.log*")}
    assert sorted(kept) == ["dataset.log", *(f"dataset.log.{n}" for n in range(1, 10))]
    assert [kept[f"dataset.log.{n}"] for n in (1, 3, 4, 9)] == [
        *(said[2], said[0], "older 3", "older 8"),
    ]


def test_an_attempt_that_came_to_its_end_is_no_failure(strict):
    """What hinders the first is gone before one of the next."""
    broken = strict.folder / ERROR
    output = strict.folder / "said"
    with output.open("w") as stream:
        process = strict.start("--retries", "50", "--", SUMMARY, output=stream)
        while not strict.path("logs/dataset.log.1").exists():
            assert process.poll() is None, output.read_text()
            time.sleep(0.1)
        broken.unlink()
        process.wait(timeout=200)
    said = output.read_text()
    assert process.returncode == 0, said
    assert "Error in rule dataset" in said
    assert "ends with:" not in said


def test_of_a_long_log_the_end_is_told(strict):
    for number in range(40):
        (strict.folder / "photos/high" / f"{number}.png").write_bytes(b"no image")
    done = strict.snakemake("--", SUMMARY)
    assert done.returncode == 1
    said = lines_after(done.stderr, "results/bars/logs/dataset.log ends with:\n")
    log = strict.log("dataset").splitlines()
    assert len(log) > 40
    assert said[:21] == [
        f"(... {len(log) - 20} lines before)",
        *(line.strip() for line in log[-20:]),
    ]


def test_commands_say_more_or_less_as_snakemake_does(strict):
    (strict.folder / ERROR).unlink()
    target = "results/bars/experiments/scratch/seed0/final.caffemodel"
    log = strict.path("logs/train.scratch.0.log")
    found = {}
    for option in ("--verbose", "--cores=2", "--quiet"):
        words = [option, *(["all"] if option == "--quiet" else [])]
        shutil.rmtree(strict.path("experiments"), ignore_errors=True)
        strict.run(*words, "--", target)
        found[option] = log.read_text()
    assert "Creating layer conv1" in found["--verbose"]
    assert "Creating layer" not in found["--cores=2"]
    assert re.search(r"^iteration 3 of 6: ", found["--cores=2"], re.MULTILINE)
    assert found["--quiet"] == ""
