"""Every registered layer against plain loops, finite differences and its own word on shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from layer_cases import CASES, TEST, TRAIN, Case, apart, made_layer, normal
from recipes import write_lmdb

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.layers import BlobLayer, layer_types
from recaffe.net import Net

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_gradient = pytest.mark.parametrize(
    "case", [c for c in CASES if c.differentiable and c.bottoms], ids=lambda case: case.name
)
STEP = 1e-6


@pytest.fixture(autouse=True)
def _place(request, tmp_path, monkeypatch):
    """The files of a case lie in the working folder."""
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if isinstance(case, Case) and case.files:
        case.files(tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)


def test_every_layer_has_a_case():
    assert sorted({case.type for case in CASES}) == layer_types()
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def make_net(case: Case, more: str = "", force_backward: bool = True) -> Net:
    """The case as a net, with its bottoms and parameters filled."""
    net = parsed(case, case.net(more, force_backward))
    if case.bottoms:
        net.blobs["b0"].data[...] = case.bottoms[0]
    return net


def parsed(case: Case, text: str) -> Net:
    """The net, all but its first bottom filled."""
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), case.phase)
    for index, bottom in enumerate(case.bottoms[1:], 1):
        net.blobs[f"b{index}"].data[...] = bottom
    layer = net.layers[net.layer_names.index("it")]
    if case.arrays:
        layer.reset(*case.arrays)
    for blob, values in zip(layer.blobs, case.params(layer), strict=True):
        blob.data[...] = values
    return net


def run(net: Net) -> None:
    net.forward_layers(0, len(net.layers) - 1)


def run_back(net: Net) -> None:
    net.backward_layers(len(net.layers) - 1, 0)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Equal but for ``tolerance`` of the largest finite value."""
    assert found.shape == np.shape(expected)
    finite = np.abs(np.asarray(expected, float)[np.isfinite(expected)])
    largest = finite.max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest + 1e-30)


@each_case
def test_forward_is_what_plain_loops_give(case):
    net = make_net(case)
    run(net)
    layer = net.layers[net.layer_names.index("it")]
    expected = case.reference(case.bottoms, case.params(layer))
    assert len(expected) == case.tops
    for index, top in enumerate(expected):
        assert_close(net.blobs[f"t{index}"].data, np.asarray(top))


@each_case
def test_top_shapes_are_those_of_forward(case):
    layer = case.made()
    bottoms = [torch.from_numpy(bottom) for bottom in case.bottoms]
    shapes = layer.top_shapes([bottom.shape for bottom in case.bottoms])
    if isinstance(layer, BlobLayer):
        for blob, bottom in zip(layer.bottom_blobs, bottoms, strict=True):
            blob.set_data(bottom)
        layer.forward_blobs()
        tops = [blob.data_tensor for blob in layer.top_blobs]
    else:
        tops = layer.forward(bottoms, [blob.data_tensor for blob in layer.blobs])
    assert len(shapes) == case.tops
    # The tops of Input are the user's, and how many items pass a Filter its bottom says.
    if case.type not in ("Input", "Filter"):
        assert [tuple(top.shape) for top in tops] == [tuple(shape) for shape in shapes]


@each_gradient
def test_gradient_is_the_limit_of_differences(case):
    layer = case.made()
    inputs = [torch.from_numpy(bottom).double() for bottom in case.bottoms]
    params = [torch.from_numpy(values).double() for values in case.params(layer)]
    leaves = [inputs[index] for index in case.smooth] + (params if case.learnt else [])
    for leaf in leaves:
        leaf.requires_grad_(True)
    tops = layer.forward(inputs, params)
    # A mask is constant, so it has no gradient.
    weights = [
        torch.from_numpy(diff).double() if top.requires_grad else None
        for top, diff in zip(tops, case.top_diffs(tops), strict=True)
    ]

    def scalar() -> torch.Tensor:
        tops = layer.forward(inputs, params)
        return sum((w * t).sum() for w, t in zip(weights, tops, strict=True) if w is not None)

    gradients = torch.autograd.grad(scalar(), leaves)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        with torch.no_grad():
            flat, differences = leaf.view(-1), torch.zeros(leaf.numel(), dtype=torch.float64)
            for index in range(leaf.numel()):
                value = flat[index].item()
                flat[index] = value + STEP
                above = scalar()
                flat[index] = value - STEP
                differences[index] = (above - scalar()) / (2 * STEP)
                flat[index] = value
        if case.name != "softmax loss all ignored":
            assert differences.abs().max() > 0
        np.testing.assert_allclose(
            gradient.reshape(-1).numpy(), differences.numpy(), rtol=1e-6, atol=1e-7
        )


