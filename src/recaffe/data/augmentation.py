"""Random resized crop, rotation and colour jitter of training images, by OpenCV.

Caffe has none of it: it is off unless ``transform_param { augmentation { ... } }`` says more.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np

from recaffe.errors import DataError

# What BT.601 weighs blue, green and red by for gray, as OpenCV and Pillow do.
_GRAY = np.array([0.114, 0.587, 0.299], np.float32)


class Change(NamedTuple):
    """What was drawn for one image.

    Attributes:
        matrix: from a pixel of the result to one of the image, ``(2, 3)``; None for as it is.
        brightness, contrast, saturation: factors, 1 for as it is.
        hue: turns by which the colours are shifted.
    """

    matrix: np.ndarray | None
    brightness: float
    contrast: float
    saturation: float
    hue: float


class Augmentation:
    """Draws and makes changes of images ``(C, H, W)``, whose shape stays.

    - ``min_area``, ``max_area``, ``min_aspect``, ``max_aspect``: a window is drawn and resized
      to the whole. Its area is a share ``a`` of the image's, uniform, and its width over its
      height ``r`` times the image's, uniform in ``log r``: the sides are shares
      ``min(1, sqrt(a r))`` and ``min(1, sqrt(a / r))``, and its place is uniform.
    - ``rotation``: the window is turned by up to so many degrees either way, uniform; what is
      then outside the image is its reflection.
    - ``brightness``, ``contrast``, ``saturation``: factors ``f`` uniform in ``[1 - v, 1 + v]``.
      ``x = f x``; then ``x = m + f (x - m)`` with the mean ``m`` of the gray image; then
      ``x = g + f (x - g)`` with each pixel's gray ``g``. After each, ``x`` is cut to 0 to 255.
    - ``hue``: a shift by up to so many turns of the colour circle either way, uniform.

    Source: Szegedy et al. 2015 (arXiv:1409.4842) for the window, Howard 2013 (arXiv:1312.5402)
    for the colours.

    Args:
        parameter: an AugmentationParameter.
        owner: the layer's name, for errors.

    Raises:
        DataError: values that no image can be changed by.
    """

    def __init__(self, parameter: Any, owner: str) -> None:
        self._parameter, self._owner = parameter, owner
        p = parameter
        self._check("min_area", 0 < p.min_area <= p.max_area, "above 0, up to max_area")
        self._check("max_area", p.max_area <= 1, "up to 1")
        self._check("min_aspect", 0.01 <= p.min_aspect <= p.max_aspect, "0.01 up to max_aspect")
        self._check("max_aspect", p.max_aspect <= 100, "up to 100")
        self._check("rotation", 0 <= p.rotation <= 180, "0 to 180 degrees")
        for name in ("brightness", "contrast", "saturation"):
            self._check(name, 0 <= getattr(p, name) <= 1, "0 to 1")
        self._check("hue", 0 <= p.hue <= 0.5, "0 to 0.5 turns")
        self._moves = bool(p.min_area < 1 or p.min_aspect != 1 or p.max_aspect != 1 or p.rotation)
        self._colours = [
            name for name in ("brightness", "contrast", "saturation", "hue") if getattr(p, name)
        ]

    def _check(self, name: str, is_fine: bool, expected: str) -> None:
        if not is_fine:
            raise DataError(
                f"layer '{self._owner}': augmentation.{name} is "
                f"{getattr(self._parameter, name):g}, expected {expected}"
            )

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> Change:
        """What is random about the next image, of ``shape``."""
        p = self._parameter
        matrix = self._draw_matrix(random, shape[1:]) if self._moves else None
        spreads = (p.brightness, p.contrast, p.saturation, p.hue)
        brightness, contrast, saturation, hue = (
            random.uniform(-spread, spread) if spread else 0.0 for spread in spreads
        )
        return Change(matrix, 1 + brightness, 1 + contrast, 1 + saturation, hue)

    def _draw_matrix(self, random: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        p = self._parameter
        area = random.uniform(p.min_area, p.max_area)
        aspect = math.exp(random.uniform(math.log(p.min_aspect), math.log(p.max_aspect)))
        # Rows, then columns, as are the sizes.
        shares = [min(1.0, math.sqrt(area / aspect)), min(1.0, math.sqrt(area * aspect))]
        row, column = (
            length * (share / 2 + (1 - share) * random.random())
            for length, share in zip(size, shares, strict=True)
        )
        angle = math.radians(random.uniform(-p.rotation, p.rotation))
        # The window's own axes, turned; from the middle of the result to that of the window.
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn * np.array([shares[1], shares[0]])
        # Pixels are squares of which OpenCV counts the middles.
        middle = np.array([size[1] - 1, size[0] - 1]) / 2
        offset = np.array([column, row]) - 0.5 - linear @ middle
        return np.column_stack([linear, offset])

    def apply(self, change: Change, image: np.ndarray) -> np.ndarray:
        """The changed image ``(C, H, W)``: uint8 where only its pixels moved, else float32.

        Raises:
            DataError: an image that has no colours to change.
        """
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        if change.matrix is not None:
            pixels = _warped(pixels, change.matrix)
        if self._colours:
            self._check_colours(image)
            pixels = _recoloured(pixels, change)
        return pixels.transpose(2, 0, 1)

    def _check_colours(self, image: np.ndarray) -> None:
        needed = (1, 3) if {*self._colours} <= {"brightness", "contrast"} else (3,)
        if image.dtype != np.uint8 or len(image) not in needed:
            raise DataError(
                f"layer '{self._owner}': augmentation by {', '.join(self._colours)} needs images "
                f"of 8 bits and {' or '.join(map(str, needed))} channels, found {image.dtype} and "
                f"{len(image)}; leave it out"
            )


def _warped(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    warped = cv2.warpAffine(
        pixels, matrix, pixels.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    # OpenCV drops the axis of a single channel.
    return np.asarray(warped).reshape(pixels.shape)


def _recoloured(pixels: np.ndarray, change: Change) -> np.ndarray:
    pixels = pixels.astype(np.float32)
    if change.brightness != 1:
        pixels = (pixels * np.float32(change.brightness)).clip(0, 255)
    if change.contrast != 1:
        mean = _gray(pixels).mean(dtype=np.float64)
        pixels = _towards(np.float32(mean), pixels, change.contrast)
    if change.saturation != 1:
        pixels = _towards(_gray(pixels), pixels, change.saturation)
    if change.hue:
        colours = cv2.cvtColor(pixels / np.float32(255), cv2.COLOR_BGR2HSV)
        colours[..., 0] = (colours[..., 0] + np.float32(360 * change.hue)) % 360
        pixels = cv2.cvtColor(colours, cv2.COLOR_HSV2BGR) * np.float32(255)
    return pixels


def _gray(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] == 1:
        return pixels
    return (pixels @ _GRAY)[..., None]


def _towards(gray: Any, pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(gray + (pixels - gray) * np.float32(factor), 0, 255)
