"""``extract_features``: what a net makes of its data, blob by blob, as data sets.

The net is run in phase TEST on its own data layers; each named blob goes to the data set named
at the same place, an item a record. In an LMDB or LevelDB a record's key is its number in ten
digits and its value a ``Datum`` of channels, height, width and float data; in an HDF5 file, which
is this program's own addition, the data set is named as the blob, with ``_`` for ``/``, and is
``(items, ...)``, so that an HDF5Data layer with a top of that name reads it.

Source: ``tools/extract_features.cpp``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Union

import h5py
import numpy as np

import caffe
from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.files import whole_directory, whole_file
from caffetools.programs.program import LOG, Parser, number, require_file, run

_TOLD_EVERY = 1000
_FLOAT_DATA = caffe_pb2.Datum.DESCRIPTOR.fields_by_name["float_data"].number
_FIXED32 = 5  # the wire type of a float

Put = Callable[[np.ndarray], None]


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("extract_features", "Write what a net makes of its data as data sets.")
    parser.add_argument("weights", type=Path, help="the pretrained caffemodel")
    parser.add_argument("net", type=Path, help="the prototxt of the net, with its data layers")
    parser.add_argument("blobs", help="the blobs to write, separated by ','")
    parser.add_argument("datasets", help="where to write each, separated by ','")
    parser.add_argument("batches", type=number(1), help="how many batches to run")
    parser.add_argument("kind", choices=(*databases.BACKENDS, "hdf5"), help="of the data sets")
    parser.add_argument("mode", nargs="?", choices=("CPU", "GPU"), default="CPU")
    parser.add_argument("device", nargs="?", default="0", help="the GPU's number (default: 0)")
    return parser


def main() -> None:
    """The program ``extract_features WEIGHTS NET BLOBS DATASETS N KIND [CPU|GPU] [DEVICE_ID]``."""
    run(parser(), extract)


def extract(options: argparse.Namespace) -> None:
    """Run the net; write the data sets, which are whole or absent."""
    names, places = options.blobs.split(","), [Path(p) for p in options.datasets.split(",")]
    _check(options, names, places)
    if options.mode == "GPU":
        caffe.set_device(_device(options.device))
        caffe.set_mode_gpu()
    net = caffe.Net(str(options.net), str(options.weights), caffe.TEST)
    if unknown := [name for name in names if name not in net.blobs]:
        raise ToolError(
            f"{options.net}: no blob {', '.join(unknown)} in the net in phase TEST; "
            f"it has {', '.join(net.blobs)}"
        )
    for name in names:
        _check_shape(name, net.blobs[name].data.shape, options.kind)
    LOG.info("Extracting Features")
    counts = [0] * len(names)
    with ExitStack() as stack:
        writers = [stack.enter_context(_writer(*each, options.kind)) for each in zip(names, places)]
        for _ in range(options.batches):
            net.forward()
            for index, (name, put) in enumerate(zip(names, writers)):
                features = net.blobs[name].data
                put(features)
                told = counts[index] // _TOLD_EVERY
                counts[index] += len(features)
                if counts[index] // _TOLD_EVERY > told:
                    LOG.info("Extracted features of %d query images for blob %s",
                             counts[index], name)  # fmt: skip
    for name, count, place in zip(names, counts, places):
        LOG.info("Extracted features of %d query images for blob %s: %s", count, name, place)
    LOG.info("Successfully extracted the features!")


def _check(options: argparse.Namespace, names: Sequence[str], places: Sequence[Path]) -> None:
    require_file(options.net, "prototxt")
    require_file(options.weights, "caffemodel")
    if len(names) != len(places):
        raise ToolError(
            f"expected as many data sets as blobs, found {len(names)} blob(s), {options.blobs}, "
            f"and {len(places)} data set(s), {options.datasets}"
        )
    if len(set(places)) < len(places):
        raise ToolError(f"{options.datasets}: expected a data set of its own for every blob")
    for place in places:
        if place.exists():
            raise ToolError(f"{place}: is there already; name a new data set")


def _device(text: str) -> int:
    text = text[len("DEVICE_ID=") :] if text.startswith("DEVICE_ID=") else text
    if not text.isdigit():
        raise ToolError(f"DEVICE_ID {text!r}: expected a GPU's number, 0 for the first")
    return int(text)


def _check_shape(name: str, shape: Sequence[int], kind: str) -> None:
    if not shape:
        raise ToolError(f"blob {name} is a single number, with no items; it has no features")
    if len(shape) > 4 and kind != "hdf5":
        raise ToolError(
            f"blob {name}: its shape {tuple(shape)} has more axes than a Datum, which holds "
            "channels, height and width; write hdf5"
        )


# --- data sets --------------------------------------------------------------------------


def _writer(name: str, place: Path, kind: str) -> AbstractContextManager[Put]:
    if kind == "hdf5":
        return _hdf5(name, place)
    return _database(place, kind)


@contextmanager
def _database(place: Path, backend: str) -> Iterator[Put]:
    with whole_directory(place) as folder, databases.opened(folder, backend) as put:
        count = 0

        def put_features(features: np.ndarray) -> None:
            nonlocal count
            keys = (b"%010d" % (count + index) for index in range(len(features)))
            put(zip(keys, map(bytes, float_datums(features))))
            count += len(features)

        yield put_features


def float_datums(features: np.ndarray) -> Iterator[Union[bytes, np.ndarray]]:
    """Each item of ``features``, ``(items, ...)`` with at most three axes more, as a Datum.

    The floats are laid down behind their tags at once; protobuf would take them one by one.
    """
    channels, height, width = (*features.shape[1:], 1, 1, 1)[:3]
    head = caffe_pb2.Datum(channels=channels, height=height, width=width).SerializeToString()
    flat = features.reshape(len(features), -1)
    tagged = np.empty(flat.shape, [("tag", "u1"), ("value", "<f4")])
    tagged["tag"] = _FLOAT_DATA << 3 | _FIXED32
    tagged["value"] = flat
    for item in tagged:
        yield head + item.tobytes()


@contextmanager
def _hdf5(name: str, place: Path) -> Iterator[Put]:
    name = name.replace("/", "_")  # HDF5 would make groups of it, in which Caffe does not look
    with whole_file(place) as partial, h5py.File(partial, "w") as file:

        def put_features(features: np.ndarray) -> None:
            if name not in file:
                shape = features.shape
                file.create_dataset(
                    name, (0, *shape[1:]), np.float32, maxshape=(None, *shape[1:]), chunks=shape
                )
            dataset = file[name]
            end = len(dataset) + len(features)
            dataset.resize(end, axis=0)
            dataset[end - len(features) :] = features

        yield put_features
