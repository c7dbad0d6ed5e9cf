"""What each layer says to a prototxt that does not make sense."""

from __future__ import annotations

import pytest
import torch
from layer_cases import TRAIN, labels, made_layer

from caffe.proto import caffe_pb2
from recaffe.errors import LayerError, NetError, UnknownLayerError
from recaffe.layers import Layer, layer_types, make_layer, register

IMAGE = (2, 3, 5, 5)
CONV = "convolution_param {{ num_output: 4 {} }}".format
POOL = "pooling_param {{ {} }}".format
MISTAKES = [
    # type, settings, bottom shapes, tops, what the message says
    ("Convolution", CONV(""), [IMAGE], 1, "kernel_size is missing"),
    ("Convolution", CONV("kernel_size: 0"), [IMAGE], 1, "kernel must be at least 1"),
    ("Convolution", CONV("kernel_size: 3 stride: 0"), [IMAGE], 1, "stride must be at least 1"),
    ("Convolution", CONV("kernel_size: 6"), [IMAGE], 1, r"\[6, 6\] does not fit .*\[2, 3, 5, 5\]"),
    ("Convolution", CONV("kernel_size: 3 dilation: 3"), [IMAGE], 1, "does not fit"),
    ("Convolution", CONV("kernel_size: 3 group: 2"), [IMAGE], 1, "group 2 .* 3 input channels"),
    ("Convolution", CONV("kernel_size: 3 group: 3"), [IMAGE], 1, "group 3 .* num_output 4"),
    ("Convolution", CONV("kernel_size: 3 axis: 2"), [IMAGE], 1, "channels must be axis 1"),
    ("Convolution", CONV("kernel_size: 3 axis: 4"), [IMAGE], 1, "axis 4 is not in"),
    ("Convolution", CONV("kernel_size: 3 kernel_h: 3"), [IMAGE], 1, "not both"),
    ("Convolution", CONV("kernel_h: 3"), [IMAGE], 1, r"at least 1, found \[3, 0\]"),
    ("Convolution", CONV("kernel_h: 3 kernel_w: 3"), [(2, 3, 5)], 1, "two spatial axes, found 1"),
    ("Convolution", CONV("kernel_size: [1, 2, 3]"), [IMAGE], 1, "3 times for 2 spatial axes"),
    ("Convolution", CONV("kernel_size: 1"), [(2, 3)], 1, "1 to 3 spatial axes"),
    ("Convolution", CONV("kernel_size: 1"), [(1, 3, 2, 2, 2, 2)], 1, "1 to 3 spatial axes"),
    ("Convolution", "convolution_param { kernel_size: 1 }", [IMAGE], 1, "num_output must be"),
    ("Convolution", CONV("kernel_size: 1"), [], 1, "bottom blob.s., found 0"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE], 2, "1 bottom.*2 top"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE, IMAGE], 1, "2 bottom.*1 top"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE, (2, 4, 5, 5)], 2, "need .* 3 channels"),
    ("Convolution", CONV('kernel_size: 1 weight_filler { type: "xaver" }'), [IMAGE], 1,
     "unknown filler type 'xaver'; known: .*xavier"),
    ("Pooling", POOL(""), [IMAGE], 1, "kernel_size is missing"),
    ("Pooling", POOL("kernel_size: 2 stride: 0"), [IMAGE], 1, "stride must be at least 1"),
    ("Pooling", POOL("kernel_size: 2 pad: 2"), [IMAGE], 1, "pad .* smaller than the kernel"),
    ("Pooling", POOL("kernel_size: 7"), [IMAGE], 1, r"\[7, 7\] is larger .*\[2, 3, 5, 5\]"),
    ("Pooling", POOL("kernel_size: 2"), [(2, 3, 5)], 1, r"\(N, C, H, W\)"),
    ("Pooling", POOL("kernel_size: 2 pool: AVE"), [IMAGE], 2, "only pool: MAX has a mask"),
    ("Pooling", POOL("kernel_size: 2 pool: STOCHASTIC"), [IMAGE], 1, "stochastic"),
    ("Pooling", POOL("kernel_size: 2 global_pooling: true"), [IMAGE], 1, "give no kernel_size"),
    ("Pooling", POOL("global_pooling: true stride: 2"), [IMAGE], 1, "stride 1 and pad 0"),
    ("Pooling", POOL("kernel_size: 2"), [IMAGE], 3, "1 to 2 top blob.s., found 3"),
    ("LRN", "lrn_param { local_size: 4 }", [IMAGE], 1, "must be odd, found 4"),
    ("LRN", "", [(2, 3)], 1, r"\(N, C, H, W\), found \[2, 3\]"),
    ("InnerProduct", "", [(2, 3)], 1, "num_output must be"),
    ("InnerProduct", "inner_product_param { num_output: 1 axis: 2 }", [(2, 3)], 1,
     r"axis 2 is not in a bottom of shape \[2, 3\]"),
    ("InnerProduct", "inner_product_param { num_output: 1 }", [(2, 3), (2, 3)], 1,
     "expected 1 bottom blob.s., found 2"),
    ("Softmax", "softmax_param { axis: -3 }", [(2, 3)], 1, "axis -3 is not in"),
    ("Softmax", "", [(2, 3)], 0, "expected 1 top blob.s., found 0"),
    ("SoftmaxWithLoss", "", [(2, 3)], 1, "expected 2 bottom blob.s., found 1"),
    ("SoftmaxWithLoss", "", [(2, 3), (3,)], 1, r"need 2 labels, found 3 \(\[3\]\)"),
    ("SoftmaxWithLoss", "softmax_param { axis: 2 }", [(2, 3), (2,)], 1, "axis 2 is not in"),
    ("Accuracy", "accuracy_param { top_k: 5 }", [(2, 3), (2,)], 1, "top_k is 5, .* 3 classes"),
    ("Accuracy", "", [(2, 3, 2), (2,)], 1, "need 4 labels, found 2"),
    ("Dropout", "dropout_param { dropout_ratio: 1 }", [(2, 3)], 1, "below 1, found 1"),
    ("Input", "", [], 1, "expected one shape"),
    ("Input", "input_param { shape { dim: 1 } shape { dim: 1 } }", [], 3, "the 3 tops, found 2"),
    ("Data", 'data_param { source: "x" batch_size: 1 }', [], 1, "LEVELDB .*backend: LMDB"),
    ("Data", 'data_param { source: "x" backend: LMDB }', [], 1, "batch_size must be at least 1"),
    ("Data", "", [(1,)], 1, "expected 0 bottom blob.s., found 1"),
    ("Split", "", [(1,)], 0, "top blob.s., found 0"),
    ("ReLU", "", [(1,)], 2, "expected 1 top blob.s., found 2"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "settings", "shapes", "tops", "says"), MISTAKES)
