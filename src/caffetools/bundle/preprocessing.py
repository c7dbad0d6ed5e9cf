"""How an image file becomes a net's input: the one definition, which a bundle carries as JSON.

1. The file is decoded to 8-bit BGR, or to one gray channel, and turned as its EXIF entry says.
2. It is brought to ``height`` by ``width`` as ``fit`` says, one of those of
   :mod:`caffetools.fitting`: by ``warp``, Caffe's own, it is resized regardless of its proportions.
   So far it is what the LMDB holds; of ``short`` what is there of the middle.
3. The middle ``crop_size`` by ``crop_size`` is cut out; 0 leaves it whole.
4. ``input[c, y, x] = (pixel[c, y, x] - mean[c, y, x]) scale`` in float32. The mean is none, a value
   for all channels or each, or the middle of the mean image.

Source: ``data_transformer.cpp`` in its TEST phase, and ``convert_imageset.cpp``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools.bundle.contents import MEAN, PREPROCESSING
from caffetools.cli import ToolError
from caffetools.files import write_json
from caffetools.fitting import MODES, Fit
from caffetools.images import read_checked
from caffetools.mean import read_mean

_CHANNELS = {"gray": 1, "BGR": 3}
_FORMAT = 1
_LARGEST = 1 << 16  # pixels along a side; more is no image for a net
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to the net's input.

    Attributes:
        channels: 3 (BGR) or 1 (gray).
        height, width: what images are fitted to.
        crop_size: the square cut from the middle, 0 for none.
        mean_value: none, one value, or one a channel.
        mean_image: ``(channels, height, width)``, or None.
        scale: what the difference is multiplied by.
        fit: how images are fitted, one of :data:`~caffetools.fitting.MODES`.
    """

    channels: int
    height: int
    width: int
    crop_size: int = 0
    mean_value: tuple[float, ...] = ()
    mean_image: Optional[np.ndarray] = None
    scale: float = 1.0
    fit: str = "warp"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the net's input."""
        size = (self.crop_size,) * 2 if self.crop_size else (self.height, self.width)
        return (self.channels, *size)

    @property
    def mean(self) -> Optional[np.ndarray]:
        """What is subtracted: ``(channels,)``, an image of the input's shape, or None."""
        if self.mean_image is not None:
            return self._middle(self.mean_image)
        if not self.mean_value:
            return None
        return np.array(np.broadcast_to(self.mean_value, self.channels), np.float32)

    def image(self, path: Path) -> Optional[np.ndarray]:
        """Steps 1 and 2: uint8 ``(height, width, channels)``, or None if it is unreadable."""
        image = self.fitted(path)
        return None if image is None else self.window(image)

    def fitted(self, path: Path) -> Optional[np.ndarray]:
        """The image as the LMDB holds it: as :meth:`image`, but by ``short`` larger."""
        image, _ = read_checked(path, gray=self.channels == 1)
        try:
            return None if image is None else Fit(self.width, self.height, self.fit)(image)
        except ToolError:  # of an image that is a line
            return None

    def window(self, image: np.ndarray) -> np.ndarray:
        """Of a :meth:`fitted` image the ``height`` by ``width`` about what Caffe crops."""
        _, *inner = self.input_shape
        top, left = (
            (have - cut) // 2 - (want - cut) // 2
            for have, want, cut in zip(image.shape, (self.height, self.width), inner)
        )
        return np.ascontiguousarray(image[top : top + self.height, left : left + self.width])

    def net_input(self, image: np.ndarray) -> np.ndarray:
        """Steps 3 and 4 for pixels as :meth:`image` gives them: float32 of ``input_shape``."""
        pixels = self._middle(image.transpose(2, 0, 1)).astype(np.float32)
        mean = self.mean
        if mean is not None:
            pixels -= mean.reshape(-1, 1, 1) if mean.ndim == 1 else mean
        return np.ascontiguousarray(pixels * np.float32(self.scale))

    def _middle(self, planes: np.ndarray) -> np.ndarray:
        _, height, width = self.input_shape
        top, left = (self.height - height) // 2, (self.width - width) // 2
        return planes[:, top : top + height, left : left + width]

    # -- pycaffe's Classifier --------------------------------------------------------------

    def classifier_options(self) -> dict[str, Any]:
        """What ``caffe.Classifier`` is told, to do the same with :meth:`classifier_image`'s."""
        return {
            "image_dims": (self.height, self.width),
            "mean": self.mean,
            "raw_scale": 255,
            "input_scale": self.scale if self.scale != 1 else None,
            "channel_swap": (2, 1, 0) if self.channels == 3 else None,
        }

    @staticmethod
    def classifier_image(image: np.ndarray) -> np.ndarray:
        """Pixels as pycaffe's ``load_image`` has them: float32 from 0 to 1, RGB or gray."""
        return image[:, :, ::-1].astype(np.float32) / np.float32(255)

    # -- as JSON ---------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """The definition as it is written; the mean image is a file beside it."""
        return {
            "format": _FORMAT,
            "channels": {count: name for name, count in _CHANNELS.items()}[self.channels],
            "height": self.height,
            "width": self.width,
            "fit": self.fit,
            "interpolation": "bilinear, as OpenCV's INTER_LINEAR",
            "crop_size": self.crop_size,
            "mean_file": None if self.mean_image is None else MEAN,
            "mean_value": list(self.mean_value),
            "scale": self.scale,
            "input": "(pixel - mean) * scale, of the middle square of crop_size if that is not 0",
        }


