"""Giving a published detection net another number of classes."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.prototxt import copy_net

# py-faster-rcnn's layers that cannot do without the number.
_TOLD = ("RoIDataLayer", "ProposalTargetLayer")
_MOST = 100_000
_NUMBER = re.compile(r"(\bnum_classes['\"]?\s*:\s*)\d+")


def set_classes(net: Any, classes: int) -> Any:
    """The net for ``classes``, the background's included, of a prototxt as py-faster-rcnn has.

    The two heads are told by what reads them: that of the boxes, of 4 K outputs, goes to a
    SmoothL1Loss or, in a test net, is an output of the net; that of the scores, of K, goes to
    a SoftmaxWithLoss or a Softmax. Names do not matter. Python layers are told the number as well,
    where their ``param_str`` has ``num_classes``. Raises ToolError where there are no such heads,
    or a Python layer that needs the number is not told any.
    """
    check_classes(classes)
    scores, boxes = heads(net)
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in (scores.name, boxes.name):
            outputs = classes if layer.name == scores.name else 4 * classes
            layer.inner_product_param.num_output = outputs
        elif layer.type == "Python":
            _tell(layer, classes)
    return patched


def check_classes(classes: int) -> None:
    """Refuse a number of classes with which there is nothing to tell from the background."""
    if not 2 <= classes <= _MOST:
        raise ToolError(
            f"a detection net for {classes} classes; expected 2 to {_MOST}, since the background "
            "is one of them: 21 for PASCAL VOC's 20"
        )


def heads(net: Any) -> tuple[Any, Any]:
    """The layers of the classes' scores and of their boxes."""
    candidates = [layer for layer in net.layer if layer.type == "InnerProduct" and layer.top]
    scores = [layer for layer in candidates if _reads(net, layer, ("SoftmaxWithLoss", "Softmax"))]
    boxes = [
        layer
        for layer in candidates
        if _reads(net, layer, ("SmoothL1Loss",)) or not prototxt.consumers(net.layer, layer.top[0])
    ]
    pairs = [(a, b) for a in scores for b in boxes if 4 * _outputs(a) == _outputs(b)]
    if len(pairs) != 1:
        shown = ", ".join(f"{layer.name!r} ({_outputs(layer)} outputs)" for layer in candidates)
        raise ToolError(
            f"net {net.name!r} has {len(pairs) or 'no'} pairs of heads of a detector; expected "
            "one: an InnerProduct of K outputs that a SoftmaxWithLoss or Softmax reads, and one "
            "of 4 K that a SmoothL1Loss reads or that is an output of the net. Its InnerProduct "
            f"layers: {shown or 'none'}"
        )
    return pairs[0]


def _outputs(layer: Any) -> int:
    return int(layer.inner_product_param.num_output)


def _reads(net: Any, layer: Any, types: Collection[str]) -> bool:
    """Whether the first bottom of a layer of one of these types is that layer's top."""
    readers = prototxt.consumers(net.layer, layer.top[0])
    return any(each.type in types and each.bottom[0] == layer.top[0] for each in readers)


def _tell(layer: Any, classes: int) -> None:
    parameter = layer.python_param
    text, found = _NUMBER.subn(rf"\g<1>{classes}", parameter.param_str)
    if not found and parameter.layer in _TOLD:
        raise ToolError(
            f"layer {layer.name!r} ({parameter.layer}): expected \"'num_classes': ...\" in its "
            f"param_str, found {parameter.param_str!r}; write it there"
        )
    if found:
        parameter.param_str = text
