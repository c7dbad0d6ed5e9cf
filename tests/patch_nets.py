"""A small net for the tests of patching, and questions to a net."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools import prototxt

NET = """
name: "n"
layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "old" batch_size: 8 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        param { lr_mult: 1 decay_mult: 3 }
        inner_product_param { num_output: 5 } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy"
        include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def net_of(text: str = NET) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def layer_named(net: Any, name: str) -> Any:
    (layer,) = prototxt.layers_named(net, name)
    return layer


def multipliers(net: Any, name: str) -> list[tuple[float, float]]:
    return [(spec.lr_mult, spec.decay_mult) for spec in layer_named(net, name).param]
