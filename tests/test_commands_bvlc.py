"""Our programs beside BVLC's: the same flags, log lines, files and classes of exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build

from recaffe.proto.schema import NetParameter

NET = """
name: "small"
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 4 dim: 3 } shape { dim: 4 }
    data_filler { type: "constant" value: 0.5 } data_filler { type: "constant" value: 1 }
  }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: 0.1 } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer {
  name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc"
  include { phase: TEST }
}
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" display: 2 max_iter: 5
test_iter: 2 test_interval: 2 snapshot: 3 snapshot_prefix: "s" solver_mode: CPU
"""
V1 = """
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 2 kernel_size: 3 } }
"""
FILES = {
    "net.prototxt": NET,
    "solver.prototxt": SOLVER,
    "steps.prototxt": SOLVER.replace(
        '"fixed"', '"multistep" stepvalue: 1 stepvalue: 3 gamma: 0.5 clip_gradients: 0.01'
    )
    + "test_compute_loss: true",
    "debug.prototxt": SOLVER + "debug_info: true",
    "old.prototxt": V1,
    "old_solver.prototxt": 'net: "net.prototxt" solver_type: ADAM',
    "long.prototxt": SOLVER.replace("max_iter: 5", "max_iter: 1000000000").replace(
        "display: 2", "display: 0"
    ),
}
MODULES = {
    "caffe": "caffe.commands.caffe:main",
    "upgrade_net_proto_text": "caffe.commands.upgrade:net_text",
    "upgrade_net_proto_binary": "caffe.commands.upgrade:net_binary",
    "upgrade_solver_proto_text": "caffe.commands.upgrade:solver_text",
}
LINE = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ([\w.]+:\d+)\] (.*)")
# What BVLC logs of a net's making, and we do not; what we say of weights, and BVLC does not.
QUIET = re.compile(r"(net\.cpp:(?!593|605|621|632|721)|layer_factory|weights\.py)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
CLOCK = re.compile(r"\(\S+ iter/s, \S+s/")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def command(name: str, *arguments: str) -> list[str]:
    module, function = MODULES[name].split(":")
    script = f"import sys; sys.argv[0] = {name!r}; from {module} import {function} as m; m()"
    return [sys.executable, "-c", script, *arguments]


def environment(**given: str) -> dict[str, str]:
    return {**os.environ, "GLOG_minloglevel": "0", "GLOG_logtostderr": "1", **given}


def ours(name: str, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, *arguments), capture_output=True, text=True, env=environment(**given)
    )


def told(text: str) -> list[tuple[str, str, str]]:
    """Severity, place and message of the lines that both are to have."""
    lines = [m.groups() for m in map(LINE.fullmatch, text.splitlines()) if m]
    return [
        (severity, place, CLOCK.sub("(", message))
        for severity, place, message in lines
        if not QUIET.match(place)
    ]


def assert_same_lines(mine: str, wanted: str) -> None:
    found, expected = told(mine), told(wanted)
    assert len(found) > 3
    assert [(s, p, NUMBER.sub("N", m)) for s, p, m in found] == [
        (s, p, NUMBER.sub("N", m)) for s, p, m in expected
    ]
    for (_, _, one), (_, _, other) in zip(found, expected, strict=True):
        numbers = [[float(n) for n in NUMBER.findall(message)] for message in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-6, err_msg=one)


RUNS = {
    "train": [("caffe", "train", "-solver", "solver.prototxt")],
    "steps": [("caffe", "train", "--solver=steps.prototxt")],
    "debug": [("caffe", "train", "-solver=debug.prototxt")],
    "resume": [
        ("caffe", "train", "-solver", "solver.prototxt"),
        ("caffe", "train", "-solver", "solver.prototxt", "-snapshot", "s_iter_3.solverstate"),
    ],
    "weights": [
        ("caffe", "train", "-solver", "solver.prototxt"),
        ("caffe", "train", "-solver", "solver.prototxt",
         "-weights", "s_iter_3.caffemodel,s_iter_5.caffemodel"),
    ],
    "test": [
        ("caffe", "train", "-solver", "solver.prototxt"),
        ("caffe", "test", "--model=net.prototxt", "-weights", "s_iter_5.caffemodel",
         "--iterations", "3"),
    ],
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("name", RUNS)
def test_every_line_of_a_run_is_bvlcs(bvlc: Build, here: Path, name: str) -> None:
    with bvlc.workplace(FILES) as place:
        for run in RUNS[name]:
            theirs = place.run(run, environment={"GLOG_minloglevel": "0"})
            mine = ours(*run)
            assert mine.returncode == 0, mine.stderr
            assert_same_lines(mine.stderr, theirs.stderr)
        names = {path.name for path in place.path.iterdir()}
    assert {path.name for path in here.iterdir()} == names


@pytest.mark.oracle
def test_time_tells_every_layer_as_bvlcs_does(bvlc: Build, here: Path) -> None:
    run = ("caffe", "time", "-model", "net.prototxt", "-iterations", "2", "-phase", "TRAIN")
    theirs = bvlc.program(*run, files=FILES, environment={"GLOG_minloglevel": "0"})
    shapes = [
        [(s, p, NUMBER.sub("N", m)) for s, p, m in told(text)]
        for text in (ours(*run).stderr, theirs.stderr)
    ]
    assert shapes[0] == shapes[1]


MISTAKES = [
    ("caffe", "bogus"),
    ("caffe", "train"),
    ("caffe", "train", "-bogus", "1"),
    ("caffe", "train", "-solver", "none.prototxt"),
    ("caffe", "train", "-solver", "solver.prototxt", "-sigint_effect", "bogus"),
    ("caffe", "train", "-solver", "solver.prototxt", "-snapshot", "a", "-weights", "b"),
    ("caffe", "train", "-solver", "solver.prototxt", "-iterations", "x"),
    ("caffe", "train", "-solver"),
    ("caffe", "test", "-model", "net.prototxt"),
    ("caffe", "test", "-model", "net.prototxt", "-weights", "none"),
    ("caffe", "time"),
    ("caffe", "time", "-model", "net.prototxt", "-phase", "BOGUS"),
    ("upgrade_net_proto_text",),
    ("upgrade_net_proto_text", "solver.prototxt", "out"),
    ("upgrade_net_proto_binary", "solver.prototxt", "out"),
    ("upgrade_solver_proto_text", "none", "out"),
]


@pytest.mark.oracle
@pytest.mark.parametrize("run", MISTAKES, ids=" ".join)
def test_a_mistake_fails_here_and_there_and_is_told_in_a_line(
    bvlc: Build, here: Path, run: tuple[str, ...]
) -> None:
    theirs = bvlc.program(*run, files=FILES, check=False)
    mine = ours(*run, GLOG_minloglevel="1")
    # Where BVLC aborts, ours ends with 1; where it returns a status, ours is the same.
    assert mine.returncode == (1 if theirs.status < 0 else theirs.status) != 0
    assert len(mine.stderr.splitlines()) == 1


def test_a_traceback_is_there_for_the_asking(here: Path) -> None:
    done = ours("caffe", "train", "-solver", "none.prototxt", "-debug")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


UPGRADES = [
    ("upgrade_net_proto_text", "old.prototxt"),
    ("upgrade_net_proto_text", "net.prototxt"),
    ("upgrade_solver_proto_text", "old_solver.prototxt"),
    ("upgrade_solver_proto_text", "solver.prototxt"),
]


@pytest.mark.oracle
@pytest.mark.parametrize("run", UPGRADES, ids=" ".join)
def test_upgraded_text_is_bvlcs(bvlc: Build, here: Path, run: tuple[str, ...]) -> None:
    theirs = bvlc.program(
        *run, "out", files=FILES, fetch=["out"], environment={"GLOG_minloglevel": "0"}
    )
    mine = ours(*run, "out")
    assert mine.returncode == 0
    # Python's protobuf writes a float that is a whole number with a point.
    text = re.sub(r"\.0$", "", (here / "out").read_text(), flags=re.MULTILINE)
    assert text == theirs.files["out"].decode()
    last = [told(text)[-1] for text in (mine.stderr, theirs.stderr)]
    assert last[0] == last[1]


@pytest.mark.oracle
def test_upgraded_binary_is_bvlcs(bvlc: Build, here: Path) -> None:
    from google.protobuf import text_format

    old = text_format.Parse(V1, NetParameter()).SerializeToString()
    (here / "old.caffemodel").write_bytes(old)
    run = ("upgrade_net_proto_binary", "old.caffemodel", "out")
    theirs = bvlc.program(*run, files={"old.caffemodel": old}, fetch=["out"])
    assert ours(*run).returncode == 0
    assert (here / "out").read_bytes() == theirs.files["out"]


@pytest.mark.parametrize(
    ("flags", "number", "stops"),
    [
        ((), signal.SIGINT, True),
        ((), signal.SIGHUP, False),
        (("-sighup_effect", "stop"), signal.SIGHUP, True),
        (("-sigint_effect=snapshot",), signal.SIGINT, False),
    ],
)
def test_a_signal_takes_a_snapshot_or_stops(
    here: Path, flags: tuple[str, ...], number: signal.Signals, stops: bool
) -> None:
    (here / "long.prototxt").write_text(FILES["long.prototxt"].replace("snapshot: 3", ""))
    run = command("caffe", "train", "-solver", "long.prototxt", *flags)
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, env=environment()) as training:
        assert training.stderr is not None
        until("Iteration 2, Testing", training.stderr)
        training.send_signal(number)
        until("Snapshotting solver state", training.stderr)
        if stops:
            until("Optimization stopped early.", training.stderr)
            until("Optimization Done.", training.stderr)
            assert training.wait(60) == 0
        else:
            until("Testing net", training.stderr)
            training.kill()
    assert len(list(here.glob("s_iter_*.solverstate"))) == 1


TESTING = (
    FILES["long.prototxt"]
    .replace("test_iter: 2", "test_iter: 1000000000")
    .replace("snapshot: 3", "")
)


def lines_after_signals(command: list[str]) -> tuple[list[str], int]:
    """What a training says from its first test on, sent SIGHUP and SIGINT while it tests."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as run:
        assert run.stderr is not None
        until("Iteration 0, Testing net", run.stderr)
        run.send_signal(signal.SIGHUP)
        snapshot = until("Snapshotting solver state", run.stderr)
        run.send_signal(signal.SIGINT)
        said = [snapshot, *run.stderr]
        return [LINE.fullmatch(line.rstrip()).group(2, 3) for line in said], run.wait(60)