@each_gradient
def test_net_gives_the_gradients_of_the_layer(case):
    """The net's diffs are the layer's vector-Jacobian product, in float32."""
    net = make_net(case)
    run(net)
    layer = net.layers[net.layer_names.index("it")]
    tops = [net.blobs[f"t{index}"] for index in range(case.tops)]
    for top, diff in zip(tops, case.top_diffs([top.data for top in tops]), strict=True):
        top.diff[...] = diff
    run_back(net)
    inputs = [torch.from_numpy(bottom).double() for bottom in case.bottoms]
    params = [torch.from_numpy(blob.data).double() for blob in layer.blobs]
    learnt = params if case.learnt else []
    smooth = [inputs[index] for index in case.smooth]
    leaves = [leaf.requires_grad_(True) for leaf in (*smooth, *learnt)]
    outputs = layer.forward(inputs, params)
    wanted = [(out, top.diff) for out, top in zip(outputs, tops, strict=True) if out.requires_grad]
    expected = torch.autograd.grad(
        [out for out, _ in wanted], leaves, [torch.from_numpy(d).double() for _, d in wanted]
    )
    blobs = [net.blobs[f"b{index}"] for index in range(len(inputs))]
    moving = [blobs[index] for index in case.smooth] + layer.blobs[: len(learnt)]
    for blob, gradient in zip(moving, expected, strict=True):
        assert_close(blob.diff, gradient.numpy())
    for blob in set(blobs + layer.blobs) - set(moving):
        assert not blob.diff.any()


@each_gradient
def test_parameter_diffs_add_up_and_bottom_diffs_are_overwritten(case):
    net = make_net(case)
    run(net)
    tops = [net.blobs[f"t{index}"] for index in range(case.tops)]
    layer = net.layers[net.layer_names.index("it")]
    found = []
    for _ in range(2):
        for top, diff in zip(tops, case.top_diffs([top.data for top in tops]), strict=True):
            top.diff[...] = diff
        run_back(net)
        found.append([net.blobs["b0"].diff.copy(), *(blob.diff.copy() for blob in layer.blobs)])
    np.testing.assert_array_equal(found[1][0], found[0][0])
    for first, second in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_allclose(second, 2 * first, rtol=1e-6)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.differentiable and c.bottoms], ids=lambda case: case.name
)
def test_propagate_down_false_leaves_a_bottom_without_gradient(case):
    more = " ".join(["propagate_down: false"] * len(case.bottoms))
    if "loss_weight" not in case.layer:
        more += " loss_weight: 1" + " loss_weight: 0" * (case.tops - 1)
    net = make_net(case, more, force_backward=False)
    run(net)
    net.blobs["t0"].diff[...] = 1
    run_back(net)
    layer = net.layers[net.layer_names.index("it")]
    for index in range(len(case.bottoms)):
        # It is the top's own memory in layers that only reshape.
        assert net.blobs[f"b{index}"].diff.any() == layer.shares_diff
    assert all(blob.diff.any() for blob in layer.blobs) or not case.learnt


# -- what is not one formula --------------------------------------------------------------


@pytest.mark.parametrize("looked_at", [False, True], ids=["unseen", "with a view kept"])
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.may_be_in_place], ids=lambda case: case.name
)  # fmt: skip
def test_in_place_is_as_beside(case, looked_at):
    beside = make_net(case)
    run(beside)
    (diff,) = case.top_diffs([beside.blobs["t0"].data])
    beside.blobs["t0"].diff[...] = diff
    run_back(beside)

    net = parsed(case, case.net(in_place=True))
    blob = net.blobs["b0"]
    if looked_at:
        view, view_of_diff = blob.data, blob.diff
        view[...] = case.bottoms[0].reshape(view.shape)  # it has the top's from the start
    else:
        blob.set_data(torch.from_numpy(np.array(case.bottoms[0])))
    run(net)
    if looked_at:
        view_of_diff[...] = diff
    else:
        blob.set_diff(torch.from_numpy(diff.copy()))
    run_back(net)
    np.testing.assert_array_equal(blob.data, beside.blobs["t0"].data)
    if 0 in case.smooth:
        expected = beside.blobs["b0"].diff
        np.testing.assert_array_equal(blob.diff, expected.reshape(blob.diff.shape))
    for index in range(1, len(case.bottoms)):
        name = f"b{index}"
        np.testing.assert_array_equal(net.blobs[name].diff, beside.blobs[name].diff)
    for found, expected in zip(net.learnable, beside.learnable, strict=True):
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.diff, expected.diff)
    if looked_at:
        assert np.shares_memory(view, blob.data)
        assert np.shares_memory(view_of_diff, blob.diff)


def dropout_net(ratio: float, shape: str = "dim: 100 dim: 200", top: str = "t") -> Net:
    text = f"""force_backward: true
    layer {{ name: "b" type: "Input" top: "b" input_param {{ shape {{ {shape} }} }} }}
    layer {{ name: "d" type: "Dropout" bottom: "b" top: "{top}"
            dropout_param {{ dropout_ratio: {ratio} }} }}"""
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), TRAIN)


@pytest.mark.parametrize("top", ["t", "b"], ids=["beside", "in place"])
def test_dropout_keeps_its_share_scales_and_masks_the_gradient_alike(top):
    context.seed(3)
    net = dropout_net(0.75, top=top)
    net.blobs["b"].data[...] = 1
    run(net)
    data = net.blobs[top].data.copy()
    assert set(np.unique(data)) == {0.0, 4.0}
    kept = (data != 0).mean()
    # 20000 draws: five standard deviations are 0.0153
    assert abs(kept - 0.25) < 0.0153
    # neither rows nor columns share a draw
    assert (data != 0).any(axis=0).all()
    assert (data != 0).any(axis=1).all()
    assert len(np.unique(data != 0, axis=0)) == 100
    net.blobs[top].diff[...] = 2
    run_back(net)
    np.testing.assert_array_equal(net.blobs["b"].diff, 2 * data)


