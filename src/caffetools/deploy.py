"""The net that answers, made from the net that learns.

A deploy net holds what the class scores depend on in the TEST phase and nothing else: an
Input layer in place of the data layer, and a Softmax with the blob ``prob`` in place of
the loss. Layers keep their names, so that trained weights find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN, main_loss, phase_view

OUTPUT = "prob"

# They have no bottoms and yet belong to the net itself.
_NO_DATA_LAYERS = ("DummyData", "Parameter")

# Fields of a layer that say how it learns and when it takes part.
_ONLY_FOR_TRAINING = ("phase", "include", "exclude", "loss_weight", "propagate_down")


def to_deploy(net: Any, input_shape: Sequence[int]) -> Any:
    """The deploy net of a train_val net, for one image at a time.

    Its input is the first top of the TEST phase's data layer, of shape (1, C, H, W) with
    ``input_shape`` = (C, H, W); where that data layer crops, H and W are its crop_size.
    Its one output is ``prob``, of shape (1, classes). Raises ToolError where the TEST
    phase does not compute scores from one data layer's images alone.
    """
    layers, loss = _scored_by_main_loss(net)
    kept = _needed_for(loss.bottom[0], layers)
    source = _data_layer(kept)
    deploy = caffe_pb2.NetParameter(name=net.name)
    deploy.layer.add().CopyFrom(_input(source, input_shape))
    for layer in kept:
        if layer is not source:
            deploy.layer.add().CopyFrom(without_training(layer))
    deploy.layer.add().CopyFrom(_softmax(loss, kept))
    return deploy


def _scored_by_main_loss(net: Any) -> tuple[list[Any], Any]:
    """The TEST phase's layers that come before the main loss, and that loss.

    A loss of the TRAIN phase counts where TEST has none.
    """
    layers = phase_view(net, TEST)
    place = main_loss(layers)
    if place is not None:
        return layers[:place], layers[place]
    in_training = phase_view(net, TRAIN)
    place = main_loss(in_training)
    if place is None:
        raise ToolError(
            f"net {net.name!r} has no SoftmaxWithLoss layer, so nothing tells which blob "
            "holds the class scores; expected one in the TEST or the TRAIN phase"
        )
    return layers, in_training[place]


def _needed_for(blob: str, layers: Sequence[Any]) -> list[Any]:
    """The layers that ``blob`` depends on, in their order."""
    needed = {blob}
    kept = []
    for layer in reversed(layers):
        if needed.intersection(layer.top):
            kept.append(layer)
            needed.update(layer.bottom)
    if not kept:
        raise ToolError(f"no layer of the TEST phase has the top {blob!r}, which the loss reads")
    return kept[::-1]


def _data_layer(layers: Sequence[Any]) -> Any:
    sources = [layer for layer in layers if not layer.bottom and layer.type not in _NO_DATA_LAYERS]
    if len(sources) != 1:
        found = ", ".join(repr(layer.name) for layer in sources) or "none"
        raise ToolError(
            f"the scores depend on {len(sources)} data layers of the TEST phase ({found}); "
            "a deploy net is made for one"
        )
    labels = set(sources[0].top[1:])
    readers = [layer.name for layer in layers if labels.intersection(layer.bottom)]
    if readers:
        raise ToolError(
            f"the scores depend on the labels of {sources[0].name!r}, through "
            f"{', '.join(readers)}; a deploy net has no labels"
        )
    return sources[0]


def _input(source: Any, input_shape: Sequence[int]) -> Any:
    channels, height, width = input_shape
    crop = source.transform_param.crop_size
    if crop:
        if crop > min(height, width):
            raise ToolError(
                f"layer {source.name!r} crops to {crop}x{crop}, but the images are "
                f"{height}x{width} (height x width); make them larger or lower crop_size"
            )
        height = width = crop
    layer = caffe_pb2.LayerParameter(name=source.top[0], type="Input", top=[source.top[0]])
    layer.input_param.shape.add(dim=[1, channels, height, width])
    return layer


def without_training(layer: Any) -> Any:
    """The layer without rules, fillers and multipliers; names of shared blobs stay."""
    bare = caffe_pb2.LayerParameter()
    bare.CopyFrom(layer)
    for field in _ONLY_FOR_TRAINING:
        bare.ClearField(field)
    _clear_fillers(bare)
    bare.ClearField("param")
    if any(spec.name for spec in layer.param):
        for spec in layer.param:
            bare.param.add().CopyFrom(spec)
            bare.param[-1].ClearField("lr_mult")
            bare.param[-1].ClearField("decay_mult")
    return bare


def _clear_fillers(message: Any) -> None:
    for field, value in message.ListFields():
        # DummyData's fillers are repeated: those are its data, and stay.
        if not isinstance(value, Message):
            continue
        if field.message_type.name == "FillerParameter":
            message.ClearField(field.name)
        else:
            _clear_fillers(value)


def _softmax(loss: Any, kept: Sequence[Any]) -> Any:
    taken = [layer.name for layer in kept if layer.name == OUTPUT or OUTPUT in layer.top]
    if taken:
        raise ToolError(
            f"layer {taken[0]!r} uses the name {OUTPUT!r}, which the deploy net's output "
            "has; rename it"
        )
    layer = caffe_pb2.LayerParameter(
        name=OUTPUT, type="Softmax", bottom=[loss.bottom[0]], top=[OUTPUT]
    )
    if loss.HasField("softmax_param"):
        layer.softmax_param.CopyFrom(loss.softmax_param)
    return layer
