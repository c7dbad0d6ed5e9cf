"""Nets as they are deployed, with weights drawn for them, for tests of other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recipes import read_model

import caffe
from caffe import layers as L
from caffe import params as P
from caffetools.pretrained import nets

INPUT_SIZES = {"lenet": (1, 28, 28), "caffenet": (3, 227, 227)}


def _deployed(net: Any, shape: tuple[int, ...], last: str) -> Any:
    """``net`` with Input for its data layers, up to ``last``, and a Softmax after that."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": list(shape)}])
    deployed = n.to_proto()
    deployed.name = net.name
    deployed.layer.extend(
        layer for layer in net.layer if layer.bottom and "label" not in layer.bottom
    )
    deployed.layer.add(name="prob", type="Softmax", bottom=[last], top=["prob"])
    return deployed


def published(name: str) -> Any:
    """LeNet or CaffeNet of config/models."""
    return _deployed(
        read_model(name)[0], (2, *INPUT_SIZES[name]), {"lenet": "ip2"}.get(name, "fc8")
    )


def residual() -> Any:
    """A small net with BatchNorm and Scale, in place and not, and a shortcut."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [2, 3, 24, 20]}])
    n.conv1 = L.Convolution(n.data, num_output=8, kernel_size=3, pad=1, bias_term=False)
    n.bn1 = L.BatchNorm(n.conv1)
    n.scale1 = L.Scale(n.bn1, bias_term=True)
    n.relu1 = L.ReLU(n.scale1, in_place=True)
    n.conv2 = L.Convolution(n.relu1, num_output=8, kernel_size=3, pad=1, bias_term=False)
    bn2 = n["bn2"] = L.BatchNorm(n.conv2, in_place=True, eps=1e-3)
    scale2 = n["scale2"] = L.Scale(bn2, bias_term=True, in_place=True)
    n.sum = L.Eltwise(n.relu1, scale2)
    n.relu2 = L.ReLU(n.sum, in_place=True)
    n.pool = L.Pooling(n.relu2, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(n.pool, num_output=5)
    n.prob = L.Softmax(n.fc)
    return n.to_proto()


def fully_convolutional() -> Any:
    """Scores for every pixel: two resolutions, brought up by Deconvolution, cropped, added."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=[{"dim": [1, 3, 33, 41]}])
    n.conv1 = L.Convolution(n.data, num_output=8, kernel_size=3, pad=4)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.conv2 = L.Convolution(n.pool1, num_output=12, kernel_size=3, pad=1)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.conv3 = L.Convolution(n.pool2, num_output=16, kernel_size=3, pad=2, dilation=2)
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.score = L.Convolution(n.relu3, num_output=5, kernel_size=1)
    n.upscore = L.Deconvolution(
        n.score,
        convolution_param={"num_output": 5, "kernel_size": 4, "stride": 2, "bias_term": False},
    )
    n.score2 = L.Convolution(n.pool1, num_output=5, kernel_size=1, pad=2)
    n.score2c = L.Crop(n.score2, n.upscore, axis=2, offset=[1, 1])
    n.fuse = L.Eltwise(n.upscore, n.score2c)
    n.up = L.Deconvolution(
        n.fuse,
        convolution_param={
            "num_output": 5,
            "kernel_size": 4,
            "stride": 2,
            "group": 5,
            "bias_term": False,
        },
    )
    n.upc = L.Crop(n.up, n.data, axis=2, offset=[4, 4])
    n.prob = L.Softmax(n.upc)
    return n.to_proto()


NETS = {
    "lenet": lambda: published("lenet"),
    "caffenet": lambda: published("caffenet"),
    "residual": residual,
    "fully_convolutional": fully_convolutional,
    "resnet50": lambda: nets.deploy("resnet50"),
    "googlenet": lambda: nets.deploy("googlenet"),
}
BIG = {"caffenet", "resnet50", "googlenet"}
# By what weights are multiplied, by the ends of their layers' names: ResNet's branches are small
# beside their shortcuts, as trained ones are, so that errors of float32 do not grow from block to
# block, and its scores tell classes apart.
_GAINS = {"branch2c": 1 / 8, "fc1000": 3}


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """``deploy.prototxt`` and ``drawn.caffemodel`` of the net, with weights that tell."""
    deploy, weights = folder / "deploy.prototxt", folder / "drawn.caffemodel"
    deploy.write_text(str(NETS[name]()))
    net = caffe.Net(str(deploy), caffe.TEST)
    types = dict(zip(net._layer_names, [layer.type for layer in net.layers], strict=True))
    random = np.random.default_rng(18)
    for layer, blobs in net.params.items():
        if types[layer] == "BatchNorm":
            continue
        for blob in blobs:
            drawn = random.standard_normal(blob.data.shape, np.float32)
            fan_in = blob.data[0].size if blob.data.ndim > 1 else 0
            blob.data[...] = drawn * (np.sqrt(1.8 / fan_in) if fan_in else 0.1)
        if types[layer] == "Scale":
            blobs[0].data[...] += 1
        blobs[0].data[...] *= next((_GAINS[end] for end in _GAINS if layer.endswith(end)), 1)
    if "BatchNorm" in types.values():
        _draw_statistics(net, types, random)
    net.save(str(weights))
    return deploy, weights


def _draw_statistics(net: Any, types: dict[str, str], random: np.random.Generator) -> None:
    """Near those of noise, layer by layer: with others a deep net's answer is the same for all."""
    (data,) = net.inputs
    net.blobs[data].data[...] = random.standard_normal(net.blobs[data].data.shape)
    for layer in net._layer_names:
        if types[layer] == "BatchNorm":
            values = net.blobs[net.bottom_names[layer][0]].data
            places = (0, *range(2, values.ndim))
            mean, variance, count = net.params[layer]  # sums of the former, and of how many
            jitter = 1 + 0.3 * random.random(values.shape[1])
            mean.data[...] = 4 * values.mean(places) * jitter
            variance.data[...] = 4 * values.var(places) * jitter[::-1]
            count.data[...] = 4
        net.forward(start=layer, end=layer)
