"""Fillers: bounds, moments, kernels; every type of Caffe's."""

from __future__ import annotations

import json
import math

import pytest
import torch
from bvlc import Build
from google.protobuf import text_format
from torch import Tensor

from recaffe import fillers
from recaffe.errors import LayerError
from recaffe.net import Net
from recaffe.proto.schema import TRAIN, FillerParameter, NetParameter

SHAPE = (64, 32, 5, 5)
FANS = {"FAN_IN": 800, "FAN_OUT": 1600, "AVERAGE": 1200}


def filled(shape: tuple[int, ...] = SHAPE, seed: int = 1, **parameter) -> Tensor:
    tensor = torch.full(shape, math.nan)
    fillers.fill(tensor, FillerParameter(**parameter), torch.Generator().manual_seed(seed))
    return tensor


def norm(name: str) -> int:
    return FillerParameter.VarianceNorm.Value(name)


def test_constant() -> None:
    assert torch.equal(filled(), torch.zeros(SHAPE))
    assert torch.equal(filled(type="constant", value=0.25), torch.full(SHAPE, 0.25))


def assert_uniform(tensor: Tensor, low: float, high: float) -> None:
    assert tensor.min() >= low
    assert tensor.max() <= high
    width = high - low
    # 51200 draws: the ends come within a thousandth, the moments within a hundredth.
    assert tensor.min() == pytest.approx(low, abs=1e-3 * width)
    assert tensor.max() == pytest.approx(high, abs=1e-3 * width)
    assert tensor.mean() == pytest.approx((low + high) / 2, abs=1e-2 * width)
    assert tensor.std() == pytest.approx(width / math.sqrt(12), rel=1e-2)


def assert_normal(tensor: Tensor, mean: float, std: float) -> None:
    assert tensor.mean() == pytest.approx(mean, abs=0.02 * std)
    assert tensor.std() == pytest.approx(std, rel=0.02)
    within = ((tensor - mean).abs() < std).float().mean()
    assert within == pytest.approx(0.6827, abs=0.01)


def test_uniform() -> None:
    assert_uniform(filled(type="uniform"), 0, 1)
    assert_uniform(filled(type="uniform", min=-3, max=5), -3, 5)
    with pytest.raises(LayerError, match="min <= max, found 2 and 1"):
        filled(type="uniform", min=2)


def test_gaussian() -> None:
    assert_normal(filled(type="gaussian"), 0, 1)
    assert_normal(filled(type="gaussian", mean=5, std=0.5), 5, 0.5)
    for std in (0, -1):
        with pytest.raises(LayerError, match=f"std > 0, found {std}"):
            filled(type="gaussian", std=std)


def test_sparse_gaussian() -> None:
    tensor = filled((200, 300), type="gaussian", mean=5, std=0.5, sparse=50)
    chosen = tensor[tensor != 0]
    assert len(chosen) / tensor.numel() == pytest.approx(50 / 200, rel=0.02)
    assert_normal(chosen, 5, 0.5)
    assert filled((20, 300), type="gaussian", mean=5, sparse=20).count_nonzero() == 6000
    assert filled((20, 300), type="gaussian", sparse=0).count_nonzero() == 0
    for sparse in (21, -2):
        with pytest.raises(LayerError, match=f"0 to the 20 units .*, found {sparse}"):
            filled((20, 300), type="gaussian", sparse=sparse)


@pytest.mark.parametrize(
    "parameter",
    [{"type": "xavier"}, {"type": "msra"}, {"type": "positive_unitball"},
     {"type": "gaussian", "sparse": 1}],
    ids=lambda parameter: parameter["type"],
)  # fmt: skip
def test_a_single_number_has_no_units(parameter: dict) -> None:
    with pytest.raises(LayerError, match=f"the {parameter['type']} filler needs an axis at least"):
        filled((), **parameter)


def test_a_single_number_is_filled() -> None:
    assert filled((), type="constant", value=0.5) == 0.5
    assert filled((), type="uniform", min=3, max=3) == 3
    assert filled((), type="gaussian", mean=9, std=1e-3) == pytest.approx(9, abs=0.1)


def test_positive_unitball() -> None:
    tensor = filled(type="positive_unitball")
    assert tensor.min() >= 0
    assert torch.allclose(tensor.flatten(1).sum(dim=1), torch.ones(64))
    # Before they are scaled, the 800 weights of a unit sum to about 400.
    assert (tensor * 400).std() == pytest.approx(1 / math.sqrt(12), rel=0.02)


