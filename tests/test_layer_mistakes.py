"""What each layer says to a prototxt that does not make sense."""

from __future__ import annotations

import pytest
import torch
from layer_cases import MISTAKES, TRAIN, labels, made_layer

from caffe.proto import caffe_pb2
from recaffe.errors import LayerError, NetError, UnknownLayerError
from recaffe.layers import Layer, layer_types, make_layer, register


@pytest.mark.parametrize(("type_", "settings", "shapes", "tops", "says"), MISTAKES)
def test_mistakes_name_the_layer_and_what_is_wrong(type_, settings, shapes, tops, says):
    with pytest.raises(LayerError, match=rf"^layer 'it' \({type_}\): .*{says}"):
        made_layer(type_, settings, *shapes, tops=tops)


@pytest.mark.parametrize(
    "type_", ["SoftmaxWithLoss", "Accuracy", "HingeLoss", "MultinomialLogisticLoss"]
)
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
