"""Small databases, and the command called as a function."""

from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import cv2
import numpy as np

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.records.__main__ import main

IMAGE = np.random.RandomState(0).randint(0, 256, (8, 9, 3)).astype(np.uint8)


def datum(**values):
    return caffe_pb2.Datum(**values).SerializeToString()


def raw(label, image=IMAGE):
    height, width, channels = image.shape
    return datum(
        channels=channels, height=height, width=width, label=label,
        data=image.transpose(2, 0, 1).tobytes(),
    )  # fmt: skip


def encoded(ending, image=IMAGE):
    return cv2.imencode("." + ending, image)[1].tobytes()


def write(values, backend="lmdb", name="db"):
    """A database of records or, by their place, of values."""
    Path(name).mkdir()
    records = [
        value if isinstance(value, tuple) else (b"%08d_x" % index, value)
        for index, value in enumerate(values)
    ]
    databases.write(Path(name), records, backend)
    return name


def told(*arguments):
    """What the command writes to standard output, as bytes, and its status."""
    content = BytesIO()
    with TextIOWrapper(content, encoding="utf-8", write_through=True) as stream:
        with redirect_stdout(stream):
            status = main(list(arguments))
        return content.getvalue(), status


def lines(*arguments):
    return told(*arguments)[0].decode("utf-8").splitlines()


def complaint(*arguments):
    try:
        with redirect_stdout(StringIO()):
            main(list(arguments))
    except ToolError as error:
        return str(error)
    raise AssertionError("no ToolError")
