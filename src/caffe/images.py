"""Images in Python: read, resized and cropped as pycaffe does it, which leaves it to scikit-image.

The numbers are those of scikit-image 0.18, the last to have its own interpolation. Later
versions call SciPy's, whose cubic splines are another curve than the cubic convolution here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

# What red, green and blue weigh in a gray value, for which scikit-image has its own weights.
_GRAY = np.array([0.2125, 0.7154, 0.0721])
# The interpolation orders that scikit-image computes itself; others are splines of SciPy.
_OWN_ORDERS = (0, 1, 3)


# --- reading --------------------------------------------------------------------------


def load_image(filename: str | Path | IO[bytes], color: bool = True) -> np.ndarray:
    """The image in a file, ``(height, width, channels)`` in float32 from 0 to 1.

    Args:
        filename: of a PNG, JPEG, GIF, BMP, TIFF ...
        color: whether as RGB, without its alpha; else as one gray channel, on white where the
            image is transparent.

    Raises:
        OSError: no such file, or none that is an image.
    """
    with Image.open(filename) as stored:
        # Cameras' JPEGs may say that they are to be turned; of other kinds it is not read.
        turned = ImageOps.exif_transpose(stored) if stored.format == "JPEG" else stored
        pixels = _pixels(turned, stored.format)
    if not color and pixels.ndim == 3:
        pixels = _gray(pixels)
    image = _from_0_to_1(pixels).astype(np.float32)
    if image.ndim == 2:
        return np.repeat(image[:, :, np.newaxis], 3 if color else 1, axis=2)
    return image[:, :, :3]


def _pixels(image: Image.Image, kind: str | None) -> np.ndarray:
    """The pixels as stored, but palettes resolved: gray, RGB or RGBA."""
    if image.mode == "P":
        target = "L" if _has_gray_palette(image) else "RGBA"
    elif "A" in image.mode:
        target = "RGBA"
    else:
        target = {"1": "L", "CMYK": "RGB"}.get(image.mode, image.mode)
    pixels = np.array(image if image.mode == target else image.convert(target))
    is_16_bit = image.mode.startswith("I") and kind == "PNG"
    return pixels.astype(np.uint16) if is_16_bit else pixels


def _has_gray_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    used = palette[np.unique(np.array(image))]
    return bool((used == used[:, :1]).all()) and "transparency" not in image.info


def _gray(pixels: np.ndarray) -> np.ndarray:
    values = _from_0_to_1(pixels)
    if values.shape[2] == 4:
        alpha = values[:, :, 3:]
        values = np.clip(alpha * values[:, :, :3] + (1 - alpha), 0, 1)
    return values @ _GRAY


def _from_0_to_1(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "f":
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.float64)
    return pixels / float(np.iinfo(pixels.dtype).max)


# --- resizing -------------------------------------------------------------------------


def resize_image(
    im: np.ndarray, new_dims: Sequence[int] | np.ndarray, interp_order: int = 1
) -> np.ndarray:
    """An image in another size, in float32.

    One with 1 or 3 channels is smoothed before it is made smaller, and is taken to be 0 in its
    own range (that is, its lowest value) beyond its border; one with more is resampled alone.

    Args:
        im: ``(height, width, channels)``.
        new_dims: the new height and width.
        interp_order: of the interpolation, 0 for the nearest pixel, 1 for linear, up to 5.
    """
    im = np.asarray(im)
    if im.ndim != 3 or len(new_dims) != 2:
        raise ValueError(
            "expected an image (height, width, channels) and a size (height, width), "
            f"found the shapes {im.shape} and {tuple(new_dims)}"
        )
    height, width = (int(size) for size in new_dims)
    if im.shape[2] not in (1, 3):
        scale = (height / im.shape[0], width / im.shape[1], 1)
        return ndimage.zoom(im, scale, order=interp_order).astype(np.float32)
    low, high = im.min(), im.max()
    if not high > low:
        return np.full((height, width, im.shape[2]), low, np.float32)
    normalised = (im - low) / (high - low)
    resized = _resize(normalised, (height, width), interp_order)
    return (resized * (high - low) + low).astype(np.float32)


def _resize(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    factors = [old / new for old, new in zip(image.shape, size, strict=False)]
    sigmas = [max(0.0, (factor - 1) / 2) for factor in factors]
    image = ndimage.gaussian_filter(image, [*sigmas, 0], mode="constant")
    precision = image.dtype if order in _OWN_ORDERS else np.dtype(np.float64)
    places = [_places(new, factor, precision) for new, factor in zip(size, factors, strict=True)]
    if order in _OWN_ORDERS:
        rows, columns = (
            _weights(at, old, order) for at, old in zip(places, image.shape, strict=False)
        )
        resized = np.einsum("hr,rcd,wc->hwd", rows, image, columns, optimize=True)
    else:
        grid = np.meshgrid(*places, indexing="ij")
        channels = [
            ndimage.map_coordinates(image[:, :, channel], grid, order=order, mode="constant")
            for channel in range(image.shape[2])
        ]
        resized = np.stack(channels, axis=2)
    return _clip(resized, image.min(), image.max()) if order > 0 else resized


def _places(new: int, factor: float, dtype: np.dtype[Any]) -> np.ndarray:
    """Where in the old pixels' coordinates the new pixels' centres lie."""
    return np.arange(new).astype(dtype) * dtype.type(factor) + dtype.type(factor / 2 - 0.5)


def _weights(places: np.ndarray, old: int, order: int) -> np.ndarray:
    """For every place a row: how much of every old pixel is in it; pixels beyond are 0."""
    first = np.floor(places)
    between = places - first
    if order == 0:
        taps = {0: between < 0.5, 1: between >= 0.5}
    elif order == 1:
        taps = {0: 1 - between, 1: between}
    else:
        taps = _cubic_convolution(between)
    weights = np.zeros((len(places), old), places.dtype)
    for offset, values in taps.items():
        at = first.astype(int) + offset
        (inside,) = np.nonzero((at >= 0) & (at < old))
        weights[inside, at[inside]] += values[inside]
    return weights


def _cubic_convolution(x: np.ndarray) -> dict[int, np.ndarray]:
    """Weights of four pixels about a place ``x`` beyond the second (Keys, a = -1/2)."""
    return {
        -1: x * (-1 + x * (2 - x)) / 2,
        0: 1 + x * x * (3 * x - 5) / 2,
        1: x * (1 + x * (4 - 3 * x)) / 2,
        2: x * x * (x - 1) / 2,
    }


def _clip(resized: np.ndarray, low: float, high: float) -> np.ndarray:
    """Into the range before; but zeros stay, which is what lies beyond the border."""
    beyond = (resized == 0) & (not low <= 0 <= high)
    return np.where(beyond, 0, np.clip(resized, low, high))


# --- cropping -------------------------------------------------------------------------


def oversample(
    images: Sequence[np.ndarray] | np.ndarray, crop_dims: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Ten crops of every image: the corners, the centre, and the same five mirrored.

    Args:
        images: each ``(height, width, channels)``, all of one shape.
        crop_dims: the height and width of the crops.

    Returns:
        ``(10 * images, height, width, channels)`` in float32.
    """
    height, width, channels = images[0].shape
    crop_height, crop_width = (int(size) for size in crop_dims)
    if crop_height > height or crop_width > width:
        raise ValueError(
            f"no crops of {crop_height} x {crop_width} lie within images of {height} x {width}"
        )
    bottom, right = height - crop_height, width - crop_width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = np.empty((len(images), 2, 5, crop_height, crop_width, channels), np.float32)
    for image, of_image in zip(images, crops, strict=True):
        for index, (top, left) in enumerate([*corners, (bottom // 2, right // 2)]):
            of_image[0, index] = image[top : top + crop_height, left : left + crop_width]
        of_image[1] = of_image[0, :, :, ::-1]
    return crops.reshape(-1, crop_height, crop_width, channels)
