"""Where a neuron's or Eltwise's gradient is the true one, and BVLC's build has none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from bvlc import Build
from bvlc_questions import ask
from layer_cases import made_layer

QUESTION = """
text, bottoms = json.loads(sys.argv[1])
names = ["b%d" % i for i in range(len(bottoms))]
made = net("force_backward: true\\n" + "".join(blob(n, len(v)) for n, v in zip(names, bottoms)) +
           'layer { name: "it" top: "t" %s %s }' % (text, " ".join('bottom: "%s"' % n for n in names)))
for name, values in zip(names, bottoms):
    made.blobs[name].data[...] = values
made.forward()
made.blobs["t"].diff[...] = 1
made.backward()
answer = [np.nan_to_num(made.blobs[n].diff, nan=-99, posinf=99).tolist() for n in names]
"""  # noqa: E501
NAN = -99.0


def gradients(type_: str, settings: str, bottoms: list[list[float]]) -> list[list[float]]:
    layer = made_layer(type_, settings, *((len(values),) for values in bottoms))
    leaves = [torch.tensor(values, requires_grad=True) for values in bottoms]
    layer.forward(leaves, [])[0].sum().backward()
    return [np.nan_to_num(leaf.grad.numpy(), nan=NAN, posinf=99).tolist() for leaf in leaves]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("type_", "settings", "bottoms", "true", "theirs"),
    [
        ("Power", "power_param { power: 3 }", [[0, 2]], [[0, 12]], [[NAN, 12]]),
        ("Power", "power_param { power: 0.5 }", [[0, 1]], [[99, 0.5]], [[NAN, 0.5]]),
        ("Power", "power_param { power: 1.5 scale: 2 shift: -2 }", [[1, 3]], [[0, 6]], [[NAN, 6]]),
        ("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }",
         [[0, 2], [3, 0]], [[3, 0], [0, 2]], [[NAN, 0], [0, NAN]]),
    ],
)  # fmt: skip
def test_a_gradient_that_divides_by_zero_in_bvlc_is_the_true_one(
    bvlc: Build, type_, settings, bottoms, true, theirs
):
    assert gradients(type_, settings, [[float(x) for x in row] for row in bottoms]) == true
    assert ask(bvlc, QUESTION, json.dumps([f'type: "{type_}" {settings}', bottoms])) == theirs


def test_a_nan_goes_through_clip():
    """BVLC's build makes it min."""
    layer = made_layer("Clip", "clip_param { min: -1 max: 1 }", (2,))
    (top,) = layer.forward([torch.tensor([torch.nan, 5])], [])
    assert top[0].isnan()
    assert top[1] == 1
