"""What a solver logs, line by line as BVLC's build does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from small_nets import DATA, LOSS, ip, relu

import caffe

NET = (
    'name: "tiny"\n'
    + DATA
    + ip("ip", "data", 3, 'param { name: "w" }')
    + relu("relu", "ip")
    + ip("mid", "ip", 3, 'param { name: "w" } param { lr_mult: 0 }')
    + ip("ip2", "mid", 3)
    + LOSS.replace('top: "loss"', 'top: "loss" loss_weight: 0.5')
    + """layer { name: "a" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy"
         include { phase: TEST } }
       layer { name: "same" type: "Softmax" bottom: "ip2" top: "probability"
         include { stage: "probability" } }
"""
)
SETTINGS = {
    "plain": "display: 1",
    "averaged": "display: 2 average_loss: 3 iter_size: 2 test_iter: 2 test_interval: 3",
    "by steps": "display: 1 average_loss: 3",
    "debug": "display: 2 debug_info: true test_iter: 2 test_interval: 4 iter_size: 2",
    "shown at the end": "display: 6 debug_info: true snapshot: 4",
    "debug at the end": "display: 1 debug_info: true max_iter: 2",
    "test loss": "test_iter: 3 test_interval: 2 test_compute_loss: true test_initialization: false",
    "two test nets": """test_iter: 1 test_iter: 2 test_interval: 4 display: 3
        test_state { stage: "probability" } test_state { }""",
    "stages": 'display: 2 train_state { stage: "probability" }',
    "clipped": "display: 2 clip_gradients: 0.1",
    "not clipped": "display: 2 clip_gradients: 100",
    "multistep": 'display: 2 lr_policy: "multistep" gamma: 0.5 stepvalue: [1, 1, 4, 9]',
    "HDF5": "snapshot_format: HDF5 snapshot: 3",
    "weights": 'weights: "start.caffemodel, start.caffemodel" test_iter: 1 test_interval: 9',
    "own test net": 'test_net: "net.prototxt" test_iter: 1 test_iter: 1 test_interval: 9',
    "train net": 'train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 test_interval: 9',
    "zero tests": "test_iter: 0 test_interval: 3 test_compute_loss: true",
    "backwards": "display: -2 snapshot: -3",
}
SCRIPT = """
import sys
import numpy as np
import caffe

def run(name):
    solver = caffe.get_solver(name + ".prototxt")
    random = np.random.RandomState(5)
    data, label = random.normal(size=(4, 3)), [0, 1, 2, 0]
    for net in [solver.net, *solver.test_nets]:
        net.blobs["data"].data[...] = data
        net.blobs["label"].data[...] = label
    for layer in ("ip", "mid", "ip2"):
        for blob in solver.net.params[layer]:
            blob.data[...] = random.normal(size=blob.data.shape)
    if name == "by steps":
        solver.step(1)
        solver.step(4)
    else:
        solver.solve()
"""
THEIRS = """
for name in {names!r}:
    sys.stderr.write("CASE " + name + "\\n")
    sys.stderr.flush()
    run(name)
    sys.stderr.flush()
"""
NUMBER = re.compile(r"(?<![\w.])-?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?![\w.])")
SPEED = re.compile(r" \([^()]* iter/s, [^()]*s/-?\d+ iters\)")


def solver_text(settings: str) -> str:
    net = "" if "train_net:" in settings else 'net: "net.prototxt"'
    policy = "" if "lr_policy" in settings else 'lr_policy: "fixed"'
    limit = "" if "max_iter" in settings else "max_iter: 6"
    return f'{net} base_lr: 0.2 momentum: 0.9 snapshot_prefix: "s" {policy} {limit} {settings}'


def told(lines: list[str]) -> list[tuple[str, list[float]]]:
    """Each line without its numbers, and these."""
    lines = [SPEED.sub(" (speed)", line.split("\n")[0]) for line in lines]
    return [(NUMBER.sub("#", line), [float(n) for n in NUMBER.findall(line)]) for line in lines]


def of_solver(lines: list[str]) -> list[str]:
    """BVLC's lines without what the making of nets and the loading of weights tell."""
    prefix = re.compile(r"[IEW]\d{4} \S+ +\d+ (\S+)\.cpp:\d+\] (.*)")
    matches = [prefix.match(line) for line in lines]
    kept = [m for m in matches if m and (m[1] != "net" or m[2].startswith("    ["))]
    wanted = ("solver", "sgd_solver", "net")
    return [m[2] for m in kept if m[1] in wanted and not m[2].startswith("    with loss weight")]


@pytest.fixture(scope="module")
def theirs(bvlc: Build, tmp_path_factory) -> tuple[Path, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("logs")
    (folder / "net.prototxt").write_text(NET)
    for name, settings in SETTINGS.items():
        (folder / f"{name}.prototxt").write_text(solver_text(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        caffe.Net("net.prototxt", caffe.TRAIN).save("start.caffemodel")
    done = bvlc.python(
        SCRIPT + THEIRS.format(names=list(SETTINGS)),
        files={path.name: path for path in folder.iterdir()},
        environment={"GLOG_minloglevel": "0"},
    )
    parts = done.stderr.split("CASE ")[1:]
    return folder, {part.split("\n", 1)[0]: part.splitlines() for part in parts}


@pytest.mark.oracle
@pytest.mark.parametrize("name", SETTINGS)
def test_every_line_is_bvlcs(theirs, caplog, monkeypatch, name):
    folder, lines = theirs
    monkeypatch.chdir(folder)
    scope: dict = {}
    exec(compile(SCRIPT, "script", "exec"), scope)
    caplog.set_level("INFO", "recaffe.solver")
    scope["run"](name)
    found = told([r.getMessage() for r in caplog.records if r.name.startswith("recaffe.solver")])
    expected = told(of_solver(lines[name]))
    assert len(found) > 5
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (line, ours), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=2e-4, atol=1e-6, err_msg=line)
    levels = {r.levelname for r in caplog.records if "All net params" in r.getMessage()}
    assert levels <= {"ERROR"}
