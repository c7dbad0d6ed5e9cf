"""An image as Faster R-CNN's nets see it: mean subtracted, then scaled."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from recaffe.errors import DataError

MEAN = (102.9801, 115.9465, 122.7717)
SCALE, MAX_SIZE = 600, 1000
# Torch would take a map of more elements, but no machine has the memory for the net's.
_MOST_PIXELS = 1 << 28


def scale_of(height: int, width: int, scale: float, max_size: float) -> float:
    """What scales an image's shorter side to ``scale``, and the longer to ``max_size`` at most.

    Source: ``prep_im_for_blob`` in ``utils/blob.py`` of py-faster-rcnn.
    """
    factor = scale / min(height, width)
    # As published: the longer side is rounded, halves to the even number.
    return (
        max_size / max(height, width) if round(factor * max(height, width)) > max_size else factor
    )


def prepare(
    image: np.ndarray,
    scale: float = SCALE,
    max_size: float = MAX_SIZE,
    mean: Sequence[float] = MEAN,
    mirror: bool = False,
) -> tuple[np.ndarray, float]:
    """A net's input ``(1, C, H, W)``, float32, of an image ``(C, h, w)``, uint8; and its scale.

    The mean, one value a channel, is subtracted before the image is scaled bilinearly.

    Raises:
        DataError: no such size can be made.

    Source: ``prep_im_for_blob`` and ``im_list_to_blob`` of py-faster-rcnn.
    """
    height, width = image.shape[1:]
    factor = scale_of(height, width, scale, max_size)
    pixels = image[:, :, ::-1] if mirror else image
    centred = pixels.transpose(1, 2, 0) - np.asarray(mean, np.float32)
    refused = DataError(f"{width} x {height} pixels cannot be scaled by {factor:g}")
    if height * width * factor**2 > _MOST_PIXELS:
        raise refused
    try:
        scaled = cv2.resize(centred, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    except cv2.error:  # a side would have no pixel
        raise refused from None
    return np.ascontiguousarray(np.atleast_3d(scaled).transpose(2, 0, 1)[np.newaxis]), factor