@pytest.mark.oracle
def test_signals_reach_a_training_while_it_tests(bvlc: Build, here: Path) -> None:
    train = ("train", "-solver", "long.prototxt")
    (here / "long.prototxt").write_text(TESTING)
    mine = lines_after_signals(command("caffe", *train))
    with bvlc.workplace({**FILES, "long.prototxt": TESTING}) as place:
        enter = ["chroot", str(bvlc.root), "/usr/bin/env", "-C", place.inside, "caffe", *train]
        theirs = lines_after_signals(enter)
    assert ("solver.cpp:396", "Test interrupted.") in mine[0]
    assert mine == theirs


def until(text: str, stream) -> str:
    for line in stream:
        if text in line:
            return line
    return pytest.fail(f"the log ended without {text!r}")


def test_variables_steer_the_log(here: Path) -> None:
    train = ("caffe", "train", "-solver", "solver.prototxt")
    assert ours(*train, GLOG_minloglevel="1").stderr == ""
    folder = here / "logs"
    folder.mkdir()
    steered = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(folder)}
    both = ours(*train, **steered)
    written = (folder / "caffe.INFO").read_text()
    assert written.startswith("Log file created at: ")
    assert told(written) == told(both.stderr) != []
    assert not list(folder.glob("*WARNING*"))


def test_lines_are_not_doubled_where_logging_is_set_up(here: Path) -> None:
    script = (
        "import logging, sys, caffe\n"
        "logging.basicConfig(level=sys.argv[1], format='own %(message)s')\n"
        "caffe.get_solver('solver.prototxt')\n"
    )
    for level, count in (("INFO", 3), ("WARNING", 0)):
        done = subprocess.run(
            [sys.executable, "-c", script, level], capture_output=True, text=True, check=True
        )
        lines = done.stderr.splitlines()
        assert len(lines) == count
        assert all(line.startswith("own ") for line in lines)