@pytest.mark.parametrize("name", FANS)
def test_xavier(name: str) -> None:
    scale = math.sqrt(3 / FANS[name])
    assert_uniform(filled(type="xavier", variance_norm=norm(name)), -scale, scale)


@pytest.mark.parametrize("name", FANS)
def test_msra(name: str) -> None:
    tensor = filled(type="msra", variance_norm=norm(name))
    assert_normal(tensor, 0, math.sqrt(2 / FANS[name]))


@pytest.mark.parametrize("shape", [(1000,), (1000, 1)])
def test_fans_of_a_bias(shape: tuple[int, ...]) -> None:
    # In Caffe a missing second axis counts as 1.
    assert filled(shape, type="xavier").abs().max() == pytest.approx(math.sqrt(3), rel=0.01)
    tensor = filled(shape, type="xavier", variance_norm=norm("FAN_OUT"))
    assert tensor.abs().max() == pytest.approx(math.sqrt(3 / 1000), rel=0.01)


RAMPS = {
    1: [1],
    2: [0.5, 0.5],
    3: [0.5, 1, 0.5],
    4: [0.25, 0.75, 0.75, 0.25],
    5: [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3],
}


@pytest.mark.parametrize("size", RAMPS)
def test_bilinear(size: int) -> None:
    ramp = torch.tensor(RAMPS[size], dtype=torch.float32)
    tensor = filled((3, 2, size, size), type="bilinear")
    assert torch.allclose(tensor, torch.outer(ramp, ramp).expand(3, 2, size, size))


@pytest.mark.parametrize("shape", [(1, 1, 2, 3), (4, 4)])
def test_bilinear_needs_square_kernels(shape: tuple[int, ...]) -> None:
    with pytest.raises(LayerError, match="needs square kernels, found the shape"):
        filled(shape, type="bilinear")


def test_unknown_type() -> None:
    with pytest.raises(LayerError, match="unknown filler type 'xaver'; known: bilinear, constant"):
        filled(type="xaver")


@pytest.mark.parametrize("sparse", [3, 0, -2])
@pytest.mark.parametrize("kind", sorted(fillers._FILLERS.keys() - {"gaussian"}))
def test_only_a_gaussian_leaves_units_out(kind: str, sparse: int) -> None:
    with pytest.raises(LayerError, match=f"found {sparse} with the {kind} one; leave it out"):
        filled((2, 2, 3, 3), type=kind, sparse=sparse)


CAFFES = {"bilinear", "constant", "gaussian", "msra", "positive_unitball", "uniform", "xavier"}


def test_every_type_of_caffes() -> None:
    assert set(fillers._FILLERS) == CAFFES


def test_a_type_is_registered_once() -> None:
    with pytest.raises(ValueError, match="two fillers are registered as 'msra'"):
        fillers.filler("msra")(fillers.constant)


@pytest.mark.parametrize("kind", sorted(CAFFES - {"constant", "bilinear"}))
def test_the_seed_decides(kind: str) -> None:
    assert torch.equal(filled(type=kind, seed=3), filled(type=kind, seed=3))
    assert not torch.equal(filled(type=kind, seed=3), filled(type=kind, seed=4))


# --- against BVLC ---------------------------------------------------------------------

ASK = """
import caffe, json, sys
moments = {}
for kind in sys.argv[1:]:
    with open("net", "w") as stream:
        stream.write('''
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 32, 5, 5] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
    num_output: 64 kernel_size: 5 bias_term: false weight_filler { %s } } }''' % kind)
    caffe.set_random_seed(1)
    weights = caffe.Net("net", caffe.TRAIN).params["conv"][0].data
    moments[kind] = [float(x) for x in
        (weights.mean(), weights.std(), weights.min(), weights.max(), weights[3, 2, 1, 4])]
print(json.dumps(moments))
"""
ASKED = [
    *(f'type: "{kind}" variance_norm: {fan}' for kind in ("xavier", "msra") for fan in FANS),
    'type: "positive_unitball"',
    'type: "bilinear"',
    'type: "constant" value: 3',
    'type: "uniform" min: -1 max: 3',
    'type: "gaussian" mean: 2 std: 3',
    'type: "gaussian" mean: 2 std: 3 sparse: 8',
]


