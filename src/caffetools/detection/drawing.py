"""Draws boxes on images, with what they are said to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Optional

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from caffetools.detection.manifest import Corners

_DASH, _GAP = 6, 4  # pixels of the drawing
_LEAST_TEXT = 12  # height in pixels


class Style(NamedTuple):
    """How a box is drawn: its colour as ``(red, green, blue)``, and whether in dashes."""

    colour: tuple[int, int, int]
    dashed: bool = False


RIGHT = Style((0, 200, 0))
WRONG = Style((230, 30, 30))
MISSED = Style((255, 220, 0), dashed=True)
# Neither right nor wrong, as on a difficult object.
IGNORED = Style((160, 160, 160))
# Told apart side by side and on most photographs.
_CLASSES = tuple(
    Style(colour)
    for colour in (
        (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233)
    )
)  # fmt: skip


def class_style(number: int) -> Style:
    """A style for the detections of the class of that number; the colours repeat."""
    return _CLASSES[number % len(_CLASSES)]


def draw(
    image: np.ndarray,
    boxes: Iterable[tuple[Corners, str, Style]],
    side: Optional[int] = None,
) -> np.ndarray:
    """The image with boxes on it, later ones over earlier ones, each with its text inside.

    ``image`` is uint8 ``(H, W, 3)``, or ``(H, W, 1)`` for a gray one, in BGR as
    :func:`caffetools.images.read_image` gives it; the result is a new one of three channels in BGR.
    Corners are the manifest's; what lies outside the image is not drawn. Letters that the font
    lacks become a sign for that.

    With ``side`` the image is first brought to so many pixels on its longer side, with what is
    there averaged where it shrinks and repeated where it grows. Lines and letters are sized for
    the image that is returned.
    """
    height, width = image.shape[:2]
    rgb = np.ascontiguousarray(np.broadcast_to(image, (height, width, 3))[:, :, ::-1])
    if side is not None:
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
        rgb = cv2.resize(rgb, size, interpolation=how)
    canvas = Image.fromarray(rgb)
    longer = max(canvas.size)
    pen, font = ImageDraw.Draw(canvas), _font(max(_LEAST_TEXT, longer // 40))
    scales = np.array([canvas.width / width, canvas.height / height] * 2)
    ends = np.array([0, 0, 1, 1])
    for corners, text, style in boxes:
        # From here on right and bottom are the edges, behind the last pixels.
        edges = (np.asarray(corners, np.float64) + ends) * scales
        left, top, right, bottom = np.clip(np.rint(edges), 0, canvas.size * 2)
        if right > left and bottom > top:
            place = (int(left), int(top), int(right) - 1, int(bottom) - 1)
            for piece in _outline(*place, max(2, longer // 300), style.dashed):
                pen.rectangle(piece, fill=style.colour)
            if text:
                _write(pen, font, text, *place[:2], style, canvas.size)
    return np.asarray(canvas)[:, :, ::-1].copy()


def _outline(
    left: int, top: int, right: int, bottom: int, thickness: int, dashed: bool
) -> Iterator[tuple[int, int, int, int]]:
    """A box's outline, to its inside, as filled rectangles; both corners belong to each."""
    more = min(thickness, 1 + (right - left) // 4, 1 + (bottom - top) // 4) - 1
    for start, end in _dashes(left, right, dashed):
        yield start, top, end, top + more
        yield start, bottom - more, end, bottom
    for start, end in _dashes(top, bottom, dashed):
        yield left, start, left + more, end
        yield right - more, start, right, end


def _dashes(start: int, end: int, dashed: bool) -> Iterator[tuple[int, int]]:
    if not dashed:
        yield start, end
        return
    for begin in range(start, end + 1, _DASH + _GAP):
        yield begin, min(begin + _DASH - 1, end)


def _font(height: int) -> Any:
    try:
        return ImageFont.load_default(height)
    except TypeError:  # of a Pillow before 10.1, whose font has one size
        return ImageFont.load_default()


def _write(
    pen: ImageDraw.ImageDraw,
    font: Any,
    text: str,
    left: int,
    top: int,
    style: Style,
    size: tuple[int, int],
) -> None:
    """Write a line of text on a ground of the style's colour, at a corner, within the image."""
    line = " ".join(text.split())
    try:
        extent = pen.textbbox((0, 0), line, font=font)
    except UnicodeEncodeError:  # an old Pillow's font is Latin alone
        line = line.encode("latin-1", "replace").decode("latin-1")
        extent = pen.textbbox((0, 0), line, font=font)
    width, height = int(extent[2]) + 4, int(extent[3]) + 2
    x, y = max(0, min(left, size[0] - width)), max(0, min(top, size[1] - height))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=style.colour)
    # Black on light colours and white on dark ones, by their luminance in ITU-R BT.601.
    red, green, blue = style.colour
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    pen.text((x + 2, y), line, fill=(0, 0, 0) if is_light else (255, 255, 255), font=font)
