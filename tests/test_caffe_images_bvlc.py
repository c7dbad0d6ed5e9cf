"""Images in caffe.io against BVLC's own, which leaves them to scikit-image 0.18 and SciPy 1.6."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from bvlc import Build
from PIL import Image

import caffe

# Given to both builds, as it stands.
CASES = """
import numpy as np

SHAPES = [(7, 9, 3), (64, 48, 3), (31, 17, 1), (12, 10, 4), (200, 300, 3), (8, 8, 2)]
SIZES = [(5, 5), (14, 18), (227, 227), (96, 24), (1, 1), (1, 4), (4, 1)]
# Where a new pixel's centre is halfway between two old ones, the nearest hangs on the last bit
# of scikit-image's estimate of the scale; so does, for splines, whether a centre at the border
# is beyond it. These shapes and sizes have neither.
PLAIN = [((7, 9, 3), (5, 5)), ((7, 9, 3), (14, 18)), ((31, 17, 1), (50, 40))]

def image(shape, dtype, scale):
    values = np.random.RandomState(sum(shape)).rand(*shape) * scale
    return (values if dtype == "u1" else values - scale / 3.0).astype(dtype)

def cases():
    for dtype, scale in [("f4", 1), ("f4", 255), ("f8", 3), ("u1", 255)]:
        for shape in SHAPES:
            for size in SIZES:
                for order in (1,) if shape[2] in (2, 4) else (1, 3):
                    yield shape, size, order, dtype, scale
        for shape, size in PLAIN:
            for order in (0, 2, 4, 5):
                yield shape, size, order, dtype, scale
"""


@pytest.mark.oracle
def test_resized_images_are_bvlcs(bvlc: Build) -> None:
    script = (
        CASES
        + """
import warnings, caffe
warnings.simplefilter("ignore")
made = [caffe.io.resize_image(image(s, d, m), z, o) for s, z, o, d, m in cases()]
np.savez("made.npz", *made)
"""
    )
    written = bvlc.python(script, fetch=["made.npz"]).files["made.npz"]
    theirs = list(np.load(io.BytesIO(written)).values())
    names: dict = {}
    exec(CASES, names)
    cases = list(names["cases"]())
    assert len(cases) == len(theirs) > 250
    for (shape, size, order, dtype, scale), expected in zip(cases, theirs, strict=True):
        found = caffe.io.resize_image(names["image"](shape, dtype, scale), size, order)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        # Sums of four or sixteen products in float32, and pixels' places in it.
        wrong = np.abs(found - expected).max() / scale
        assert wrong <= 1e-6, (shape, size, order, dtype, scale, wrong)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _turned(way: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = way
    return exif


def _pictures() -> dict[str, bytes]:
    """Files of many kinds and modes, of noise over a gradient."""
    random = np.random.RandomState(0)
    slope = np.linspace(0, 200, 37)[np.newaxis, :, np.newaxis]
    pixels = (slope + random.rand(23, 37, 4) * 55).astype("u1")
    rgb, rgba = Image.fromarray(pixels[:, :, :3]), Image.fromarray(pixels)
    gray, alpha = Image.fromarray(pixels[:, :, 0]), rgba.convert("LA")
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=17)
    to: Callable[..., bytes] = _file
    return {
        "rgb.png": to(rgb, "PNG"),
        "rgba.png": to(rgba, "PNG"),
        "gray.png": to(gray, "PNG"),
        "alpha.png": to(alpha, "PNG"),
        "bits.png": to(gray.convert("1"), "PNG"),
        "deep.png": to(Image.fromarray(pixels[:, :, 0].astype("u2") * 257), "PNG"),
        "palette.png": to(palette, "PNG"),
        "clear.png": to(palette, "PNG", transparency=3),
        "graypalette.png": to(gray.convert("P"), "PNG"),
        "full.jpg": to(rgb, "JPEG", quality=95, subsampling=0),
        "half.jpg": to(rgb, "JPEG", quality=60, subsampling=2),
        "progressive.jpg": to(rgb, "JPEG", quality=80, progressive=True),
        "gray.jpg": to(gray, "JPEG"),
        "cmyk.jpg": to(rgb.convert("CMYK"), "JPEG"),
        **{f"turned{way}.jpg": to(rgb, "JPEG", exif=_turned(way)) for way in range(1, 9)},
        "turned.png": to(rgb, "PNG", exif=_turned(6)),
        "palette.gif": to(palette, "GIF"),
        "gray.gif": to(gray, "GIF"),
        "rgb.bmp": to(rgb, "BMP"),
        "gray.bmp": to(gray, "BMP"),
        "rgb.tif": to(rgb, "TIFF"),
        "gray.tif": to(gray, "TIFF"),
        "float.tif": to(Image.fromarray(pixels[:, :, 0].astype("f") / 7), "TIFF"),
    }


@pytest.mark.oracle
def test_read_images_are_bvlcs(bvlc: Build, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _pictures()
    script = """
import caffe, glob, numpy as np, skimage.io, warnings
warnings.simplefilter("ignore")
imread = skimage.io.imread
# The scikit-image there has dropped this name of an argument.
skimage.io.imread = lambda name, as_grey: imread(name, as_gray=as_grey)
made = {}
for name in glob.glob("*.*"):
    if name != "script.py":
        for color in (True, False):
            try:
                made["%s %s" % (name, color)] = caffe.io.load_image(name, color)
            except Exception as error:
                made["%s %s" % (name, color)] = np.array(repr(error))
np.savez("made.npz", **made)
"""
    written = bvlc.python(script, files=files, fetch=["made.npz"]).files["made.npz"]
    theirs = dict(np.load(io.BytesIO(written)))
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        for color in (True, False):
            found, expected = caffe.io.load_image(name, color), theirs[f"{name} {color}"]
            assert expected.dtype == np.float32, (name, color, expected)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype), (name, color)
            # Colours become gray by a sum, whose order is NumPy's.
            assert np.abs(found - expected).max() <= (0 if color else 6e-8), (name, color)
