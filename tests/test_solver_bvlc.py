"""Updates here and in BVLC's build, from the same weights on the same inputs.

Random settings of all rules are in test_differential; here are those that must not be missed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from small_nets import DATA, LOSS, ip, relu

import caffe

pytestmark = pytest.mark.oracle

STEPS = 6
FACTORS = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
FROZEN = "param { lr_mult: 0 } param { lr_mult: 1 }"
SHARED = 'param { name: "w" lr_mult: 0.5 } param { name: "b" }'
CASES = {
    # settings, what the first layer has in its prototxt, and the second
    "plain": ("", "", ""),
    "momentum": ("momentum: 0.9", "", ""),
    "decay": ("weight_decay: 0.1", FACTORS, ""),
    "all": ("momentum: 0.9 weight_decay: 0.1", FACTORS, FACTORS),
    "L1": ("momentum: 0.9 weight_decay: 0.1 regularization_type: 'L1'", FACTORS, ""),
    "frozen": ("momentum: 0.9 weight_decay: 0.1", FROZEN, FACTORS),
    "clipped": ("momentum: 0.9 weight_decay: 0.1 clip_gradients: 0.3", FACTORS, FROZEN),
    "iter_size": ("momentum: 0.9 weight_decay: 0.1 iter_size: 3", FACTORS, ""),
    "iter_size, clipped": ("iter_size: 2 clip_gradients: 0.3", "", ""),
    "step": ("lr_policy: 'step' gamma: 0.5 stepsize: 2 momentum: 0.9", "", ""),
    "exp": ("lr_policy: 'exp' gamma: 0.5 momentum: 0.9", "", ""),
    "inv": ("lr_policy: 'inv' gamma: 0.5 power: 0.75 momentum: 0.9", "", ""),
    "poly": ("lr_policy: 'poly' power: 1.5 max_iter: 6 momentum: 0.9", "", ""),
    "sigmoid": ("lr_policy: 'sigmoid' gamma: 0.5 stepsize: 3", "", ""),
    "multistep": ("lr_policy: 'multistep' gamma: 0.5 stepvalue: [1, 1, 4, 2]", "", ""),
    "shared": ("momentum: 0.9 weight_decay: 0.1", SHARED, SHARED),
    "tiny rates": ("momentum: 0.9 base_lr: 1e-12", "param { lr_mult: 1e-8 }", ""),
}
RULES = {
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 1e-3",
    "RMSProp": "rms_decay: 0.7 delta: 1e-3",
    "AdaDelta": "momentum: 0.9 delta: 1e-3 base_lr: 1",
    "Adam": "momentum: 0.9 momentum2: 0.95 delta: 1e-3",
}
for rule, own in RULES.items():
    CASES |= {
        rule: (f"type: '{rule}' {own}", FACTORS, ""),
        f"{rule}, decay": (f"type: '{rule}' {own} weight_decay: 0.1", FACTORS, FROZEN),
        f"{rule}, all": (
            f"type: '{rule}' {own} weight_decay: 0.1 regularization_type: 'L1' clip_gradients: 0.3 "
            "iter_size: 2 lr_policy: 'exp' gamma: 0.8", FACTORS, FROZEN),
        f"{rule}, shared": (f"type: '{rule}' {own} weight_decay: 0.1", SHARED, SHARED),
        f"{rule}, forced": (f"type: '{rule}' {own}", FROZEN, FROZEN),
    }  # fmt: skip
CASES["forced"] = ("momentum: 0.9", FROZEN, FROZEN)

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
import caffe
from caffe.proto import caffe_pb2

def train(name):
    solver = caffe.get_solver(name + ".solver.prototxt")
    net, random = solver.net, np.random.RandomState(3)
    net.blobs["data"].data[...] = random.normal(size=net.blobs["data"].shape)
    net.blobs["label"].data[...] = [0, 1, 2, 0]
    params = [blob for layer in ("ip", "ip2") for blob in net.params[layer]]
    for blob in params:
        blob.data[...] = random.normal(size=blob.shape)
    found = {}
    for step in range(STEPS):
        solver.step(1)
        found["%s/%d/loss" % (name, step)] = net.blobs["loss"].data.copy()
        for index, blob in enumerate(params):
            found["%s/%d/data/%d" % (name, step, index)] = blob.data.copy()
            found["%s/%d/update/%d" % (name, step, index)] = blob.diff.copy()
    solver.snapshot()
    state = caffe_pb2.SolverState()
    state.ParseFromString(Path("%s_iter_%d.solverstate" % (name, STEPS)).read_bytes())
    for index, blob in enumerate(state.history):
        found["%s/history/%d" % (name, index)] = np.array(blob.data, "f")
    # the last update, taken for a gradient, in two halves
    solver.apply_update()
    for index, blob in enumerate(params):
        found["%s/again/%d" % (name, index)] = blob.data.copy()
    return found

found = {}
for name in json.loads(Path("names.json").read_text()):
    found.update(train(name))
"""


@pytest.fixture(scope="module")
def answers(bvlc: Build, tmp_path_factory: pytest.TempPathFactory):
    here: Path = tmp_path_factory.mktemp("sgd")
    files = {"names.json": json.dumps(list(CASES))}
    for name, (settings, first, second) in CASES.items():
        policy = "" if "lr_policy" in settings else "lr_policy: 'fixed'"
        rate = "" if "base_lr" in settings else "base_lr: 0.2"
        force = "force_backward: true\n" if "forced" in name else ""
        files[f"{name}.net.prototxt"] = "".join(
            [
                force,
                DATA,
                ip("ip", "data", 3, first),
                relu("relu", "ip"),
                ip("ip2", "ip", 3, second),
                LOSS,
            ]
        )
        files[f"{name}.solver.prototxt"] = (
            f"net: '{name}.net.prototxt' {rate} {policy} {settings} snapshot_prefix: '{name}'"
        )
    for name, text in files.items():
        (here / name).write_text(text)
    script = f"STEPS = {STEPS}\n{SCRIPT}"
    ending = 'np.savez("found.npz", **found)'
    result = bvlc.python(script + ending, files=files, fetch=["found.npz"])
    scope: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        exec(compile(script, "script", "exec"), scope)
    assert scope["caffe"] is caffe
    return scope["found"], dict(np.load(io.BytesIO(result.files["found.npz"])))


@pytest.mark.parametrize("name", CASES)
def test_updates_are_bvlcs(answers, name):
    ours, theirs = (
        {key: array for key, array in side.items() if key.startswith(f"{name}/")}
        for side in answers
    )
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        largest = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(ours[key], expected, atol=1e-4 * largest, err_msg=key)
    first, last = (theirs[f"{name}/{step}/data/2"] for step in (0, STEPS - 1))
    still = name == "tiny rates" or CASES[name][2] == FROZEN
    assert (first != last).any() == (not still)
    slots = 2 if name.startswith(("AdaDelta", "Adam")) else 1
    assert sum(key.startswith(f"{name}/history") for key in theirs) == slots * (
        2 if "shared" in name else 4
    )
