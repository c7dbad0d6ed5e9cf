"""What a user writes into a blob between forward and backward counts as it does in BVLC's build.

There a layer's backward reads its bottoms, its tops and its parameters as they are by then, or
what it has put aside. So every case of every layer is run with each of its blobs written to, as
one that somebody has looked at before and as one that nobody has.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bvlc import Build
from layer_cases import CASES
from run_layers import write
from test_layers_bvlc import SCRIPT, Run, assert_agree, build, given

pytestmark = pytest.mark.oracle


# Where BVLC's backward mixes what was written with what it has put aside, so that it is the
# gradient of neither. Ours is that of what the layer was run on; of types or of single cases.
MIXED = {
    "LRN": "b0 t0",
    "MVN": "b0 t0",
    "LSTMUnit": "b0 b1 b2 t0",
    "LSTM": "b0 b1 b2 b3 b4 p0 p2 p3 t2",
    "RNN": "b0 b2 p0 p2 p3 p4 t0 t1",
    "HingeLoss": "b1",
    "Swish": "b0 t0",
    "Pooling": "t1",  # the mask
    "eltwise product, not stable": "b0 b1 b2 t0",
}


@dataclass(frozen=True)
class Written(Run):
    """A case, and the blob that is written to: a bottom, a top or a parameter."""

    blob: str = ""

    @property
    def name(self) -> str:
        return f"{super().name}, {self.blob} written"

    @property
    def is_mixed(self) -> bool:
        known = MIXED.get(self.case.name) or MIXED.get(self.case.type) or ""
        return self.blob in known.split()


def written(in_place: bool) -> list[Written]:
    runs = []
    for case in CASES:
        if not (case.bvlc and case.bvlc_backward and case.bottoms) or case.files or case.arrays:
            continue
        if in_place and not case.may_be_in_place:
            continue
        bottoms = [f"b{index}" for index in range(len(case.bottoms))]
        names = [*bottoms, *case.top_names(in_place)]
        names += [f"p{index}" for index in range(len(case.made().blobs))]
        runs += [Written(case, in_place, name) for name in dict.fromkeys(names)]
    return runs


RUNS = [*written(in_place=False), *written(in_place=True)]


def run_here(run: Written, values: dict[str, np.ndarray], looked_at: bool) -> dict[str, np.ndarray]:
    """Gradients here; the tops' diffs join ``values``."""
    net = build(run)
    layer = net.layers[net.layer_names.index("it")]
    blobs = {f"b{index}": net.blobs[f"b{index}"] for index in range(len(run.case.bottoms))}
    blobs |= {f"p{index}": blob for index, blob in enumerate(layer.blobs)}
    for name, blob in blobs.items():
        if looked_at:
            blob.data[...] = values[name].reshape(blob.shape)
        else:
            blob.set_data(torch.tensor(values[name]).reshape(blob.shape))
    tops = [net.blobs[name] for name in run.tops]
    if looked_at:
        for top in tops:
            assert top.data is not None
    net.forward_layers(0, len(net.layers) - 1)
    for number, diff in enumerate(run.case.top_diffs([top.data_tensor for top in tops])):
        values[f"d{number}"] = diff
        tops[number].set_diff(torch.from_numpy(diff))
    write(net, run.blob)
    net.backward_layers(len(net.layers) - 1, 0)
    return {name: blob.diff.copy() for name, blob in blobs.items()}


@pytest.fixture(scope="module")
def answers(bvlc: Build, tmp_path_factory: pytest.TempPathFactory):
    """For each run by name: gradients, here in both ways, and BVLC's."""
    here = tmp_path_factory.mktemp("written")
    values, ours = [], []
    for index, run in enumerate(RUNS):
        (here / str(index)).mkdir()
        values.append(given(run.case, build(run)))
        ours.append([run_here(run, values[-1], looked_at) for looked_at in (True, False)])
    packed = io.BytesIO()
    np.savez(packed, **{f"{i} {k}": v for i, value in enumerate(values) for k, v in value.items()})
    runs = [
        {"name": run.name, "net": run.net, "phase": run.case.phase, "tops": run.tops,
         "bottoms": len(run.case.bottoms), "backward": True, "written": run.blob}
        for run in RUNS
    ]  # fmt: skip
    files = {"runs.json": json.dumps(runs), "given.npz": packed.getvalue(), "folders": here}
    result = bvlc.python(SCRIPT, files=files, fetch=["found.npz"])
    theirs: list[dict[str, np.ndarray]] = [{} for _ in RUNS]
    for name, array in np.load(io.BytesIO(result.files["found.npz"])).items():
        index, key = name.split(" ", 1)
        if key in ours[int(index)][0]:
            theirs[int(index)][key] = array
    return dict(zip([run.name for run in RUNS], zip(ours, theirs, strict=True), strict=True))


@pytest.mark.parametrize("run", [run for run in RUNS if not run.is_mixed], ids=lambda run: run.name)
def test_what_is_written_counts_as_in_bvlc(answers, run):
    ours, theirs = answers[run.name]
    for found in ours:
        assert_agree(*({key: side[key] for key in side if key not in run.wrong}
                       for side in (found, theirs)))  # fmt: skip


@pytest.mark.parametrize("which", MIXED)
def test_bvlc_mixes_old_and_new_in_these(answers, which):
    """So that the list above holds nothing that is not so."""
    for blob in MIXED[which].split():
        runs = [run for run in RUNS if run.blob == blob and which in (run.case.name, run.case.type)]
        assert any(
            not np.allclose(found[key], expected, rtol=1e-3, atol=1e-3)
            for run in runs
            for found in answers[run.name][0]
            for key, expected in answers[run.name][1].items()
        ), blob