def test_mistakes_name_the_layer_and_what_is_wrong(type_, settings, shapes, tops, says):
    with pytest.raises(LayerError, match=rf"^layer 'it' \({type_}\): .*{says}"):
        made_layer(type_, settings, *shapes, tops=tops)


@pytest.mark.parametrize("type_", ["SoftmaxWithLoss", "Accuracy"])
@pytest.mark.parametrize("label", [3, -1])
def test_labels_out_of_range_are_told_where_they_should_start(type_, label):
    layer = made_layer(type_, "", (2, 3), (2,))
    bottoms = [torch.zeros(2, 3), torch.from_numpy(labels(0, label))]
    with pytest.raises(LayerError, match=rf"'it' .*label {label} .*0 to 2; do yours start at 1"):
        layer.forward(bottoms, [])


def test_weights_that_do_not_fit_a_reshaped_bottom():
    inner = made_layer("InnerProduct", "inner_product_param { num_output: 2 }", (2, 3))
    with pytest.raises(LayerError, match=r"weights are for 3 inputs.*\[2, 4\] gives 4"):
        inner.top_shapes([(2, 4)])
    assert inner.top_shapes([(7, 3)]) == [(7, 2)]


def test_unknown_types_list_the_known_ones():
    message = caffe_pb2.LayerParameter(name="it", type="Convolutoin")
    with pytest.raises(UnknownLayerError, match=r"'it': unknown layer type 'Convolutoin'") as told:
        make_layer(message, TRAIN)
    assert ", ".join(layer_types()) in str(told.value)
    assert isinstance(told.value, NetError)


def test_a_type_is_registered_once():
    with pytest.raises(ValueError, match="two layers are registered as 'ReLU'"):
        register("ReLU")(type("Again", (Layer,), {}))
    assert type(made_layer("ReLU", "", (1,))).__name__ == "ReLU"
