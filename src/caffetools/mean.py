"""Average the images of an LMDB, as BVLC's ``compute_image_mean`` does.

The result is a ``BlobProto`` with num (1), channels, height, width and, in float32,

    mean[c, y, x] = (sum over images of pixel[c, y, x]) / images

The sum is exact; ``compute_image_mean`` adds in float32 and gives the same numbers as long
as its sums are exact too, which 65,793 white pixels exceed.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from google.protobuf.message import DecodeError

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError, run
from caffetools.datums import pixels_of
from caffetools.files import whole_file
from caffetools.weights import array

# Of so many images the sums of bytes fit into 16 bits: below 2 ** 16.
_BLOCK = 257

LOG = logging.getLogger("caffetools.mean")


def mean(database: Path, backend: str = "lmdb") -> np.ndarray:
    """The mean image ``(C, H, W)`` of an LMDB or LevelDB in float32.

    Raises :class:`ToolError` if it is none or empty or a record's shape is not the first's.
    """
    total, block, count = np.zeros(0), np.zeros(0, np.uint16), 0
    for key, value in databases.views(database, backend):
        try:
            image = pixels_of(value)
        except ValueError as error:
            raise ToolError(f"{database}, record {_shown(bytes(key))}: {error}") from error
        if not count:
            # Float64 holds sums of bytes exactly for the first 35 million million images.
            total, block = np.zeros(image.shape), np.zeros(image.shape, np.uint16)
        if image.shape != total.shape:
            raise ToolError(
                f"{database}, record {_shown(bytes(key))}: expected the first record's shape "
                f"(channels, height, width) {total.shape}, found {image.shape}; convert the "
                "images again with --width and --height"
            )
        if image.dtype == np.uint8:
            block += image  # a fifth of the time that a sum in float64 takes
        else:
            total += image
        count += 1
        if count % _BLOCK == 0:
            total += block
            block[...] = 0
    if not count:
        raise ToolError(f"{database}: expected at least one record, found an empty database")
    total += block
    # A float64 quotient rounded to float32 is the float32 quotient.
    return (total / count).astype(np.float32)


def _shown(key: bytes) -> str:
    return repr(key.decode("utf-8", "backslashreplace"))


def blob(image: np.ndarray) -> Any:
    """A mean image ``(C, H, W)`` as the ``BlobProto`` that Caffe's ``mean_file`` expects."""
    channels, height, width = image.shape
    message = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
    message.data.extend(image.ravel().tolist())
    return message


def read_mean(path: Path) -> np.ndarray:
    """The mean image ``(C, H, W)`` in a ``.binaryproto``, float32.

    Raises :class:`ToolError` where the file is none.
    """
    try:
        message = caffe_pb2.BlobProto.FromString(path.read_bytes())
        values = array(message)
    except (DecodeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected a mean as compute_image_mean writes it, found a file that cannot be "
            f"read as one ({error}); compute it again"
        ) from error
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3 or not values.size:
        raise ToolError(
            f"{path}: expected a mean image (channels, height, width), found the shape "
            f"{values.shape}; compute it again"
        )
    return values.astype(np.float32)


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.mean --lmdb DIR --output FILE``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.mean",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lmdb", type=Path, required=True, help="the LMDB's folder")
    parser.add_argument("--output", type=Path, required=True, help="the binaryproto")
    options = parser.parse_args(arguments)
    image = mean(options.lmdb)
    with whole_file(options.output) as partial:
        partial.write_bytes(blob(image).SerializeToString())
    LOG.info("%s: mean of %s, from %.2f to %.2f", options.output, image.shape, *_range(image))
    return None


def _range(image: np.ndarray) -> tuple[float, float]:
    return float(image.min()), float(image.max())


if __name__ == "__main__":
    run(main)
