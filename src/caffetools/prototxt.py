"""Reading and writing prototxt files, and questions to the graph of a net.

The messages come from ``caffe.proto.caffe_pb2`` of whichever Caffe is installed. No
function here changes the message that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools import files
from caffetools.cli import ToolError
from caffetools.suggest import did_you_mean
from caffetools.upgrade import upgraded

TRAIN: int = caffe_pb2.TRAIN
TEST: int = caffe_pb2.TEST
PHASES: dict[int, str] = {TRAIN: "TRAIN", TEST: "TEST"}


# --- reading and writing --------------------------------------------------------------


def read_net(path: Path) -> Any:
    """The NetParameter in ``path``; one with ``layers { }``, an older form, is upgraded."""
    net = _read(path, caffe_pb2.NetParameter())
    return text_format.Parse(upgraded(path), caffe_pb2.NetParameter()) if net.layers else net


def read_solver(path: Path) -> Any:
    """The SolverParameter in ``path``."""
    return _read(path, caffe_pb2.SolverParameter())


def to_text(message: Any) -> str:
    """The message as prototxt: fields by number, floats in their shortest exact form."""
    return str(text_format.MessageToString(message, as_utf8=True))


def write(path: Path, message: Any) -> None:
    """Write the message as prototxt, whole or not at all."""
    files.write_text(path, to_text(message))


def copy_net(net: Any) -> Any:
    """A NetParameter equal to ``net``, to be changed in its place."""
    copy = caffe_pb2.NetParameter()
    copy.CopyFrom(net)
    return copy


def _read(path: Path, message: Any) -> Any:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ToolError(
            f"{path}:{line}: byte {error.object[error.start]:#04x} is not UTF-8; expected a "
            "prototxt in text form: save it as UTF-8, or give the .prototxt if this is a "
            ".caffemodel"
        ) from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        place = ":".join(str(part) for part in (path, error.GetLine(), error.GetColumn()) if part)
        raise ToolError(f"{place}: {_reason(str(error))}") from error


def _reason(complaint: str) -> str:
    """Protobuf's complaint without its place and the quoted line, and with a suggestion."""
    # Both parts in front are optional: "12:3 : 'the line': what is wrong".
    said = re.sub(r"^\d+:\d+ : ", "", complaint)
    said = re.sub(r"^'.*': ", "", said, flags=re.DOTALL)
    field = re.search(r'Message type "caffe\.(\w+)" has no field named "(\w+)"', said)
    if field:
        message, name = field.groups()
        known = caffe_pb2.DESCRIPTOR.message_types_by_name[message].fields_by_name
        return f"{message} has no field {name!r}{did_you_mean(name, known)}"
    value = re.search(r'Enum type "caffe\.([\w.]+)" has no value named (\w+)', said)
    if value:
        enum, name = value.groups()
        known = _enum(enum).values_by_name
        return f"{enum} has no value {name}: expected one of {', '.join(known)}"
    return said


def _enum(name: str) -> Any:
    """The descriptor of an enum, named as in ``PoolingParameter.PoolMethod`` or ``Phase``."""
    message, _, inner = name.rpartition(".")
    if not message:
        return caffe_pb2.DESCRIPTOR.enum_types_by_name[inner]
    return caffe_pb2.DESCRIPTOR.message_types_by_name[message].enum_types_by_name[inner]


# --- phases ---------------------------------------------------------------------------


def in_phase(layer: Any, phase: int, stages: Sequence[str] = (), level: int = 0) -> bool:
    """Whether a net in that state has the layer, by Caffe's include and exclude rules.

    With include rules, one of them must be met; without, no exclude rule may be met. A
    rule is met when all that it names agrees.
    """
    if layer.include and layer.exclude:
        raise ToolError(
            f"layer {layer.name!r} has include and exclude rules; Caffe takes one kind only"
        )

    def met(rule: Any) -> bool:
        return (
            (not rule.HasField("phase") or rule.phase == phase)
            and (not rule.HasField("min_level") or level >= rule.min_level)
            and (not rule.HasField("max_level") or level <= rule.max_level)
            and all(stage in stages for stage in rule.stage)
            and not any(stage in stages for stage in rule.not_stage)
        )

    if layer.include:
        return any(met(rule) for rule in layer.include)
    return not any(met(rule) for rule in layer.exclude)


def phase_view(net: Any, phase: int, stages: Sequence[str] = (), level: int = 0) -> list[Any]:
    """The layers that the net has in that state, in order."""
    return [layer for layer in net.layer if in_phase(layer, phase, stages, level)]


# --- layers ---------------------------------------------------------------------------


def layers_named(net: Any, name: str) -> list[Any]:
    """The layers of that name: one, or one a phase. Raises ToolError where there is none."""
    found = [layer for layer in net.layer if layer.name == name]
    if not found:
        names = list(dict.fromkeys(layer.name for layer in net.layer))
        raise ToolError(
            f"the net has no layer {name!r}{did_you_mean(name, names)} "
            f"Its layers: {', '.join(names)}"
        )
    return found


def _with_bias(layer: Any, parameter: str) -> int:
    return 2 if getattr(layer, parameter).bias_term else 1


def _with_static_input(layer: Any, blobs: int, states: int) -> int:
    """A static input brings a weight of its own; it is the third bottom, before any states."""
    exposed = states if layer.recurrent_param.expose_hidden else 0
    return blobs + 1 if len(layer.bottom) > 2 + exposed else blobs


