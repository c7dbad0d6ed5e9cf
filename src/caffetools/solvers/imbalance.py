"""Weighing classes by their counts, where a data set has many entries of some and few of others.

Caffe's InfogainLoss does it: with a diagonal matrix ``H`` of weights its loss is
``-1/N sum_n H[label_n, label_n] log p[n, label_n]``, N being the batch's entries whatever they
weigh. H stands in a file, a binary BlobProto.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.files import whole_file


def class_weights(counts: Union[Sequence[int], np.ndarray]) -> np.ndarray:
    """``w_c = N / (C n_c)`` for the counts ``n_c`` of C classes, N in all; (C,).

    All classes then weigh the same in sum, and an entry weighs 1 on average. Raises
    :class:`ToolError` for a class without entries.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not (numbers > 0).all():
        raise ToolError(
            f"expected a count of at least 1 for every class, found {np.asarray(counts).tolist()}; "
            "a class without entries cannot be learnt: leave it out of the net"
        )
    return numbers.sum() / (len(numbers) * numbers)


def write_infogain_matrix(
    path: Union[str, Path], weights: Union[Sequence[float], np.ndarray]
) -> None:
    """Write the diagonal matrix of the weights (C,) as a BlobProto of shape (1, 1, C, C)."""
    diagonal = np.asarray(weights, dtype=np.float32)
    classes = len(diagonal)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend([1, 1, classes, classes])
    blob.data.extend(np.diag(diagonal).reshape(-1).tolist())
    with whole_file(Path(path)) as partial:
        partial.write_bytes(blob.SerializeToString())


def with_infogain_loss(net: Any, source: Union[str, Path]) -> Any:
    """A copy of the NetParameter in which InfogainLoss takes the place of SoftmaxWithLoss.

    In the TRAIN phase alone: a loss of both phases becomes two, so that the test loss stays
    that of the entries as they are. ``source`` is the matrix's file. Raises
    :class:`ToolError` where the net has no SoftmaxWithLoss in its TRAIN phase, and where
    ``normalize`` is set, which InfogainLoss lacks.
    """
    patched = prototxt.copy_net(net)
    patched.ClearField("layer")
    found = False
    for layer in net.layer:
        in_train = prototxt.in_phase(layer, prototxt.TRAIN)
        if layer.type != "SoftmaxWithLoss" or not in_train:
            patched.layer.add().CopyFrom(layer)
            continue
        found = True
        patched.layer.add().CopyFrom(_weighed(layer, source))
        if prototxt.in_phase(layer, prototxt.TEST):
            test = patched.layer.add()
            test.CopyFrom(layer)
            _put_in_phase(test, prototxt.TEST)
    if not found:
        raise ToolError(
            "expected a SoftmaxWithLoss in the TRAIN phase to weigh, found the layers "
            f"{', '.join(f'{layer.name} ({layer.type})' for layer in net.layer)}"
        )
    return patched


def _weighed(layer: Any, source: Union[str, Path]) -> Any:
    if layer.loss_param.HasField("normalize"):
        raise ToolError(
            f"layer {layer.name!r}: loss_param has normalize, which InfogainLoss lacks; replace it "
            "by normalization: VALID (for true) or BATCH_SIZE (for false)"
        )
    weighed = type(layer)()
    weighed.CopyFrom(layer)
    weighed.type = "InfogainLoss"
    weighed.infogain_loss_param.source = str(source)
    weighed.infogain_loss_param.axis = layer.softmax_param.axis
    weighed.ClearField("softmax_param")
    if prototxt.in_phase(layer, prototxt.TEST):
        _put_in_phase(weighed, prototxt.TRAIN)
    return weighed


def _put_in_phase(layer: Any, phase: int) -> None:
    """Let a layer of both phases be in one; its rules on stages and levels stay."""
    if layer.exclude:
        layer.exclude.add().phase = prototxt.TRAIN + prototxt.TEST - phase
    elif layer.include:
        kept = [rule for rule in layer.include if not rule.HasField("phase") or rule.phase == phase]
        rules = [type(rule).FromString(rule.SerializeToString()) for rule in kept]
        layer.ClearField("include")
        layer.include.extend(rules)
        for rule in layer.include:
            rule.phase = phase
    else:
        layer.include.add().phase = phase
