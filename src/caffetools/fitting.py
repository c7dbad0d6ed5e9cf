"""Bringing images of any size to the size that a data set is stored in.

============  ==============================================================  ================
mode          what is done                                                    proportions
============  ==============================================================  ================
``warp``      resized to width x height, as ``convert_imageset`` does         not kept
``crop``      resized to cover width x height, and cut about its middle       kept
``pad``       resized to fit into width x height, with black about it         kept
``short``     resized to cover width x height, and nothing cut off, so that   kept
              images differ in size: for nets that crop
============  ==============================================================  ================

All resize by OpenCV's bilinear interpolation, as Caffe's own tools do; where the other side
is not a whole number of pixels, it is rounded to the nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from caffetools.cli import ToolError
from caffetools.images import MAX_PIXELS, resize

Size = tuple[int, int]  # height, width


class Fit(NamedTuple):
    """How images are fitted, one of :data:`MODES`, to which ``width`` and ``height`` in pixels."""

    width: int
    height: int
    mode: str = "warp"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """A uint8 image ``(H, W, C)``, fitted.

        Raises :class:`ToolError` where it is so long that it would fill a memory.
        """
        return MODES[self.mode](image, (self.height, self.width))


def _scaled(image: np.ndarray, size: Size, choose: Callable[[float, float], float]) -> np.ndarray:
    """The image in its own proportions, by the one of both sides' scales that is chosen."""
    height, width = image.shape[:2]
    scale = choose(size[0] / height, size[1] / width)
    # At least a pixel, for images that are a line; and the chosen side to the pixel.
    new = [max(1, round(side * scale)) for side in (height, width)]
    # Of an image that is a line a few bytes could fill a memory.
    if new[0] * new[1] > MAX_PIXELS:
        raise ToolError(
            f"{width} x {height} pixels would become {new[1]} x {new[0]} in these proportions; "
            "leave the image out, or take --fit warp or pad"
        )
    return resize(image, *new)


def _crop(image: np.ndarray, size: Size) -> np.ndarray:
    covering = _scaled(image, size, max)
    top, left = ((have - want) // 2 for have, want in zip(covering.shape, size))
    return np.ascontiguousarray(covering[top : top + size[0], left : left + size[1]])


def _pad(image: np.ndarray, size: Size) -> np.ndarray:
    fitting = _scaled(image, size, min)
    missing = [want - have for want, have in zip(size, fitting.shape)]
    (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in missing)
    padded = cv2.copyMakeBorder(fitting, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return np.atleast_3d(padded)


MODES: dict[str, Callable[[np.ndarray, Size], np.ndarray]] = {
    "warp": lambda image, size: resize(image, *size),
    "crop": _crop,
    "pad": _pad,
    "short": lambda image, size: _scaled(image, size, max),
}