# How many learnable blobs a layer has by its type and message, as each of Caffe's
# layers allocates them in LayerSetUp; Caffe refuses more `param` entries than that.
_LEARNABLE_BLOBS: dict[str, Callable[[Any], int]] = {
    "BatchNorm": lambda layer: 3,
    "Bias": lambda layer: 1 if len(layer.bottom) == 1 else 0,
    "Convolution": lambda layer: _with_bias(layer, "convolution_param"),
    "Deconvolution": lambda layer: _with_bias(layer, "convolution_param"),
    "Embed": lambda layer: _with_bias(layer, "embed_param"),
    "InnerProduct": lambda layer: _with_bias(layer, "inner_product_param"),
    "LSTM": lambda layer: _with_static_input(layer, blobs=3, states=2),
    "PReLU": lambda layer: 1,
    "Parameter": lambda layer: 1,
    "RNN": lambda layer: _with_static_input(layer, blobs=5, states=1),
    "Scale": lambda layer: (len(layer.bottom) == 1) + layer.scale_param.bias_term,
}


def learnable_blobs(layer: Any) -> int:
    """How many learnable blobs the layer has; of a type unknown here, how many it lists."""
    count = _LEARNABLE_BLOBS.get(layer.type, lambda layer: len(layer.param))
    return int(count(layer))


def is_loss(layer: Any) -> bool:
    """Whether the layer adds to the net's loss, by its ``loss_weight`` or else its type."""
    if layer.loss_weight:
        return any(weight != 0 for weight in layer.loss_weight)
    return bool(layer.type.endswith("Loss"))


# --- blobs ----------------------------------------------------------------------------


def blob_names(net: Any) -> list[str]:
    """All blobs of the net in the order of their first mention."""
    names = list(net.input)
    for layer in net.layer:
        names += [*layer.bottom, *layer.top]
    return list(dict.fromkeys(names))


def producers(layers: Iterable[Any], blob: str) -> list[Any]:
    """The layers with ``blob`` among their tops; those that work in place included."""
    return [layer for layer in layers if blob in layer.top]


def consumers(layers: Iterable[Any], blob: str) -> list[Any]:
    """The layers with ``blob`` among their bottoms; those that work in place included."""
    return [layer for layer in layers if blob in layer.bottom]


def downstream(layers: Sequence[Any], start: int) -> Iterator[Any]:
    """The layers that depend on ``layers[start]``, in order. ``layers`` are of one phase."""
    reached = set(layers[start].top)
    for layer in layers[start + 1 :]:
        if reached.intersection(layer.bottom):
            yield layer
            reached.update(layer.top)


def upstream(layers: Sequence[Any], end: int) -> list[Any]:
    """The layers that ``layers[end]`` depends on, in order. ``layers`` are of one phase."""
    needed = set(layers[end].bottom)
    found = []
    for layer in reversed(layers[:end]):
        if needed.intersection(layer.top):
            found.append(layer)
            needed.update(layer.bottom)
    return found[::-1]


def main_loss(layers: Sequence[Any]) -> Optional[int]:
    """The place of the SoftmaxWithLoss that judges the answer, None where there is none.

    Of several (as of GoogLeNet, with its two side classifiers) it has the greatest
    loss_weight; of equal ones it is the last.
    """

    def weight(place: int) -> float:
        weights = layers[place].loss_weight
        return float(weights[0]) if weights else 1.0

    places = [place for place, layer in enumerate(layers) if layer.type == "SoftmaxWithLoss"]
    return max(reversed(places), key=weight, default=None)


def scores_and_labels(layers: Sequence[Any]) -> tuple[str, str]:
    """The blobs of the scores and labels that a TEST net is judged by.

    They are the bottoms of its main loss or, where it has none, of its first Accuracy
    layer.
    """
    place = main_loss(layers)
    judges = [layer for layer in layers if layer.type == "Accuracy"]
    judge = layers[place] if place is not None else judges[0] if judges else None
    if judge is None:
        raise ToolError(
            "expected a SoftmaxWithLoss or Accuracy layer in the TEST phase to tell scores and "
            f"labels by, found none among {', '.join(layer.name for layer in layers)}"
        )
    scores, labels = judge.bottom[:2]
    return scores, labels


# --- heads ----------------------------------------------------------------------------

# Layer types whose number of outputs can be the number of classes, with the field of
# the layer that holds their parameters.
HEAD_PARAMETERS: dict[str, str] = {
    "Convolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}


def why_not_head(net: Any, name: str) -> Optional[str]:
    """The reason why the layer cannot be a head, or None if it is one.

    A head is an InnerProduct or Convolution layer that leads to the loss, in the TRAIN
    phase, without another learnable layer on the way.
    """
    named = [layer for layer in net.layer if layer.name == name]
    if not named:
        return "the net has no such layer"
    for layer in named:
        if layer.type not in HEAD_PARAMETERS:
            return f"it is of type {layer.type}, expected {' or '.join(HEAD_PARAMETERS)}"
    layers = phase_view(net, TRAIN)
    places = [place for place, layer in enumerate(layers) if layer.name == name]
    if not places:
        return "it has no part in the TRAIN phase"
    after = list(downstream(layers, places[0]))
    learnable = [follower.name for follower in after if learnable_blobs(follower)]
    if learnable:
        return f"layers that learn depend on it: {', '.join(learnable)}"
    if not any(is_loss(follower) for follower in after):
        return "it leads to no loss"
    return None


def heads(net: Any) -> list[str]:
    """The names of the layers that :func:`why_not_head` has nothing against."""
    names = dict.fromkeys(layer.name for layer in phase_view(net, TRAIN))
    return [name for name in names if why_not_head(net, name) is None]