def test_dropout_draws_anew_each_time_and_the_same_from_one_seed():
    draws = []
    for seed in (1, 1, 2):
        context.seed(seed)
        net = dropout_net(0.5)
        net.blobs["b"].data[...] = 1
        for _ in range(2):
            run(net)
            draws.append(net.blobs["t"].data.copy())
    assert (draws[0] != draws[1]).any()
    np.testing.assert_array_equal(draws[0], draws[2])
    np.testing.assert_array_equal(draws[1], draws[3])
    assert (draws[0] != draws[4]).any()


def test_dropout_of_nothing_is_identity():
    net = dropout_net(0)
    net.blobs["b"].data[...] = normal(100, 200)
    run(net)
    np.testing.assert_array_equal(net.blobs["t"].data, normal(100, 200))


def test_loss_of_a_vanishing_probability_is_bounded_but_its_gradient_is_not():
    case = next(case for case in CASES if case.name == "softmax loss vanishing probability")
    net = make_net(case)
    run(net)
    # -log of the least normal float, for one of the two items
    assert float(net.blobs["t0"].data) == pytest.approx(126 * np.log(2) / 2, rel=1e-6)
    run_back(net)
    np.testing.assert_allclose(net.blobs["b0"].diff, [[-0.5, 0.5], [0, 0]], atol=1e-30)


def test_loss_of_a_nan_score_is_nan():
    layer = made_layer("SoftmaxWithLoss", "", (1, 2), (1,))
    (loss,) = layer.forward([torch.tensor([[torch.nan, 0.0]]), torch.zeros(1)], [])
    assert loss.isnan()


def test_loss_gives_probabilities_as_its_second_top():
    layer = made_layer("SoftmaxWithLoss", "", (2, 3), (2,), tops=2)
    scores = torch.from_numpy(normal(2, 3))
    loss, probabilities = layer.forward([scores, torch.zeros(2)], [])
    torch.testing.assert_close(probabilities, torch.softmax(scores, 1))
    torch.testing.assert_close(loss, -probabilities[:, 0].log().mean())


def test_accuracy_of_nan_scores_is_bvlcs():
    layer = made_layer("Accuracy", "", (1, 3), (1,))
    scores = torch.tensor([[torch.nan, 1.0, 0.0]])
    found = [float(layer.forward([scores, torch.tensor([float(k)])], [])[0]) for k in range(3)]
    assert found == [1, 1, 0]


def test_first_of_equal_maxima_takes_the_whole_gradient():
    for shape in [(1, 1, 4, 4), (2, 3, 4, 4)]:
        bottom = torch.ones(shape, requires_grad=True)
        layer = made_layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", shape)
        layer.forward([bottom], [])[0].sum().backward()
        expected = np.zeros((4, 4))
        expected[::2, ::2] = 1
        np.testing.assert_array_equal(bottom.grad, np.broadcast_to(expected, shape))


def test_pooling_of_channels_last_memory_is_the_same():
    """That is how the convolution before it leaves its top."""
    bottom = torch.from_numpy(apart(2, 3, 5, 6))
    last = bottom.contiguous(memory_format=torch.channels_last)
    for settings in ("", "pad: 1", "pool: AVE", "pool: AVE pad: 1"):
        layer = made_layer(
            "Pooling", f"pooling_param {{ kernel_size: 3 stride: 2 {settings} }}", (2, 3, 5, 6)
        )
        torch.testing.assert_close(layer.forward([last], [])[0], layer.forward([bottom], [])[0])


def test_global_pooling_follows_its_bottom():
    layer = made_layer("Pooling", "pooling_param { global_pooling: true }", (1, 2, 3, 4))
    assert layer.top_shapes([(1, 2, 5, 6)]) == [(1, 2, 1, 1)]
    bottom = torch.from_numpy(apart(1, 2, 5, 6))
    torch.testing.assert_close(layer.forward([bottom], [])[0], bottom.amax((2, 3), keepdim=True))


def test_data_starts_over_and_follows_the_keys(tmp_path):
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    write_lmdb(tmp_path / "lmdb", images, np.arange(5))
    settings = f'data_param {{ source: "{tmp_path}/lmdb" backend: LMDB batch_size: 3 }}'
    text = f'layer {{ name: "d" type: "Data" top: "data" top: "label" {settings} }}'
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), TEST)
    seen = []
    for _ in range(4):
        run(net)
        assert net.blobs["data"].shape == (3, 1, 1, 1)
        np.testing.assert_array_equal(net.blobs["data"].data.ravel(), net.blobs["label"].data)
        seen += net.blobs["label"].data.astype(int).tolist()
    assert seen == [0, 1, 2, 3, 4] * 2 + [0, 1]
