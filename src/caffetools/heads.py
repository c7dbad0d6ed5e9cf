"""Giving a net heads of its own: other names, other classes, other learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.params import complete_params, shared_blobs
from caffetools.prototxt import HEAD_PARAMETERS, PHASES, TRAIN, copy_net


def replace_heads(net: Any, new_names: Mapping[str, str], classes: int) -> Any:
    """The net with each head in ``new_names`` replaced, as :func:`replace_head` does.

    A net with auxiliary classifiers has several heads for the same labels; unless they
    have as many outputs already, all of them must be named.
    """
    for head in new_names:
        _require_head(net, head)
    _require_all_heads(net, new_names, classes)
    patched = net
    for head, new_head in new_names.items():
        patched = replace_head(patched, head, new_head, classes)
    return patched


def replace_head(net: Any, head: str, new_head: str, classes: int) -> Any:
    """The net with the layer ``head`` renamed to ``new_head`` and giving ``classes`` scores.

    Under its new name the layer takes no weights from a caffemodel and starts from its
    fillers. A top named like the layer is renamed with it, wherever it is read. A head
    that is to keep its name must keep its number of outputs as well. An Accuracy that looks
    among more best scores than there are now, which Caffe refuses, looks among all.
    """
    _require_head(net, head)
    _refuse_shared_blobs(net, head)
    _require_new_name(net, head, new_head, classes)
    patched = copy_net(net)
    for layer in prototxt.layers_named(patched, head):
        layer.name = new_head
        getattr(layer, HEAD_PARAMETERS[layer.type]).num_output = classes
    if any(head in layer.top for layer in prototxt.layers_named(net, head)):
        _rename_blob(patched, head, new_head)
    _limit_accuracies(patched, new_head, classes)
    return patched


def boost(
    net: Any, head: str, lr_mult: Optional[float], bias_lr_mult: Optional[float] = None
) -> Any:
    """The net with other lr_mults for the weight and the bias of the layer ``head``.

    None leaves a multiplier as it is, but for a bias without its own, which gets twice
    the weight's, as in Caffe's models. The decay_mults stay.
    """
    if bias_lr_mult is None and lr_mult is not None:
        bias_lr_mult = 2 * lr_mult
    patched = copy_net(net)
    for layer in prototxt.layers_named(patched, head):
        if lr_mult is not None or bias_lr_mult is not None:
            complete_params(layer)
        for spec, multiplier in zip(layer.param, (lr_mult, bias_lr_mult)):
            if multiplier is not None:
                spec.lr_mult = multiplier
    return patched


def _require_head(net: Any, head: str) -> None:
    reason = prototxt.why_not_head(net, head)
    if reason:
        candidates = ", ".join(prototxt.heads(net)) or "none of its layers"
        raise ToolError(
            f"layer {head!r} cannot be the head: {reason}. What can be in this net: {candidates}"
        )


def _require_all_heads(net: Any, named: Iterable[str], classes: int) -> None:
    labels = {blob for head in named for blob in _labels(net, head)}
    left = [
        head
        for head in prototxt.heads(net)
        if head not in named and labels & _labels(net, head) and _outputs(net, head) != classes
    ]
    if left:
        raise ToolError(
            f"{', '.join(map(repr, left))} would go on giving {_outputs(net, left[0])} scores "
            f"for the labels of {', '.join(map(repr, named))}, of which there are {classes}; "
            f"name all heads: head: [{', '.join([*named, *left])}]"
        )


def _labels(net: Any, head: str) -> set[str]:
    """The blobs of labels that the head's scores are held against in training."""
    layers = prototxt.phase_view(net, TRAIN)
    place = next(place for place, layer in enumerate(layers) if layer.name == head)
    after = prototxt.downstream(layers, place)
    losses = [layer for layer in after if layer.type == "SoftmaxWithLoss"]
    return {blob for loss in losses for blob in loss.bottom[1:2]}


def _outputs(net: Any, head: str) -> int:
    layer = prototxt.layers_named(net, head)[0]
    return int(getattr(layer, HEAD_PARAMETERS[layer.type]).num_output)


def _refuse_shared_blobs(net: Any, head: str) -> None:
    for name, layers in shared_blobs(net).items():
        if head in layers and len(layers) > 1:
            raise ToolError(
                f"layer {head!r} shares its blob {name!r} (param {{ name }}) with "
                f"{', '.join(sorted(layers - {head}))}, which a new head would change as "
                "well; give the head a param of its own"
            )


def _require_new_name(net: Any, head: str, new_head: str, classes: int) -> None:
    if new_head == head:
        outputs = _outputs(net, head)
        if outputs != classes:
            raise ToolError(
                f"the new head has the name of the old one, {head!r}, but {classes} outputs "
                f"instead of {outputs}: weights would be sought by that name and not fit. "
                f"Name it otherwise, such as {head}_{classes}"
            )
        return
    for kind, names in (
        ("layer", [layer.name for layer in net.layer]),
        ("blob", prototxt.blob_names(net)),
    ):
        if new_head in names:
            raise ToolError(
                f"the new head's name {new_head!r} is that of a {kind} of the net; "
                f"choose one that is not in it, such as {head}_new"
            )


def _limit_accuracies(net: Any, head: str, classes: int) -> None:
    for phase in PHASES:
        layers = prototxt.phase_view(net, phase)
        for place, layer in enumerate(layers):
            for follower in prototxt.downstream(layers, place) if layer.name == head else ():
                if follower.type == "Accuracy" and follower.accuracy_param.top_k > classes:
                    follower.accuracy_param.top_k = classes


def _rename_blob(net: Any, old: str, new: str) -> None:
    for layer in net.layer:
        for blobs in (layer.bottom, layer.top):
            for place, blob in enumerate(blobs):
                if blob == old:
                    blobs[place] = new
