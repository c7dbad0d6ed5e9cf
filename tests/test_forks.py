"""The forks' layers where one formula does not say all: state, memory, bad inputs, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from layer_cases import CASES, TEST, TRAIN, apart, made_layer, normal
from small_nets import build, inputs, run, run_back

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import LayerError
from recaffe.net import Net
from recaffe.net.weights import load_weights, save_weights
from recaffe.solver import Solver, make_solver

# -- BN of PSPNet -------------------------------------------------------------------------

BN = """
layer {{ name: "bn" type: "BN" bottom: "x" top: "y" {specs} bn_param {{ {settings}
  slope_filler {{ type: "uniform" min: 1 max: 2 }} bias_filler {{ type: "gaussian" }} }} }}
"""


def bn_net(settings: str = "", phase: int = TRAIN, specs: str = "") -> Net:
    net = build("force_backward: true " + inputs(x=(4, 3, 2))
                + BN.format(settings=settings, specs=specs), phase)  # fmt: skip
    net.blobs["x"].data[...] = normal(4, 3, 2) + 1
    return net


def test_bn_moves_its_statistics_towards_each_batchs():
    net = bn_net("momentum: 0.75")
    for step in range(1, 4):
        run(net)
        values = (normal(4, 3, 2) + 1).astype(float).transpose(1, 0, 2).reshape(3, 8)
        weight = 1 - 0.75**step
        mean, variance = (blob.data for blob in net.params["bn"][2:])
        np.testing.assert_allclose(mean.ravel(), weight * values.mean(1), rtol=1e-6)
        np.testing.assert_allclose(variance.ravel(), weight * values.var(1), rtol=1e-6)


def test_bn_starts_from_a_variance_of_1_where_it_is_frozen_and_of_0_else():
    for settings, expected in (("frozen: true", 1), ("", 0)):
        mean, variance = (blob.data for blob in bn_net(settings).params["bn"][2:])
        assert (mean == 0).all()
        assert (variance == expected).all()


def test_bn_of_one_value_a_channel_has_its_mean_and_no_variance():
    net = build(inputs(x=(1, 2, 1)) + BN.format(settings="momentum: 0.5", specs=""))
    net.blobs["x"].data[...] = [[[3], [-4]]]
    run(net)
    _, bias, mean, variance = (blob.data.ravel() for blob in net.params["bn"])
    np.testing.assert_array_equal(net.blobs["y"].data.ravel(), bias)
    np.testing.assert_array_equal(mean, [1.5, -2])
    np.testing.assert_array_equal(variance, [0, 0])


def test_bn_learns_slope_and_bias_but_no_statistics():
    net = bn_net(specs="param { lr_mult: 3 } param {} param { lr_mult: 5 decay_mult: 2 }")
    assert net.lr_mults == [3, 1, 0, 0]
    assert net.decay_mults == [1, 1, 0, 0]


def test_bn_that_is_frozen_learns_nothing_and_keeps_everything():
    net = bn_net("frozen: true", specs="param { lr_mult: 3 }")
    assert net.lr_mults == [0, 0, 0, 0]
    before = [blob.data.copy() for blob in net.params["bn"]]
    run(net)
    net.blobs["y"].diff[...] = 1
    run_back(net)
    for blob, values in zip(net.params["bn"], before, strict=True):
        np.testing.assert_array_equal(blob.data, values)
        assert not blob.diff.any()
    slope = before[0].ravel()
    expected = np.broadcast_to(slope[:, None] / np.sqrt(1 + 1e-5), (4, 3, 2))
    np.testing.assert_allclose(net.blobs["x"].diff, expected, rtol=1e-6)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_bns_gradients_are_the_limit_of_differences(phase):
    layer = made_layer("BN", "", (3, 2, 4), phase=phase)
    values = [normal(3, 2, 4), normal(2, seed=1), normal(2, seed=2)]
    leaves = [torch.from_numpy(each).double().requires_grad_() for each in values]
    statistics = [torch.from_numpy(each).double() for each in (normal(2), np.abs(normal(2)))]
    weights = torch.from_numpy(normal(3, 2, 4, seed=5)).double()

    def scalar() -> torch.Tensor:
        bottom, *learnt = leaves
        params = [each.view(1, 2, 1, 1) for each in (*learnt, *statistics)]
        return (layer.forward([bottom], params)[0] * weights).sum()

    for leaf, gradient in zip(leaves, torch.autograd.grad(scalar(), leaves), strict=True):
        flat, found = leaf.detach().view(-1), gradient.view(-1)
        for index in range(len(flat)):
            sides = []
            for step in (1e-6, -2e-6):
                flat[index] += step
                sides.append(float(scalar().detach()))
            flat[index] += 1e-6
            expected = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(float(found[index]), expected, rtol=1e-6, atol=1e-7)


# -- memory -------------------------------------------------------------------------------

IN_PLACE = ["relu6", "relu6 with slope", "normalize channels", "normalize across all",
            "bn PSPNet's", "bn SegNet's", "bn SegNet's inference"]  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_is_as_beside(name):
    case = next(case for case in CASES if case.name == name)
    found = []
    for text in (case.net(), case.net().replace('top: "t0"', 'top: "b0"')):
        net = build(text, case.phase)
        for blob, values in zip(net.params.get("it", []), case.params(net.layers[-1]), strict=True):
            blob.data[...] = values
        bottom, top = net.blobs["b0"], net.blobs.get("t0", net.blobs["b0"])
        views = bottom.data, top.diff
        views[0][...] = case.bottoms[0]
        run(net)
        views[1][...] = case.top_diffs([top.data])[0]
        data = top.data.copy()
        run_back(net)
        found.append([data, bottom.diff.copy(), *(b.diff.copy() for b in net.params.get("it", []))])
    for beside, in_place in zip(*found, strict=True):
        np.testing.assert_array_equal(in_place, beside)


FORKS = {"DepthwiseConvolution", "ConvolutionDepthwise", "ReLU6", "Normalize", "Permute",
         "ROIPooling", "SmoothL1Loss", "Interp", "Upsample", "ShuffleChannel", "Axpy",
         "BN"}  # fmt: skip


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.type in FORKS], ids=lambda case: case.name
)
def test_a_top_is_no_view_of_a_bottom(case):
    """Else what a user or a layer in place writes into the one shows in the other."""
    layer = case.made()
    bottoms = [torch.from_numpy(bottom.copy()) for bottom in case.bottoms]
    tops = layer.forward(bottoms, [blob.data_tensor for blob in layer.blobs])
    for top in tops:
        top += 1
    for bottom, values in zip(bottoms, case.bottoms, strict=True):
        np.testing.assert_array_equal(bottom.numpy(), values)


@pytest.mark.parametrize("case", [c for c in CASES if c.type in FORKS and c.bottoms[0].ndim == 4],
                         ids=lambda case: case.name)  # fmt: skip
def test_channels_last_memory_gives_the_same(case):
    """That is how a convolution leaves its top."""
    layer = case.made()
    params = [blob.data_tensor for blob in layer.blobs]
    plain = [torch.from_numpy(bottom) for bottom in case.bottoms]
    last = [
        each.contiguous(memory_format=torch.channels_last) if each.dim() == 4 else each
        for each in plain
    ]
    for found, expected in zip(
        layer.forward(last, params), layer.forward(plain, params), strict=True
    ):
        torch.testing.assert_close(found, expected, equal_nan=True)


# -- shapes that change, and inputs that make no sense --------------------------------------


def test_layers_follow_their_bottoms_to_other_sizes():
    interp = made_layer("Interp", "interp_param { zoom_factor: 2 }", (1, 2, 3, 4))
    assert interp.top_shapes([(2, 2, 5, 2)]) == [(2, 2, 9, 3)]
    upsample = made_layer("Upsample", "", (1, 2, 3, 4), (1, 2, 3, 4))
    assert upsample.top_shapes([(1, 2, 5, 1)] * 2) == [(1, 2, 10, 2)]
    roi = made_layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 3 }",
                     (1, 2, 3, 4), (1, 5))  # fmt: skip
    assert roi.top_shapes([(2, 2, 9, 9), (7, 5)]) == [(7, 2, 2, 3)]
    found = roi.forward([torch.zeros(2, 2, 9, 9), torch.zeros(0, 5)], [])[0]
    assert found.shape == (0, 2, 2, 3)
    for type_, settings in (
        ("Normalize", "norm_param { channel_shared: false }"),
        ("BN", ""),
        ("Permute", ""),
    ):
        layer = made_layer(type_, settings, (1, 2, 3))
        assert layer.top_shapes([(4, 2, 7)]) == [(4, 2, 7)]
        with pytest.raises(LayerError, match=r"'it'.*\[1, 3\]"):
            layer.top_shapes([(1, 3)])


@pytest.mark.parametrize("item", [2, -1])
def test_a_region_of_an_item_that_is_not_there(item):
    layer = made_layer("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
                       (2, 1, 3, 3), (2, 5))  # fmt: skip
    regions = torch.tensor([[1, 0, 0, 1, 1], [item, 0, 0, 1, 1]], dtype=torch.float32)
    with pytest.raises(LayerError, match=f"'it' .*of item {item}, but there are 2 items"):
        layer.forward([torch.zeros(2, 1, 3, 3), regions], [])


@pytest.mark.parametrize("index", [16, -1])
def test_a_mask_that_points_outside_of_the_top(index):
    layer = made_layer("Upsample", "", (1, 1, 2, 2), (1, 1, 2, 2))
    mask = torch.tensor([[[[0.0, 1], [2, index]]]])
    with pytest.raises(LayerError, match=rf"'it' .*index {index}, but a top of 4 by 4 has 16"):
        layer.forward([torch.zeros(1, 1, 2, 2), mask], [])


def test_of_values_for_one_place_the_last_stays_and_all_get_its_gradient():
    layer = made_layer("Upsample", "", (1, 1, 1, 3), (1, 1, 1, 3))
    values = torch.tensor([[[[5.0, 6, 7]]]], requires_grad=True)
    (top,) = layer.forward([values, torch.tensor([[[[4.0, 3, 4]]]])], [])
    assert top.detach().flatten().tolist() == [0, 0, 0, 6, 7, 0, 0, 0, 0, 0, 0, 0]
    (top * torch.arange(12.0).view(1, 1, 2, 6)).sum().backward()
    assert values.grad.flatten().tolist() == [4, 3, 4]


def test_the_first_of_equal_maxima_of_a_bin_takes_its_gradient():
    bottom = torch.zeros(1, 1, 4, 4, requires_grad=True)
    layer = made_layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 1 }",
                       (1, 1, 4, 4), (1, 5))  # fmt: skip
    # three rows in two bins: the one in the middle is in both
    (top,) = layer.forward([bottom, torch.tensor([[0.0, 1, 1, 2, 3]])], [])
    top.sum().backward()
    expected = torch.zeros(4, 4)
    expected[1, 1] = expected[2, 1] = 1
    torch.testing.assert_close(bottom.grad[0, 0], expected)


def test_an_infinite_maximum_of_a_bin_is_one():
    layer = made_layer("ROIPooling", "roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
                       (1, 1, 2, 2), (1, 5))  # fmt: skip
    bottom = torch.tensor([[[[torch.nan, 1], [torch.inf, 2]]]])
    assert layer.forward([bottom, torch.tensor([[0.0, 0, 0, 1, 1]])], [])[0].item() == torch.inf


def test_dropout_without_scale_in_training_is_scaled_at_test():
    settings = "dropout_param { dropout_ratio: 0.75 scale_train: false }"
    context.seed(3)
    bottom = torch.ones(100, 200)
    (top,) = made_layer("Dropout", settings, (100, 200)).forward([bottom], [])
    assert set(top.unique().tolist()) == {0.0, 1.0}
    # 20000 draws: five standard deviations are 0.0153
    assert abs(float(top.mean()) - 0.25) < 0.0153


# -- training -----------------------------------------------------------------------------

FILLED = 'weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 }'
CLASSIFIER = (
    inputs(x=(6, 4, 6, 6), label=(6,))
    + f"""
