"""The nets and solvers of the published models, written with NetSpec.

Layers and blobs have the names of the published weights, so that these fit. ``data``
layers crop, subtract the mean and scale as the registry says; patching says where the data
lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caffe.net_spec import NetSpec
from caffe.net_spec import layers as L
from caffe.net_spec import params as P
from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.deploy import to_deploy
from caffetools.pretrained.nets import alexnet, googlenet, mobilenet, resnet, squeezenet, vgg
from caffetools.pretrained.registry import Model, find
from caffetools.solver import set_field


@dataclass(frozen=True)
class Written:
    """How a net is written: its published name, what adds the layers, and images a batch.

    Where the authors published no train_val.prototxt the batches are of our choice.
    """

    name: str
    add: Callable[[Any, int], None]
    train_batch: int = 32
    test_batch: int = 25
    mirror: bool = True
    # R-CNN's scores are those of support vector machines, no logarithms of probabilities.
    softmax: bool = True


NETS = {
    "caffenet": Written("CaffeNet", alexnet.caffenet, 256, 50),
    "alexnet": Written("AlexNet", alexnet.alexnet, 256, 50),
    "googlenet": Written("GoogleNet", googlenet.googlenet, 32, 50),
    "rcnn": Written("R-CNN-ilsvrc13", alexnet.rcnn, softmax=False),
    "vgg16": Written("VGG_ILSVRC_16_layers", vgg.vgg16),
    "vgg19": Written("VGG_ILSVRC_19_layers", vgg.vgg19),
    "resnet50": Written("ResNet-50", resnet.resnet50),
    "resnet101": Written("ResNet-101", resnet.resnet101),
    "resnet152": Written("ResNet-152", resnet.resnet152),
    "squeezenet1.1": Written("SqueezeNet-1.1", squeezenet.squeezenet, 32, 25, mirror=False),
    "mobilenet_v1": Written("MOBILENET", mobilenet.mobilenet_v1),
    "mobilenet_v2": Written("MOBILENET_V2", mobilenet.mobilenet_v2),
}


def train_val(name: str) -> Any:
    """The NetParameter that learns and is tested, of the model of that name."""
    model, written = find(name), NETS[name]
    n = NetSpec()
    n.data, n.label = _data(model, written, caffe_pb2.TEST)
    written.add(n, model.classes)
    rest = n.to_proto()
    # A NetSpec holds each name once, and there are two layers named data.
    first = NetSpec()
    first.data, first.label = _data(model, written, caffe_pb2.TRAIN)
    net = first.to_proto()
    net.name = written.name
    net.layer.extend(rest.layer)
    return net


def deploy(name: str) -> Any:
    """The NetParameter that answers, for one image at a time."""
    net = to_deploy(train_val(name), find(name).input)
    if not NETS[name].softmax:
        del net.layer[-1]
    return net


def solver(name: str) -> Any:
    """The SolverParameter that is known of the model, for ``train_val.prototxt`` beside it.

    Raises ToolError where none is known. How often it tests, shows and keeps itself is of
    our choice where only a paper tells of it.
    """
    model = find(name)
    if model.solver is None:
        raise ToolError(
            f"no solver is known by which {model.title} was trained; give one of your own "
            "(model.solver in the configuration)"
        )
    message = caffe_pb2.SolverParameter(net="train_val.prototxt")
    ours = {
        "test_iter": 50_000 // NETS[name].test_batch,
        "test_interval": 1000,
        "display": 20,
        "snapshot": 10_000,
    }
    told = dict(model.solver)
    if "batch_size" in told:
        told["iter_size"] = told.pop("batch_size") // NETS[name].train_batch
    for field, value in {**ours, **told}.items():
        set_field(message, field, value)
    message.snapshot_prefix = name
    message.solver_mode = caffe_pb2.SolverParameter.CPU
    return message


def _data(model: Model, written: Written, phase: int) -> Any:
    training = phase == caffe_pb2.TRAIN
    transform: dict[str, Any] = {"crop_size": model.input[1]}
    if training and written.mirror:
        transform["mirror"] = True
    if model.mean is not None:
        transform["mean_value"] = model.mean
    if model.scale != 1:
        transform["scale"] = model.scale
    return L.Data(
        source="train" if training else "val",
        backend=P.Data.LMDB,
        batch_size=written.train_batch if training else written.test_batch,
        ntop=2,
        include={"phase": phase},
        transform_param=transform,
    )
