"""``caffe train`` on several devices: here several processes on the CPU, joined through gloo."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from recipes import write_lmdb

import caffe
from caffe.commands import devices
from caffe.commands import together as commands_together
from recaffe.context import context
from recaffe.errors import CaffeError, DataError, DeviceError, SolverLostError

RECORDS = 10
NET = """
name: "digits"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "db" batch_size: BATCH backend: LMDB } transform_param { scale: 0.01 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "db" batch_size: 5 backend: LMDB } transform_param { scale: 0.01 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" type: "Adam" base_lr: 0.01 momentum: 0.9 momentum2: 0.99 delta: 0.001
lr_policy: "fixed" random_seed: 5 max_iter: MAX display: 2 test_iter: 2 test_interval: 3
snapshot: 4 snapshot_prefix: "s"
"""
# The program as it is, but for which devices -gpu names.
PROGRAM = """
import sys, torch
from caffe.commands import devices
devices.named = lambda gpu: [torch.device("cpu")] * len(gpu.split(","))
from caffe.commands.caffe import main
sys.argv[0] = "caffe"
main()
"""
# What caffetools sets where it is imported is no level for these.
LOGGED = {"GLOG_minloglevel": "0", "GLOG_logtostderr": "1"}
ENVIRONMENT = {**os.environ, **LOGGED, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (RECORDS, 1, 4, 4), dtype=np.uint8)
    write_lmdb(Path("db"), images, random.integers(0, 3, RECORDS))
    write(4)
    return tmp_path


def write(batch: int, max_iter: int = 6) -> None:
    Path("net.prototxt").write_text(NET.replace("BATCH", str(batch)))
    Path("solver.prototxt").write_text(SOLVER.replace("MAX", str(max_iter)))


def arguments(*flags: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "train", "-solver", "solver.prototxt", *flags]


def trained(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(*flags), capture_output=True, text=True, env=ENVIRONMENT, timeout=120
    )


def started() -> subprocess.Popen[str]:
    """Training without an end."""
    write(4, 10**9)
    run = arguments("-gpu", "0,1")
    return subprocess.Popen(run, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def until(text: str, training: subprocess.Popen[str]) -> None:
    assert training.stderr is not None
    for line in training.stderr:
        if text in line:
            return
    pytest.fail(f"the log ended without {text!r}")


def children(training: subprocess.Popen[str]) -> list[int]:
    """The solvers' processes, by rank."""
    found = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return [pid for pid, line in lines.items() if b"spawn_main" in line]


def has_ended(pid: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def ends(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not has_ended(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return has_ended(pid)


def final(name: str) -> list[np.ndarray]:
    return parameters(caffe.Net("net.prototxt", name, caffe.TEST))


def parameters(net: caffe.Net) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


# -- which devices ------------------------------------------------------------------------------


def test_gpus_that_are_not_there_are_told_of(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match=r"GPU 0 was asked for, but torch .* sees no GPU\(s\)"):
        devices.named("0,1")
    for wrong in ("all", "0,x", ",", "-1"):
        with pytest.raises(DeviceError, match=f"-gpu {wrong}: expected a GPU's number"):
            devices.named(wrong)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"GPU 2 was asked for, but torch .* sees 2 GPU\(s\)"):
        devices.named("0,2")
    with pytest.raises(DeviceError, match="-gpu 1,1: a GPU is named twice"):
        devices.named("1,1")


def test_gpus_are_named_by_number_or_all(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(context, "device_id", 0)
    for given, numbers in (("all", [0, 1, 2]), ("2,0", [2, 0]), ("1", [1])):
        assert devices.named(given) == [torch.device("cuda", number) for number in numbers]
    assert devices.named("") == [torch.device("cpu")]


def test_only_train_takes_several_gpus(monkeypatch):
    from caffe.commands.caffe import _choose_device

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="-gpu all: only 'train' runs on several GPUs; name one"):
        _choose_device("all", 0, ("caffe.cpp", 0))


# -- training -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_train_as_one_does_on_twice_the_batch():
    done = trained("-gpu", "0,1")
    assert done.returncode == 0, done.stderr
    found = final("s_iter_6.caffemodel")
    write(8)
    alone = caffe.get_solver("solver.prototxt")
    alone.step(6)
    expected = parameters(alone.net)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    # One log, one set of snapshots.
    places = re.findall(r"(\w+\.cpp:\d+)\] (.*?)[#(,:=]", done.stderr)
    assert places.count(("solver.cpp:347", "Iteration 3")) == 1
    assert places.count(("sgd_solver.cpp:112", "Iteration 4")) == 1
    assert len(re.findall("Starting Optimization|Optimization Done", done.stderr)) == 3
    states = sorted(path.name for path in Path().glob("s_iter_*.solverstate"))
    assert states == ["s_iter_4.solverstate", "s_iter_6.solverstate"]


@pytest.mark.slow
def test_training_goes_on_from_a_snapshot_and_from_weights():
    assert trained("-gpu", "0,1").returncode == 0
    write(4, 8)
    resumed = trained("-gpu=0,1", "-snapshot", "s_iter_6.solverstate")
    assert resumed.returncode == 0
    assert "Resuming from s_iter_6.solverstate" in resumed.stderr
    assert "Iteration 6, lr" in resumed.stderr
    assert "Iteration 4, lr" not in resumed.stderr
    tuned = trained("-gpu", "0,1", "-weights", "s_iter_6.caffemodel")
    assert tuned.returncode == 0
    assert "Finetuning from s_iter_6.caffemodel" in tuned.stderr
    # Files of another name than the solver's are read by all: none has drawn its own.
    write(8, 8)
    alone = caffe.get_solver("solver.prototxt")
    alone.net.copy_from("s_iter_6.caffemodel")
    alone.step(8)
    for one, other in zip(final("s_iter_8.caffemodel"), parameters(alone.net), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_all_go_on_with_random_numbers_of_their_own_where_they_stopped():
    """Crops, mirrored images, dropout: the end is bit for bit that of a run that never stopped."""
    net = Path("net.prototxt").read_text()
    net = net.replace("scale: 0.01 } }", "scale: 0.01 mirror: true crop_size: 3 } }", 1)
    net = net.replace(
        'layer { name: "ip" type: "InnerProduct" bottom: "data"',
        'layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "drop"',
    )
    net = net.replace("scale: 0.01 } }", "scale: 0.01 crop_size: 3 } }")
    Path("net.prototxt").write_text(net)
    whole = trained("-gpu", "0,1")
    assert whole.returncode == 0, whole.stderr
    files = [Path("s_iter_6.caffemodel"), Path("s_iter_6.solverstate")]
    expected = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    resumed = trained("-gpu", "0,1", "-snapshot", "s_iter_4.solverstate")
    assert resumed.returncode == 0, resumed.stderr
    assert [path.read_bytes() for path in files] == expected
    # Of another count the first one's numbers are known, and the others' follow from them.
    alone = trained("-gpu", "0", "-snapshot", "s_iter_4.solverstate")
    assert alone.returncode == 0, alone.stderr


# -- how it ends --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_signal_stops_all_after_a_snapshot():
    with started() as training:
        until("Iteration 2, lr", training)
        training.send_signal(signal.SIGHUP)
        until("Snapshotting solver state", training)
        processes = children(training)
        assert len(processes) == 2
        for pid in processes:  # as a terminal's Ctrl-C reaches all
            os.kill(pid, signal.SIGINT)
        training.send_signal(signal.SIGINT)
        until("Optimization stopped early.", training)
        assert training.wait(30) == 0
    assert all(has_ended(pid) for pid in processes)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_dies_ends_all_in_a_line(rank):
    with started() as training:
        until("Iteration 2, lr", training)
        processes = children(training)
        os.kill(processes[rank], signal.SIGKILL)
        before = time.monotonic()
        assert training.wait(30) == 1
        assert time.monotonic() - before < 15
        assert training.stderr is not None
        last = training.stderr.read().splitlines()
    told = [line for line in last if line.startswith(("E", "F"))]
    assert len(told) == 1
    assert f"the process of solver {rank} (cpu) has been ended by signal 9" in told[0]
    assert all(has_ended(pid) for pid in processes)


@pytest.mark.slow
def test_the_processes_end_with_the_program():
    with started() as training:
        until("Iteration 2, lr", training)
        first, second = children(training)
        os.kill(second, signal.SIGSTOP)  # so that the first one waits for it
        time.sleep(0.5)
        training.kill()
        training.wait(10)
        assert ends(first)
        os.kill(second, signal.SIGCONT)
        assert ends(second)


@pytest.mark.slow
def test_a_mistake_of_one_or_all_is_told_in_a_line():
    with lmdb.open("db") as database, database.begin(write=True) as transaction:
        keys = [key for key, _ in transaction.cursor()]
        transaction.put(keys[5], b"\x0a")
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace("test_iter: 2 test_interval: 3", ""))
    one = trained("-gpu", "0,1", "-minloglevel", "1")
    assert one.returncode == 1
    assert len(one.stderr.splitlines()) == 1
    assert "solver 1 (cpu): " in one.stderr
    assert "expected a Datum" in one.stderr
    Path("net.prototxt").unlink()
    all_ = trained("-gpu", "0,1", "-minloglevel", "1", "-debug")
    assert all_.returncode == 1
    assert "solver 1" not in all_.stderr
    assert "Traceback" in all_.stderr
    assert "in make_train_net" in all_.stderr  # where it happened, in that process


class Ends:
    """Work whose solver 1 loses the other before that one tells why."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, chosen: list[torch.device], action: object, meeting: str = "") -> None:
        if context.solver_rank:
            raise SolverLostError("lost the other")
        time.sleep(0.5)
        raise self.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (DataError("no record"), CaffeError, "no record"),
        (ZeroDivisionError("a bug"), RuntimeError, "a bug"),
        (SolverLostError("lost too"), CaffeError, "lost too"),
    ],
)
def test_who_knows_the_reason_is_heard(error, kind, message):
    with pytest.raises(kind) as caught:
        commands_together.run(Ends(error), [torch.device("cpu")] * 2, {})
    assert str(caught.value) == message
    assert isinstance(caught.value, CaffeError) == isinstance(error, CaffeError)
    assert "in run" in caught.value.__notes__[0]
