"""InfogainLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recaffe.errors import FormatError
from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.bounded import bounded
from recaffe.layers.loss import (
    ignored_label,
    label_indices,
    labelled_shape,
    normaliser,
    same_batch,
)
from recaffe.proto.weights import read_blob

_LEAST_LOG_PROBABILITY = math.log(1e-20)


@register("InfogainLoss")
class InfogainLoss(Layer):
    """``loss = -1 / Z sum over items and classes of H[label, c] log max(p[c], 1e-20)``.

    ``p`` is the softmax of bottom0 along ``axis``. The matrix ``H``, classes by classes, is
    bottom2, or else the BlobProto in the file ``source``; with the identity the loss is
    SoftmaxWithLoss. Items labelled ``ignore_label`` count for nothing. ``Z`` is what
    ``normalization`` says. A second top gives ``p``, which has no gradient of its own.

    Shapes: as SoftmaxWithLoss; ``H`` of any shape, row by row. Only bottom0 has a gradient.

    Source: ``infogain_loss_layer.cpp``.
    """

    bottoms = (2, 3)
    tops = (1, 2)
    is_loss = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        parameter = self.param.infogain_loss_param
        self.axis = self.canonical_axis(parameter.axis, bottom_shapes[0])
        if self.param.loss_param.HasField("normalize"):
            raise self.error("normalize is not for this layer; use normalization")
        if len(bottom_shapes) < 3:
            self._matrix = self._read_matrix(parameter.source)

    def _read_matrix(self, source: str) -> Tensor:
        if not source:
            raise self.error("the infogain matrix is missing: give source, or a third bottom")
        try:
            return torch.from_numpy(read_blob(source).copy())
        except (FormatError, OSError) as error:
            raise self.error(f"the infogain matrix cannot be read: {error}") from error

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        labelled_shape(self, bottom_shapes, self.axis)
        same_batch(self, bottom_shapes)
        classes = bottom_shapes[0][self.axis]
        matrix = bottom_shapes[2] if len(bottom_shapes) > 2 else tuple(self._matrix.shape)
        if math.prod(matrix) != classes * classes:
            raise self.error(
                f"{classes} classes need an infogain matrix of {classes} by {classes} values, "
                f"found {list(matrix)}"
            )
        return [(), bottom_shapes[0]][: self.top_count]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        scores, labels = bottoms[:2]
        matrix = bottoms[2].detach() if len(bottoms) > 2 else self._matrix.to(scores)
        classes = scores.shape[self.axis]
        log_probabilities = torch.log_softmax(scores, self.axis)
        ignore = ignored_label(self.param.loss_param)
        index, counted = label_indices(self, labels, tuple(scores.shape), self.axis, ignore)
        gains = matrix.reshape(classes, classes)[index.squeeze(self.axis)].movedim(-1, self.axis)
        losses = gains * bounded(log_probabilities, _LEAST_LOG_PROBABILITY)
        if counted is not None:
            losses = losses * counted
        batch = math.prod(scores.shape[: self.axis])
        loss = -losses.sum() / normaliser(self.param.loss_param, index, counted, batch)
        return [loss, log_probabilities.detach().exp()][: self.top_count]
