"""The cases of every layer, run here and in BVLC's build: tops, and all gradients.

Those that a layer may run in place are run so as well.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format
from layer_cases import CASES, Case

from caffe.proto import caffe_pb2
from recaffe.layers import layer_types
from recaffe.net import Net

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).with_name("run_layers.py")

# What BVLC's build gets wrong in place, of types or of single cases: the bottom's diff b0, or
# the top t0 as well. It reads what it has overwritten; ours is what the layer gives beside.
WRONG_IN_PLACE = {
    "BNLL": ("b0", "asks the bottom where the function is steep"),
    "Log": ("b0", "divides by the bottom"),
    "Clip": ("b0", "asks the bottom what lies outside, and nothing does any more"),
    "LRN": ("b0", "multiplies by the bottom and by the top, which are one"),
    "lrn across": ("t0 b0", "writes the factor to the top, and then multiplies by the bottom"),
    "lrn across all": ("t0 b0", "as lrn across"),
    "lrn across one": ("t0 b0", "as lrn across"),
    "MVN": ("b0", "takes the deviation of the bottom, which is 1 by then"),
    "Power": ("b0", "writes the bottom's diff, its own top's, before it reads it"),
    "relu with a negative slope": ("b0", "asks the bottom for its sign, which has been turned"),
    "elu negative alpha": ("b0", "asks the bottom for its sign, which has been turned"),
}


@dataclass(frozen=True)
class Run:
    """A case, beside or in place."""

    case: Case
    in_place: bool

    @property
    def name(self) -> str:
        return self.case.name + ", in place" * self.in_place

    @property
    def net(self) -> str:
        return self.case.net(in_place=self.in_place)

    @property
    def tops(self) -> list[str]:
        return self.case.top_names(self.in_place)

    @property
    def wrong(self) -> list[str]:
        """What BVLC's build gets wrong of it."""
        if not self.in_place:
            return []
        known = WRONG_IN_PLACE.get(self.case.name) or WRONG_IN_PLACE.get(self.case.type)
        return known[0].split() if known else []


RUNS = [Run(case, in_place=False) for case in CASES if case.bvlc]
RUNS += [Run(case, in_place=True) for case in CASES if case.bvlc and case.may_be_in_place]


def build(run: Run) -> Net:
    net = Net(text_format.Parse(run.net, caffe_pb2.NetParameter()), run.case.phase)
    if run.case.arrays:
        net.layers[net.layer_names.index("it")].reset(*run.case.arrays)
    return net


def given(case: Case, net: Net) -> dict[str, np.ndarray]:
    """Bottoms and parameters of a case, which both sides start from."""
    layer = net.layers[net.layer_names.index("it")]
    kinds = {"b": case.bottoms, "p": case.params(layer), "x": case.arrays}
    return {f"{kind}{i}": array for kind, arrays in kinds.items() for i, array in enumerate(arrays)}


def run_here(run: Run, net: Net, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is found here; the tops' diffs, which both sides go back from, join ``values``."""
    layer = net.layers[net.layer_names.index("it")]
    bottoms = {f"b{number}": net.blobs[f"b{number}"] for number in range(len(run.case.bottoms))}
    params = {f"p{number}": blob for number, blob in enumerate(layer.blobs)}
    for name, blob in (bottoms | params).items():
        blob.data[...] = values[name].reshape(blob.shape)  # in place it has the top's
    net.forward_layers(0, len(net.layers) - 1)
    tops = [net.blobs[name] for name in run.tops]
    found = {f"t{number}": top.data.copy() for number, top in enumerate(tops)}
    # statistics that the layer keeps among its parameters
    found |= {f"{name} after": blob.data.copy() for name, blob in params.items()}
    # Only now: how large a top is, the forward may have to tell.
    for number, diff in enumerate(run.case.top_diffs([top.data for top in tops])):
        values[f"d{number}"] = diff
        tops[number].diff[...] = diff
    if run.case.bvlc_backward:
        net.backward_layers(len(net.layers) - 1, 0)
        found |= {name: blob.diff.copy() for name, blob in (bottoms | params).items()}
    return found


@pytest.fixture(scope="module")
def answers(bvlc: Build, tmp_path_factory: pytest.TempPathFactory):
    """For each run by name: what was found here and what BVLC's build found."""
    here = tmp_path_factory.mktemp("layers")
    values, ours = [], []
    for index, run in enumerate(RUNS):
        folder = here / str(index)
        folder.mkdir()
        if run.case.files:
            run.case.files(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(folder)
            net = build(run)
            values.append(given(run.case, net))
            ours.append(run_here(run, net, values[-1]))
    packed = io.BytesIO()
    np.savez(packed, **{f"{i} {k}": v for i, value in enumerate(values) for k, v in value.items()})
    runs = [
        {"name": run.name, "net": run.net, "phase": run.case.phase, "tops": run.tops,
         "bottoms": len(run.case.bottoms), "backward": run.case.bvlc_backward}
        for run in RUNS
    ]  # fmt: skip
    files = {"runs.json": json.dumps(runs), "given.npz": packed.getvalue(), "folders": here}
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz"])
    theirs: list[dict[str, np.ndarray]] = [{} for _ in RUNS]
    for name, array in np.load(io.BytesIO(result.files["found.npz"])).items():
        index, key = name.split(" ", 1)
        theirs[int(index)][key] = array
    return dict(zip([run.name for run in RUNS], zip(ours, theirs, strict=True), strict=True))


def assert_agree(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        found = ours[key]
        assert found.shape == expected.shape, key
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest, err_msg=key)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_layer_agrees_with_bvlc(answers, run):
    ours, theirs = (
        {key: array for key, array in side.items() if key not in run.wrong}
        for side in answers[run.name]
    )
    assert_agree(ours, theirs)


@pytest.mark.parametrize("which", WRONG_IN_PLACE)
def test_bvlc_gets_these_wrong_in_place(answers, which):
    """So that the list above holds nothing that is not so."""
    keys, _ = WRONG_IN_PLACE[which]
    runs = [run for run in RUNS if run.in_place and which in (run.case.name, run.case.type)]
    for key in keys.split():
        wrong = 0
        for run in runs:
            ours, theirs = (side[key] for side in answers[run.name])
            beside = answers[run.case.name][0][key]
            np.testing.assert_array_equal(ours, beside.reshape(ours.shape))
            wrong += not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3)
        assert wrong, key


def test_every_type_of_bvlc_is_here(bvlc: Build):
    theirs = bvlc.python("import caffe, json; print(json.dumps(list(caffe.layer_type_list())))")
    assert len(theirs.json()) == 61
    assert set(theirs.json()) <= set(layer_types())
