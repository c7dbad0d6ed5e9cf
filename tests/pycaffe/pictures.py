"""Image files for tests, written without a library, and how BVLC's build comes to read them."""

import base64
import contextlib
import pathlib
import struct
import zlib

import numpy as np

import caffe

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6

# 4 x 4 pixels from black to red and green, by Pillow in quality 90, with halved chroma.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
    "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    "FBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAEAAQDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAA"
    "AAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAk"
    "M2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT"
    "lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QA"
    "HwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdh"
    "cRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hp"
    "anN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk"
    "5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDW+EX7P3gr/hBrL/iWfqPQe1FFFfxHj8divrVT97Ld/af+Z/SX"
    "CmY43+wcF+/n/Dh9p/yrzP/Z"
)
JPEG_PIXELS = [
    [[13, 0, 0], [39, 26, 0], [185, 0, 0], [211, 20, 1]],
    [[47, 34, 0], [74, 61, 27], [220, 29, 10], [246, 55, 36]],
    [[10, 122, 0], [37, 149, 0], [184, 118, 0], [210, 144, 0]],
    [[45, 157, 0], [72, 184, 24], [219, 153, 5], [245, 179, 31]],
]
# 3 x 2 pixels, six of a palette's colours.
GIF = base64.b64decode(
    "R0lGODdhAwACAIIAAAAAAP8AAAD/AAAA/woUHshkMgAAAAAAACwAAAAAAwACAAAICQABBBAwgECBgAA7"
)


def write_png(path, pixels, kind, depth=8, palette=None, transparency=None):
    """Pixels (height, width) or (height, width, channels), 1-bit ones packed to bytes."""
    height, width = pixels.shape[:2]
    if depth == 1:
        rows = [np.packbits(row).tobytes() for row in pixels]
    else:
        rows = [row.astype(">u%d" % (depth // 8)).tobytes() for row in pixels]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if palette is not None:
        chunks.append((b"PLTE", palette.astype("u1").tobytes()))
    if transparency is not None:
        chunks.append((b"tRNS", bytes(transparency)))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        checksum = struct.pack(">I", zlib.crc32(name + data) & 0xFFFFFFFF)
        content += struct.pack(">I", len(data)) + name + data + checksum
    pathlib.Path(path).write_bytes(content)


@contextlib.contextmanager
def readable():
    """Let BVLC's load_image work with the scikit-image that its build has.

    It asks for ``as_grey``, which scikit-image has called ``as_gray`` since 0.14, and dropped
    in 0.16: under Debian 11 ``load_image`` ends in a TypeError.
    """
    skimage = getattr(caffe.io, "skimage", None)
    if skimage is None:
        yield
        return
    imread = skimage.io.imread
    skimage.io.imread = lambda name, as_grey: imread(name, as_gray=as_grey)
    try:
        yield
    finally:
        skimage.io.imread = imread
