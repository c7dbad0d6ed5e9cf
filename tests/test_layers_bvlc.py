"""The cases of every layer, run here and in BVLC's build: tops, and all gradients."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format
from layer_cases import CASES, Case

from caffe.proto import caffe_pb2
from recaffe.net import Net

pytestmark = pytest.mark.oracle

KNOWN = [case for case in CASES if case.bvlc]
SCRIPT = Path(__file__).with_name("run_layers.py")


def build(case: Case) -> Net:
    net = Net(text_format.Parse(case.net(), caffe_pb2.NetParameter()), case.phase)
    if case.arrays:
        net.layers[net.layer_names.index("it")].reset(*case.arrays)
    return net


def given(case: Case, net: Net) -> dict[str, np.ndarray]:
    """Bottoms, parameters and tops' diffs of a case, which both sides start from."""
    layer = net.layers[net.layer_names.index("it")]
    tops = [net.blobs[f"t{number}"].data for number in range(case.tops)]
    kinds = {
        "b": case.bottoms,
        "p": case.params(layer),
        "d": case.top_diffs(tops),
        "x": case.arrays,
    }
    return {f"{kind}{i}": array for kind, arrays in kinds.items() for i, array in enumerate(arrays)}


def run_here(case: Case, net: Net, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    layer = net.layers[net.layer_names.index("it")]
    bottoms = {f"b{number}": net.blobs[f"b{number}"] for number in range(len(case.bottoms))}
    params = {f"p{number}": blob for number, blob in enumerate(layer.blobs)}
    for name, blob in (bottoms | params).items():
        blob.data[...] = values[name]
    net.forward_layers(0, len(net.layers) - 1)
    found = {f"t{number}": net.blobs[f"t{number}"].data.copy() for number in range(case.tops)}
    # statistics that the layer keeps among its parameters
    found |= {f"{name} after": blob.data.copy() for name, blob in params.items()}
    for number in range(case.tops):
        diff = net.blobs[f"t{number}"].diff  # whose shape the forward may have changed
        diff[...] = values[f"d{number}"].reshape(diff.shape)
    if case.bvlc_backward:
        net.backward_layers(len(net.layers) - 1, 0)
        found |= {name: blob.diff.copy() for name, blob in (bottoms | params).items()}
    return found


@pytest.fixture(scope="module")
def answers(bvlc: Build, tmp_path_factory: pytest.TempPathFactory):
    """For each case by name: what was found here and what BVLC's build found."""
    here = tmp_path_factory.mktemp("layers")
    values, ours = [], []
    for index, case in enumerate(KNOWN):
        folder = here / str(index)
        folder.mkdir()
        if case.files:
            case.files(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(folder)
            net = build(case)
            values.append(given(case, net))
            ours.append(run_here(case, net, values[-1]))
    packed = io.BytesIO()
    np.savez(packed, **{f"{i} {k}": v for i, value in enumerate(values) for k, v in value.items()})
    cases = [
        {"name": case.name, "net": case.net(), "phase": case.phase, "tops": case.tops,
         "bottoms": len(case.bottoms), "backward": case.bvlc_backward}
        for case in KNOWN
    ]  # fmt: skip
    files = {"cases.json": json.dumps(cases), "given.npz": packed.getvalue(), "folders": here}
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz"])
    theirs: list[dict[str, np.ndarray]] = [{} for _ in KNOWN]
    for name, array in np.load(io.BytesIO(result.files["found.npz"])).items():
        index, key = name.split(" ", 1)
        theirs[int(index)][key] = array
    return dict(zip([case.name for case in KNOWN], zip(ours, theirs, strict=True), strict=True))


@pytest.mark.parametrize("name", [case.name for case in KNOWN])
def test_layer_agrees_with_bvlc(answers, name):
    ours, theirs = answers[name]
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        found = ours[key]
        assert found.shape == expected.shape, key
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest, err_msg=key)
