"""Trainings on one machine get GPUs of their own, whoever started them and however they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caffetools import gpus, train
from caffetools.cli import ToolError
from caffetools.gpus import free_gpu, locks_folder, visible

HOLD = """
import sys, time
from pathlib import Path
from caffetools.gpus import free_gpu
with free_gpu(["0", "1"], Path(sys.argv[1])) as number:
    print(number, flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds one of two GPUs."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_no_two_processes_share_a_gpu_and_a_killed_one_gives_it_back(tmp_path):
    with holder(tmp_path) as first, holder(tmp_path) as second:
        try:
            assert first.stdout is not None
            assert second.stdout is not None
            numbers = {each: each.stdout.readline().strip() for each in (first, second)}
            assert sorted(numbers.values()) == ["0", "1"]
            second.kill()
            second.wait()
            with free_gpu(["0", "1"], tmp_path) as number:
                assert str(number) == numbers[second]
        finally:
            first.kill()
            second.kill()


def test_what_is_not_free_is_waited_for_and_its_holder_told(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr(gpus, "WAIT", 0.05)
    with holder(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        monkeypatch.setattr(time, "sleep", lambda _: (process.kill(), process.wait()))
        with free_gpu(["0"], tmp_path) as number:
            assert number == 0
    assert f"waiting for a GPU: process {process.pid} on " in caplog.text
    assert " has 0\n" in caplog.text


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2,3", ["2", "3"]),
        ("1", ["1"]),
        ("GPU-8f, GPU-9a", ["GPU-8f", "GPU-9a"]),
        ("0,-1,1", ["0"]),
    ],
)
def test_gpus_are_those_that_cuda_is_shown(told, expected):
    assert visible({"CUDA_VISIBLE_DEVICES": told}) == expected


@pytest.mark.parametrize("told", ["", "-1", "NoDevFiles"])
def test_no_gpu_is_a_mistake(told):
    with pytest.raises(ToolError, match="which shows no GPU"):
        visible({"CUDA_VISIBLE_DEVICES": told})


def test_gpus_are_counted_by_the_driver(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)\n  MIG 1g (UUID)\nGPU 1: A'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible({}) == ["0", "1"]
    monkeypatch.setenv("PATH", "")
    assert visible({}) == ["0"]


def test_jobs_of_slurm_have_locks_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "PLACE", tmp_path)
    folders = [locks_folder({})]
    folders += [locks_folder({"SLURM_JOB_ID": job}) for job in ("7", "8")]
    assert len(set(folders)) == 3
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)


def test_somebody_elses_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "PLACE", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"recaffe-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolError, match="it belongs to another user"):
        locks_folder({})


def test_a_training_holds_the_gpu_that_it_computes_on(tmp_path, monkeypatch):
    """Without a GPU: what pycaffe is told, and that the lock is held as long as it computes."""
    told: list[object] = []
    monkeypatch.setattr(gpus, "PLACE", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(train.caffe, "set_device", told.append)
    monkeypatch.setattr(train.caffe, "set_mode_gpu", lambda: None)
    options = train.argparse.Namespace(
        gpu="any", precision="float32", compile=False, deterministic=False
    )
    with train._computation(options), train._computation(options):
        assert told == [0, 1]
    with train._computation(options):
        assert told == [0, 1, 0]


def test_a_gpu_that_is_neither_a_number_nor_any_is_told(capsys: pytest.CaptureFixture[str]):
    needed = ["--solver", "s", "--snapshots", "s", "--output", "o", "--history", "h"]
    with pytest.raises(SystemExit):
        train.main([*needed, "--gpu", "first"])
    assert "--gpu: expected the number of a GPU, or any; found 'first'" in capsys.readouterr().err