@pytest.mark.oracle
def test_distributions_are_bvlcs(bvlc: Build) -> None:
    answers = bvlc.python(ASK, *ASKED).json()
    for text, (mean, std, low, high, one) in answers.items():
        parameter = text_format.Parse(text, FillerParameter())
        tensor = torch.empty(SHAPE)
        fillers.fill(tensor, parameter, torch.Generator().manual_seed(1))
        assert tensor.mean() == pytest.approx(mean, abs=0.02 * std + 1e-6), text
        assert tensor.std(correction=0) == pytest.approx(std, rel=0.05, abs=1e-6), text
        if parameter.type in ("bilinear", "constant"):
            assert tensor[3, 2, 1, 4] == pytest.approx(one)
        if "gauss" not in text and "msra" not in text:
            assert [tensor.min(), tensor.max()] == pytest.approx(
                [low, high], abs=0.01 * (high - low)
            )


STARTS = {
    'type: "Scale"': [[1.0]],
    'type: "Scale" scale_param { filler {} }': [[0.0]],
    'type: "Scale" scale_param { bias_term: true }': [[1.0], [0.0]],
    'type: "Scale" scale_param { num_axes: 0 bias_term: true bias_filler { value: 3 } }': [
        [1.0],
        [3.0],
    ],
    'type: "Scale" scale_param { filler { value: 2 } bias_term: true }': [[2.0], [0.0]],
    'type: "Bias"': [[0.0]],
    'type: "Bias" bias_param { filler { value: 0.5 } }': [[0.5]],
    'type: "PReLU"': [[0.25]],
    'type: "PReLU" prelu_param { channel_shared: true }': [[0.25]],
    'type: "PReLU" prelu_param { filler {} }': [[0.0]],
    'type: "PReLU" prelu_param { filler { type: "positive_unitball" } }': [[1.0]],
    'type: "Embed" embed_param { num_output: 2 input_dim: 3 }': [[0.0], [0.0]],
    'type: "Embed" embed_param { num_output: 2 input_dim: 3 weight_filler { value: 2 } '
    "bias_filler { value: 3 } }": [[2.0], [3.0]],
    'type: "Parameter" parameter_param { shape { dim: 2 } }': [[0.0]],
}  # fmt: skip
START = """
import caffe, json, sys
answer = []
for text in json.loads(sys.argv[1]):
    with open("net", "w") as stream:
        stream.write(text)
    blobs = caffe.Net("net", caffe.TRAIN).params["it"]
    answer.append([[list(blob.shape), sorted(set(blob.data.ravel().tolist()))] for blob in blobs])
print(json.dumps(answer))
"""


def starting_net(layer: str) -> str:
    bottom = "" if "Parameter" in layer else 'bottom: "data"'
    return (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [3, 4] } } }'
        f'layer {{ name: "it" {bottom} top: "t" {layer} }}'
    )


def started(text: str) -> list[list]:
    """The shape of each parameter, and the values in it."""
    blobs = Net(text_format.Parse(text, NetParameter()), TRAIN).params["it"]
    return [[list(blob.shape), sorted(set(blob.data.ravel().tolist()))] for blob in blobs]


@pytest.mark.parametrize("layer", STARTS)
def test_what_parameters_start_with(layer: str) -> None:
    assert [values for _, values in started(starting_net(layer))] == STARTS[layer]


@pytest.mark.oracle
def test_what_parameters_start_with_is_bvlcs(bvlc: Build) -> None:
    texts = [starting_net(layer) for layer in STARTS]
    theirs = bvlc.python(START, json.dumps(texts)).json()
    assert dict(zip(texts, theirs, strict=True)) == {text: started(text) for text in texts}


SPARSE = """
import caffe, json, os, sys
NET = '''
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 2, 5, 5] } } }
layer { name: "it" type: "Convolution" bottom: "x" top: "y" convolution_param {
  num_output: 2 kernel_size: 3 weight_filler { type: "%s" sparse: %d } } }'''
answer = []
for kind, sparse in json.loads(sys.argv[1]):
    with open("net", "w") as stream:
        stream.write(NET % (kind, sparse))
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        caffe.Net("net", caffe.TRAIN)
        os._exit(0)
    answer.append(os.waitpid(child, 0)[1] != 0)
print(json.dumps(answer))
"""


@pytest.mark.oracle
def test_sparse_is_refused_where_bvlc_refuses_it(bvlc: Build) -> None:
    asked = [(kind, sparse) for kind in sorted(CAFFES) for sparse in (-2, -1, 0, 2, 3)]
    theirs = bvlc.python(SPARSE, json.dumps(asked)).json()
    ours = []
    for kind, sparse in asked:
        try:
            filled((2, 2, 3, 3), type=kind, sparse=sparse)
            ours.append(False)
        except LayerError:
            ours.append(True)
    assert dict(zip(asked, ours, strict=True)) == dict(zip(asked, theirs, strict=True))
