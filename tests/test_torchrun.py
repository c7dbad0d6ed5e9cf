"""``caffe train`` in processes that torchrun starts: on one machine, and as on two."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train_together import ENVIRONMENT, final, here, parameters, write  # noqa: F401

import caffe
from caffe.commands import launched
from recaffe.context import context
from recaffe.errors import DeviceError

PROGRAMS = Path(sys.executable).parent
TRAIN = ("--no-python", str(PROGRAMS / "caffe"), "train", "-solver", "solver.prototxt")


def torchrun(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(PROGRAMS / "torchrun"), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_train_as_one_does_on_twice_the_batch(machines, monkeypatch):
    if machines == 1:
        started = [torchrun("--standalone", "--nproc-per-node", "2", *TRAIN)]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        monkeypatch.setitem(ENVIRONMENT, "GLOO_SOCKET_IFNAME", "lo")
        meeting = (
            *("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"),
            *("--rdzv-id", "7", "--rdzv-endpoint", f"127.0.0.1:{port}"),
            *("--local-addr", "127.0.0.1"),
        )
        started = [torchrun(*meeting, *TRAIN) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * machines, said
    # The first alone speaks.
    assert "".join(said).count("Optimization Done.") == 2
    write(8)
    alone = caffe.get_solver("solver.prototxt")
    alone.step(6)
    for one, other in zip(final("s_iter_6.caffemodel"), parameters(alone.net), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_signal_to_torchrun_leaves_a_snapshot_from_which_all_go_on():
    write(4, 1_000_000)
    process = torchrun("--standalone", "--nproc-per-node", "2", *TRAIN)
    assert process.stderr is not None
    for line in process.stderr:
        if "Iteration 4, lr" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert "Optimization stopped early." in said
    states = sorted(Path().glob("s_iter_*.solverstate"), key=lambda path: path.stat().st_mtime)
    stopped = int(states[-1].stem.split("_")[-1])
    write(4, stopped + 2)
    again = torchrun("--standalone", "--nproc-per-node", "2", *TRAIN, "-snapshot", states[-1].name)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert f"Resuming from {states[-1].name}" in said
    assert Path(f"s_iter_{stopped + 2}.caffemodel").is_file()


def test_what_torchrun_tells_is_heeded_where_it_is_whole():
    told = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert launched.place(told) == launched.Place(3, 4, 1, 2)
    assert launched.place({}) is None
    assert launched.place({"RANK": "3", "WORLD_SIZE": "4"}) is None
    assert launched.place({**told, "RANK": "0", "WORLD_SIZE": "1"}) is None


def test_more_processes_than_gpus_are_told_of():
    gpus = [torch.device("cuda", 0)]
    effects = {signal.SIGINT: None}
    before = context.solver_count
    with pytest.raises(DeviceError, match="has started 2 processes on this machine, and -gpu"):
        launched.run(None, gpus, launched.Place(0, 2, 0, 2), effects)
    assert context.solver_count == before