def of_net(data_layer: Any, manifest: Mapping[str, Any]) -> Preprocessing:
    """What a Data layer of the TEST phase does with images of the LMDB of that manifest.

    Raises :class:`ToolError` for what has no one answer: mirroring, which Caffe does at random
    in tests too, and a mean that does not fit.
    """
    transform, place = data_layer.transform_param, f"layer {data_layer.name!r}"
    if transform.mirror:
        raise ToolError(
            f"{place} mirrors at random in the TEST phase, so that an image has no one answer; "
            "remove mirror there"
        )
    fit = manifest.get("fit") or {"mode": "warp"}
    made = Preprocessing(
        channels=int(manifest["channels"]),
        # By "short" the images are as large at least, and perhaps all of them larger.
        height=int(fit.get("height", manifest["height"])),
        width=int(fit.get("width", manifest["width"])),
        fit=fit["mode"],
        crop_size=int(transform.crop_size),
        mean_value=tuple(float(value) for value in transform.mean_value),
        mean_image=read_mean(Path(transform.mean_file)) if transform.mean_file else None,
        scale=float(transform.scale),
    )
    _check(made, place)
    return made


def write(folder: Path, preprocessing: Preprocessing) -> None:
    """Write the definition into the bundle ``folder``; the mean image is copied by the caller."""
    write_json(folder / PREPROCESSING, preprocessing.as_json())


def read(folder: Path) -> Preprocessing:
    """The definition in a bundle. Raises :class:`ToolError` where it makes no sense."""
    path = folder / PREPROCESSING
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if given["format"] != _FORMAT:
            raise ToolError(
                f"{path}: expected format {_FORMAT}, found {given['format']!r}; a newer version "
                "of this program made it"
            )
        made = Preprocessing(
            channels=_CHANNELS[given["channels"]],
            height=_whole(given["height"]),
            width=_whole(given["width"]),
            crop_size=_whole(given["crop_size"]),
            mean_value=tuple(float(value) for value in given["mean_value"]),
            scale=float(given["scale"]),
            fit=str(given.get("fit", "warp")),
        )
        has_image = given["mean_file"] is not None
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected the preprocessing that a bundle is made with ({error!r}); make the "
            "bundle again"
        ) from error
    if has_image:
        made = replace(made, mean_image=read_mean(folder / MEAN))
    _check(made, str(path))
    return made


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _check(made: Preprocessing, place: str) -> None:
    for name in ("height", "width"):
        if not 1 <= getattr(made, name) <= _LARGEST:
            raise ToolError(f"{place}: {name} {getattr(made, name)}, expected 1 to {_LARGEST}")
    if not 0 <= made.crop_size <= min(made.height, made.width):
        raise ToolError(
            f"{place}: crop_size {made.crop_size}, but images are {made.height}x{made.width} "
            "(height x width); make them larger or lower crop_size"
        )
    if made.fit not in MODES:
        raise ToolError(f"{place}: fit {made.fit!r}, expected {', '.join(MODES)}")
    if made.channels not in _CHANNELS.values():
        raise ToolError(f"{place}: {made.channels} channels, expected 3 (BGR) or 1 (gray)")
    if not all(abs(value) <= _LARGEST_FLOAT for value in (*made.mean_value, made.scale)):
        raise ToolError(f"{place}: mean_value and scale must be finite numbers, in float32 too")
    if made.mean_value and made.mean_image is not None:
        raise ToolError(f"{place}: mean_file and mean_value; Caffe subtracts one of them")
    if len(made.mean_value) not in (0, 1, made.channels):
        raise ToolError(
            f"{place}: {len(made.mean_value)} mean_values for {made.channels} channels; expected "
            "one, or one a channel"
        )
    expected = (made.channels, made.height, made.width)
    if made.mean_image is not None and made.mean_image.shape != expected:
        raise ToolError(
            f"{place}: the mean is of the shape {made.mean_image.shape}, the images (channels, "
            f"height, width) {expected}; compute the mean of these images"
        )
