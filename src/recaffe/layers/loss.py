"""What losses and scores over labelled items share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recaffe.layers.base import Layer, Shape


def labelled_shape(layer: Layer, bottom_shapes: Sequence[Shape], axis: int) -> Shape:
    """The scores' shape with 1 in the place of the classes, which the labels must fill.

    Raises:
        LayerError: another number of labels than of items.
    """
    scores, labels = bottom_shapes[:2]
    items = (*scores[:axis], 1, *scores[axis + 1 :])
    if math.prod(labels) != math.prod(items):
        raise layer.error(
            f"the scores {list(scores)} with classes along axis {axis} need "
            f"{math.prod(items)} labels, found {math.prod(labels)} ({list(labels)})"
        )
    return items


def same_batch(layer: Layer, bottom_shapes: Sequence[Shape]) -> None:
    """Check what Caffe's losses ask of their first two bottoms: as long first axes.

    Raises:
        LayerError: they differ, or a bottom has no axis.
    """
    one, other = bottom_shapes[:2]
    if not one or not other or one[0] != other[0]:
        raise layer.error(
            f"both bottoms need the same number of items along their first axis, "
            f"found {list(one)} and {list(other)}"
        )


def few_axes(layer: Layer, shape: Shape) -> Shape:
    """``(N, C, H, W)``, with 1 for the axes that are not there.

    Raises:
        LayerError: more than four axes, which layers from Caffe's first days do not take.
    """
    if len(shape) > 4:
        raise layer.error(f"expected at most four axes, found the bottom {list(shape)}")
    return (*shape, *(1,) * (4 - len(shape)))


def one_label_each(layer: Layer, items: int, shape: Shape) -> None:
    """Check that labels of that shape are one for each item.

    Raises:
        LayerError: they are not. BVLC's build reads past the end of fewer, and takes the first
            ones of more, whatever they belong to.
    """
    if math.prod(shape) != items:
        raise layer.error(f"{items} items need {items} labels, found {list(shape)}")


def label_indices(
    layer: Layer, labels: Tensor, scores_shape: Shape, axis: int, ignore: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Labels as indices along ``axis``, and which of them count: 1 or 0, or None for all.

    Raises:
        LayerError: a label outside 0 .. classes - 1 that is not ``ignore_label``. BVLC's
            build reads past the array there.
    """
    items = (*scores_shape[:axis], 1, *scores_shape[axis + 1 :])
    index = labels.reshape(items).long()
    counted = None
    if ignore is not None:
        counted = index != ignore
        index = index * counted
    classes = scores_shape[axis]
    outside = (index < 0) | (index >= classes)
    # A compiled step cannot stop to look.
    if not torch.compiler.is_compiling() and outside.any():
        raise layer.error(
            f"label {int(index[outside][0])} found, but there are {classes} classes, so labels "
            f"run from 0 to {classes - 1}; do yours start at 1, or is num_output too small?"
        )
    return index, None if counted is None else counted.to(labels.dtype)


def ignored_label(parameter: Any) -> int | None:
    """``ignore_label`` of a LossParameter or AccuracyParameter, None where none is set."""
    return parameter.ignore_label if parameter.HasField("ignore_label") else None


def normaliser(
    parameter: Any, index: Tensor, counted: Tensor | None, batch: int, default: int | None = None
) -> Tensor | float:
    """What a loss is divided by: FULL all items, VALID those that count, BATCH_SIZE, NONE 1.

    The ``batch`` is all that comes before the classes' axis. The divisor is at least 1, so
    that a batch without an item that counts gives a loss of 0. Where the parameter says
    nothing, it is ``default`` rather than VALID.

    Source: ``LossLayer`` and ``SoftmaxWithLossLayer::get_normalizer``.
    """
    mode = parameter.normalization
    if not parameter.HasField("normalization"):
        if parameter.HasField("normalize"):
            mode = parameter.VALID if parameter.normalize else parameter.BATCH_SIZE
        elif default is not None:
            mode = default
    if mode == parameter.NONE:
        return 1.0
    if mode == parameter.BATCH_SIZE:
        return float(max(1, batch))
    if mode == parameter.FULL or counted is None:
        return float(max(1, index.numel()))
    return counted.sum().clamp(min=1.0)
