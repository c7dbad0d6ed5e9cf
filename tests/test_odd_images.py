"""Images as they are in the world: each can be used, or is named with the reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from caffetools.dataset import folders
from caffetools.dataset.entry import Entry
from caffetools.dataset.examine import examine, examine_all
from caffetools.images import read_image

NOISE = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
RGB = cv2.GaussianBlur(NOISE, (0, 0), 4)
PICTURE = Image.fromarray(RGB)
TURN = Image.Exif()
TURN[0x112] = 6  # what was on top lies on the right


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of few bytes that claims and has ``side`` x ``side`` white or black pixels."""
    rows = zlib.compress(b"\0" * (side * (side // 8 + 1)), 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_alpha() -> Image.Image:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(Image.fromarray(RGB[..., 0]))
    return picture


# What is stored, what it shows, and by how much a lossy format may be off on average.
FINE = {
    "photo.jpg": (encoded(PICTURE, "JPEG", quality=95), RGB, 3),
    "turned.jpg": (encoded(PICTURE, "JPEG", quality=95, exif=TURN), np.rot90(RGB, -1), 3),
    "turned.png": (encoded(PICTURE, "PNG", exif=TURN), np.rot90(RGB, -1), 0),
    "print.jpg": (encoded(PICTURE.convert("CMYK"), "JPEG", quality=95), RGB, 3),
    "palette.png": (encoded(PICTURE.quantize(256), "PNG"), RGB, 4),
    "moving.gif": (
        encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(180)]), RGB, 4,
    ),
    "moving.png": (
        encoded(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(180)]), RGB, 0,
    ),
    "pages.tif": (
        encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(180)]), RGB, 0,
    ),
    "alpha.png": (encoded(with_alpha(), "PNG"), RGB, 0),
    "deep.png": (
        cv2.imencode(".png", RGB[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), RGB, 0,
    ),
    "deep gray.png": (
        cv2.imencode(".png", RGB[..., 0].astype(np.uint16) * 257)[1].tobytes(),
        np.repeat(RGB[..., :1], 3, axis=2), 0,
    ),
    "really a png.jpg": (encoded(PICTURE, "PNG"), RGB, 0),
    "no ending": (encoded(PICTURE, "PNG"), RGB, 0),
    "Käse 🧀 'n' $(x).PNG": (encoded(PICTURE, "PNG"), RGB, 0),
    "telephone.jpg": (
        encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(180)], quality=95),
        RGB, 3,
    ),
    "behind.jpg": (encoded(PICTURE, "JPEG", quality=95) + b"more" * 100, RGB, 3),
}  # fmt: skip
PHOTO = FINE["photo.jpg"][0]
BAD = {
    "cut.jpg": (PHOTO[: len(PHOTO) // 2], "is cut off or damaged"),
    "cut telephone.jpg": (FINE["telephone.jpg"][0][:1000], "is cut off or damaged"),
    # Of kinds that OpenCV knows and Pillow does not: nothing tells beforehand how large they are.
    "bomb by radiance.jpg": (
        cv2.imencode(".hdr", np.zeros((2000, 2000, 3), np.float32))[1].tobytes(),
        "cannot be decoded as an image",
    ),
    "floats.png": (
        cv2.imencode(".pfm", RGB.astype(np.float32) / 255)[1].tobytes(),
        "cannot be decoded as an image",
    ),
    "cut.png": (encoded(PICTURE, "PNG")[:1000], "cannot be decoded as an image"),
    "cut.bmp": (encoded(PICTURE, "BMP")[:1000], "cannot be decoded as an image"),
    "cut.webp": (encoded(PICTURE, "WEBP", lossless=True)[:2000], "is cut off or damaged"),
    "broken.png": (
        encoded(PICTURE, "PNG").replace(b"IDAT", b"IDOT"), "cannot be decoded as an image",
    ),
    "nothing.jpg": (b"", "is empty"),
    "page.jpg": (b"<html>gone</html>", "cannot be decoded as an image"),
    "bomb.png": (bomb(20000), "has more than 178956970 pixels"),
    "large.png": (bomb(2000), "has 2000 x 2000 pixels, more than the 1000000 of max_pixels"),
    "numbers.tif": (
        encoded(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"),
        "cannot be decoded as an image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_it_shows_is_read(tmp_path: Path, name: str):
    content, shown, off = FINE[name]
    (tmp_path / name).write_bytes(content)
    entry, small = examine(tmp_path, Entry(name, 0, "c"))
    assert not entry.dropped
    assert small is not None
    image = read_image(tmp_path / name)
    assert image is not None
    assert image.shape == shown.shape
    assert np.abs(image[..., ::-1].astype(int) - shown).mean() <= off


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str):
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    entry, small = examine(tmp_path, Entry(name, 0, "c"), max_pixels=1_000_000)
    assert entry.dropped.startswith(reason)
    assert small is None


def test_a_folder_of_all_of_them(tmp_path: Path):
    for name, (content, *_) in (FINE | BAD).items():
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / name).write_bytes(content)
    (tmp_path / "c" / "notes.txt").write_text("no image, and not named as one")
    entries = folders.find_images(tmp_path, "c", 0)
    assert {Path(entry.path).name for entry in entries} == set(FINE) | set(BAD)
    examined, thumbnails = examine_all(tmp_path, entries, max_pixels=1_000_000)
    assert {Path(entry.path).name for entry in examined if entry.dropped} == set(BAD)
    assert thumbnails.shape == (len(FINE), 256)


def test_a_bomb_by_another_name_is_named_too(tmp_path: Path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bomb.bin").write_bytes(bomb(20000))
    (entry,) = folders.find_images(tmp_path, "c", 0)
    assert examine(tmp_path, entry)[0].dropped.startswith("has more than 178956970 pixels")