layer {{ name: "dw" type: "ConvolutionDepthwise" bottom: "x" top: "dw"
  convolution_param {{ kernel_size: 3 pad: 1 bias_term: false {FILLED} }} }}
layer {{ name: "dw/bn" type: "BN" bottom: "dw" top: "dw" bn_param {{
  slope_filler {{ type: "constant" value: 1 }} bias_filler {{ type: "constant" }} }} }}
layer {{ name: "dw/relu" type: "ReLU6" bottom: "dw" top: "dw" }}
layer {{ name: "shuffle" type: "ShuffleChannel" bottom: "dw" top: "shuffle"
  shuffle_channel_param {{ group: 2 }} }}
layer {{ name: "dw2" type: "DepthwiseConvolution" bottom: "shuffle" top: "dw2"
  convolution_param {{ num_output: 4 group: 4 kernel_size: 3 pad: 1 {FILLED} }} }}
layer {{ name: "pool" type: "Pooling" bottom: "dw2" top: "pool"
  pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "squeeze" type: "Convolution" bottom: "pool" top: "squeeze"
  convolution_param {{ num_output: 4 kernel_size: 1 {FILLED} }} }}
layer {{ name: "axpy" type: "Axpy" bottom: "squeeze" bottom: "dw2" bottom: "x" top: "axpy" }}
layer {{ name: "permute" type: "Permute" bottom: "axpy" top: "permute"
  permute_param {{ order: [0, 2, 3, 1] }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "permute" top: "fc"
  inner_product_param {{ num_output: 3 {FILLED} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""
)
SEGMENTER = (
    inputs(x=(2, 3, 6, 6), label=(2, 1, 9, 9))
    + f"""
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 bias_term: false {FILLED} }} }}
layer {{ name: "bn" type: "BN" bottom: "conv" top: "conv" bn_param {{
  scale_filler {{ type: "constant" value: 1 }} shift_filler {{ type: "constant" }} }} }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" top: "mask"
  pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "deep" type: "Convolution" bottom: "pool" top: "deep"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLED} }} }}
layer {{ name: "up" type: "Upsample" bottom: "deep" bottom: "mask" top: "up"
  upsample_param {{ scale: 2 }} }}
layer {{ name: "score" type: "Convolution" bottom: "up" top: "score"
  convolution_param {{ num_output: 2 kernel_size: 3 pad: 1 {FILLED} }} }}
layer {{ name: "wide" type: "Upsample" bottom: "score" top: "wide"
  upsample_param {{ scale: 2 }} }}
layer {{ name: "interp" type: "Interp" bottom: "wide" top: "interp"
  interp_param {{ height: 9 width: 9 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "interp" bottom: "label" top: "loss" }}
"""
)
DETECTOR = (
    inputs(x=(2, 3, 8, 8), rois=(4, 5), boxes=(4, 8), inside=(4, 8), outside=(4, 8))
    + f"""
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLED} }} }}
layer {{ name: "norm" type: "Normalize" bottom: "conv" top: "norm" norm_param {{
  across_spatial: false channel_shared: false scale_filler {{ type: "constant" value: 3 }} }} }}
layer {{ name: "roi" type: "ROIPooling" bottom: "norm" bottom: "rois" top: "roi"
  roi_pooling_param {{ pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "roi" top: "fc"
  inner_product_param {{ num_output: 8 {FILLED} }} }}
layer {{ name: "loss" type: "SmoothL1Loss" bottom: "fc" bottom: "boxes" bottom: "inside"
  bottom: "outside" top: "loss" }}
"""
)
GIVEN = {
    "CLASSIFIER": {"x": normal(6, 4, 6, 6), "label": np.arange(6) % 3},
    "SEGMENTER": {"x": apart(2, 3, 6, 6) / 20, "label": normal(2, 1, 9, 9, seed=1) > 0},
    "DETECTOR": {
        "x": normal(2, 3, 8, 8),
        "rois": [[0, 0, 0, 9, 9], [0, 4, 2, 15, 13], [1, 3, 3, 8, 15], [1, 0, 7, 6, 9]],
        "boxes": normal(4, 8, seed=1),
        "inside": 1,
        "outside": 1,
    },
}
NETS = {"CLASSIFIER": CLASSIFIER, "SEGMENTER": SEGMENTER, "DETECTOR": DETECTOR}


def solver_of(name: str) -> Solver:
    context.seed(5)
    settings = 'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9'
    solver = make_solver(
        text_format.Parse(f"{settings} net_param {{ {NETS[name]} }}", caffe_pb2.SolverParameter())
    )
    for blob, values in GIVEN[name].items():
        solver.net.blobs[blob].data[...] = values
    return solver


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_the_forks_layers_learns_and_its_weights_come_back(name, tmp_path):
    solver = solver_of(name)
    net = solver.net
    before = [blob.data.copy() for blob in net.learnable]
    solver.step(1)
    first = net.loss()
    solver.step(40)
    assert net.loss() < 0.85 * first
    for place, blob, values in zip(net.param_places, net.learnable, before, strict=True):
        assert (blob.data != values).any(), place

    save_weights(net, tmp_path / "it.caffemodel")
    again = build(NETS[name])
    load_weights(again, tmp_path / "it.caffemodel")
    for layer, blobs in net.params.items():
        for blob, other in zip(blobs, again.params[layer], strict=True):
            np.testing.assert_array_equal(other.data, blob.data)
    for blob, values in GIVEN[name].items():
        again.blobs[blob].data[...] = values
    run(again)
    run(net)
    assert again.loss() == net.loss()


@pytest.mark.parametrize("name", NETS)
def test_training_without_looking_is_the_same_as_step_by_step(name):
    unseen, seen = solver_of(name), solver_of(name)
    unseen.step(6)
    for _ in range(6):
        seen.step(1)
    for blob, other in zip(unseen.net.learnable, seen.net.learnable, strict=True):
        np.testing.assert_allclose(blob.data, other.data, rtol=0, atol=1e-5)
