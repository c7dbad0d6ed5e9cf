"""Our programs beside BVLC's: the same flags, log lines, files and classes of exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from bvlc import Build

from caffe.commands import devices
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
    "stages.prototxt": SOLVER.replace("net.prototxt", "stages_net.prototxt"),
    "stages_net.prototxt": NET.replace(
        "include { phase: TEST }",
        'exclude { phase: TEST min_level: 2 } exclude { stage: "a" min_level: 1 }',
    ),
    "flags.txt": "# training\n\n-solver=solver.prototxt\nother\n-solver=none\ncaff*\n-level=0\n",
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
# What we say of weights, and BVLC does not.
QUIET = re.compile(r"weights\.py")
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
    """Severity, place and message of what both are to tell, some of it in several lines."""
    found: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            found.append((match[1], match[2], CLOCK.sub("(", match[3])))
        elif found:
            found[-1] = (*found[-1][:2], f"{found[-1][2]}\n{line}")
    return [each for each in found if not QUIET.match(each[1])]


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
    "state": [
        ("caffe", "train", "-solver", "stages.prototxt", "-level", "1", "-stage", "a,b",
         "-phase", "TEST", "-iterations", "3"),
    ],
    "flags": [("caffe", "train", "-flagfile=flags.txt", "-v=1", "-vmodule", "x=1", "-log_prefix")],
    "test": [
        ("caffe", "train", "-solver", "solver.prototxt"),
        ("caffe", "test", "-model", "net.prototxt", "-iterations", "2",
         "-weights", "s_iter_3.caffemodel", "-level", "3", "-stage", "x"),
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


TIMES = {
    "training": ("-model", "net.prototxt", "-phase", "TRAIN"),
    "scoring": ("-model=stages_net.prototxt", "-phase=TEST", "-level", "2", "-stage", "b,c"),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TIMES)
def test_time_tells_every_layer_as_bvlcs_does(bvlc: Build, here: Path, name: str) -> None:
    run = ("caffe", "time", "-iterations", "2", *TIMES[name])
    theirs = bvlc.program(*run, files=FILES, environment={"GLOG_minloglevel": "0"})
    shapes = [
        [(s, p, NUMBER.sub("N", m)) for s, p, m in told(text)]
        for text in (ours(*run).stderr, theirs.stderr)
    ]
    assert shapes[0] == shapes[1]


def test_the_last_of_several_weights_count_in_a_test(here: Path) -> None:
    ours("caffe", "train", "-solver", "solver.prototxt")
    test = ("caffe", "test", "-model", "net.prototxt", "-iterations", "1", "-weights")
    three, five = "s_iter_3.caffemodel", "s_iter_5.caffemodel"
    each = [ours(*test, weights) for weights in (three, five, f"{three}, {five}")]
    losses = [told(done.stderr)[-1] for done in each]
    assert losses[0] != losses[1] == losses[2]


ANSWERS = [
    ("caffe",),
    ("caffe", "train", "extra", "-solver", "solver.prototxt"),
    ("caffe", "train", "--", "-solver", "solver.prototxt"),
    ("caffe", "train", "-logtostderr", "true", "-solver", "solver.prototxt"),
    ("caffe", "-version"),
    ("caffe", "--version"),
    ("caffe", "-noversion", "-nohelp", "-version=false"),
]


@pytest.mark.oracle
@pytest.mark.parametrize("run", ANSWERS, ids=" ".join)
def test_usage_and_version_are_told_as_bvlcs_does(bvlc: Build, here: Path, run) -> None:
    theirs, mine = bvlc.program(*run, files=FILES, check=False), ours(*run)
    assert mine.returncode == theirs.status == 0
    # BVLC lists its flags behind, with the files of its sources.
    said = mine.stdout.splitlines()[:8]
    assert said == theirs.stdout.splitlines()[: len(said)] != []
    assert mine.stderr == ""


def test_help_lists_the_flags_and_is_no_mistake() -> None:
    done = ours("caffe", "-helpshort")
    assert done.returncode == 0
    assert "-sighup_effect" in done.stdout
    assert "-vmodule" in done.stdout


@pytest.mark.oracle
@pytest.mark.skipif(torch.cuda.is_available(), reason="BVLC's build knows no GPU")
@pytest.mark.parametrize("gpu", [(), ("-gpu", "all"), ("-gpu", "0,1")], ids=str)
def test_a_query_without_gpus_fails_as_bvlcs_does(bvlc: Build, gpu: tuple[str, ...]) -> None:
    run = ("caffe", "device_query", *gpu)
    theirs = bvlc.program(*run, check=False, environment={"GLOG_minloglevel": "0"})
    mine = ours(*run)
    assert (mine.returncode == 0) == (theirs.status == 0)
    assert told(mine.stderr)[0] == told(theirs.stderr)[0]


@pytest.mark.parametrize(
    ("gpu", "line", "said"), [("0", 266, "Use GPU with device ID 0"), ("", 275, "Use CPU.")]
)
def test_one_device_is_told_as_bvlcs_does(caplog, gpu: str, line: int, said: str) -> None:
    caplog.set_level("INFO", "caffe.commands")
    devices.tell(torch.device("cuda", 0) if gpu else torch.device("cpu"), 275, 266)
    (record,) = caplog.records
    assert (record.place, record.getMessage()) == (("caffe.cpp", line), said)


MISTAKES = [
    ("caffe", "bogus"),
    ("caffe", "train"),
    ("caffe", "train", "-bogus", "1"),
    ("caffe", "train", "-solver", "none.prototxt"),
    ("caffe", "train", "-solver", "solver.prototxt", "-sigint_effect", "bogus"),
    ("caffe", "train", "-solver", "solver.prototxt", "-snapshot", "a", "-weights", "b"),
    ("caffe", "train", "-solver", "solver.prototxt", "-iterations", "x"),
    ("caffe", "train", "-solver"),
    ("caffe", "train", "-sol", "solver.prototxt"),
    ("caffe", "train", "---solver", "solver.prototxt"),
    ("caffe", "train", "-nosolver"),
    ("caffe", "train", "-solver", "solver.prototxt", "-nobogus"),
    ("caffe", "train", "-solver", "solver.prototxt", "-logtostderr=2"),
    ("caffe", "train", "-flagfile=none.txt", "-solver", "solver.prototxt"),
    ("caffe", "train", "-fromenv=solver"),
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


ENDLESS = """
net: "net.prototxt" base_lr: 0.0001 lr_policy: "fixed" max_iter: 1000000000
snapshot_prefix: "s" solver_mode: CPU
"""
EFFECTS = {
    "hangup stops": (("-sighup_effect", "stop"), [signal.SIGHUP]),
    "interrupt takes a snapshot": (
        ("-sigint_effect=snapshot", "-sighup_effect=stop"),
        [signal.SIGINT, signal.SIGHUP],
    ),
    "hangup does nothing": (("--sighup_effect=none",), [signal.SIGHUP, signal.SIGINT]),
}


def lines_of_effects(command: list[str], signals: list[signal.Signals]) -> list[tuple[str, str]]:
    """What a training says once it has begun and is sent these signals, the last to stop it."""
    snapshots = "snapshot" in " ".join(command)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as run:
        assert run.stderr is not None
        said = [until("Learning Rate Policy", run.stderr)]
        time.sleep(0.3)
        for number in signals:
            run.send_signal(number)
            if snapshots and number is signal.SIGINT:
                said += [until("Snapshotting to", run.stderr), until("state", run.stderr)]
            time.sleep(0.3)
        said += run.stderr
        assert run.wait(60) == 0
    found = [LINE.fullmatch(line.rstrip()).group(2, 3) for line in said]
    return [(place, NUMBER.sub("N", message)) for place, message in found]


@pytest.mark.oracle
@pytest.mark.parametrize("name", EFFECTS)
def test_signals_have_the_effects_they_have_in_bvlcs(bvlc: Build, here: Path, name: str) -> None:
    flags, signals = EFFECTS[name]
    train = ("train", "-solver", "endless.prototxt", *flags)
    (here / "endless.prototxt").write_text(ENDLESS)
    mine = lines_of_effects(command("caffe", *train), signals)
    with bvlc.workplace({**FILES, "endless.prototxt": ENDLESS}) as place:
        enter = ["chroot", str(bvlc.root), "/usr/bin/env", "-C", place.inside, "caffe", *train]
        theirs = lines_of_effects(enter, signals)
        written = {path.suffix for path in place.path.glob("s_iter*")}
    assert mine == theirs
    assert {path.suffix for path in here.glob("s_iter*")} == written


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
    for level, count in (("INFO", 1), ("WARNING", 0)):
        done = subprocess.run(
            [sys.executable, "-c", script, level], capture_output=True, text=True, check=True
        )
        assert done.stderr.count("Solver scaffolding done.") == count
        assert done.stderr.count("own Solver scaffolding done.") == count
        assert "] " not in done.stderr
