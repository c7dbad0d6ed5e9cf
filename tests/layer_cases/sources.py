"""Layers that read or make data, or write it to a file, and layers that a user writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import plyvel
from recipes import write_lmdb

from caffe.proto import caffe_pb2
from layer_cases.case import TEST, Case, normal, places

_RANDOM = np.random.default_rng(5)

# -- databases ----------------------------------------------------------------------------

_IMAGES = _RANDOM.integers(0, 256, (5, 2, 3, 4), dtype=np.uint8)
_IMAGE_LABELS = np.array([4, 0, 3, 1, 2])


def _lmdb(folder: Path) -> None:
    write_lmdb(folder / "lmdb", _IMAGES, _IMAGE_LABELS)


def write_leveldb(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    with plyvel.DB(str(folder), create_if_missing=True) as database:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            channels, height, width = image.shape
            datum = caffe_pb2.Datum(
                channels=channels, height=height, width=width, data=image.tobytes(),
                label=int(label),
            )  # fmt: skip
            database.put(b"%08d" % index, datum.SerializeToString())


def _leveldb(folder: Path) -> None:
    write_leveldb(folder / "leveldb", _IMAGES, _IMAGE_LABELS)


# -- image files --------------------------------------------------------------------------

_PHOTOS = [_RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(3)]


def _photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    for name, photo in zip(("a.png", "b c.png", "d.png"), _PHOTOS, strict=True):
        cv2.imwrite(str(folder / "photos" / name), photo)
    (folder / "list").write_text("a.png 7\nb c.png -2\nd.png 12 \n".replace("12 ", "12"))


def _listed(order: Sequence[int], scale: float = 1, means: Sequence[float] = (0, 0, 0)):
    images = np.zeros((len(order), 3, 6, 8))
    for item, c, y, x in places(images.shape):
        images[item, c, y, x] = (float(_PHOTOS[order[item]][y, x, c]) - means[c]) * scale
    return [images, np.array([(7, -2, 12)[index] for index in order])]


def _halved(bottoms, params):
    """Each 2x2 square becomes its mean, rounded."""
    images = np.zeros((2, 3, 3, 4))
    for item, c, y, x in places(images.shape):
        square = _PHOTOS[item][2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c].astype(int)
        images[item, c, y, x] = (square.sum() + 2) // 4
    return [images, np.array([7, -2])]


def _gray_crops(bottoms, params):
    """Gray as libpng weighs the channels, which rounds down; then the middle 4x4."""
    images = np.zeros((1, 1, 4, 4))
    for _, _, y, x in places(images.shape):
        blue, green, red = (int(value) for value in _PHOTOS[0][y + 1, x + 2])
        images[0, 0, y, x] = (blue * 3736 + green * 19235 + red * 9797) >> 15
    return [images, np.array([7])]


# -- windows ------------------------------------------------------------------------------

_SCENE = _RANDOM.integers(0, 256, (30, 40, 3), dtype=np.uint8)
_SCENE_MEAN = _RANDOM.uniform(0, 200, (3, 14, 12)).astype(np.float32)
_OBJECT, _BACKGROUND = (5, 6, 14, 13), (20, 10, 37, 27)  # x1, y1, x2, y2


def write_windows(folder: Path, windows: Sequence[tuple], name: str = "windows") -> None:
    cv2.imwrite(str(folder / "scene.png"), _SCENE)
    lines = [" ".join(map(str, window)) for window in windows]
    (folder / name).write_text(
        "\n".join(["# 0", "scene.png", "3", "30", "40", str(len(lines)), *lines, ""])
    )


def _windows(object_: tuple = _OBJECT, background: tuple = _BACKGROUND):
    def write(folder: Path) -> None:
        # The third is neither.
        rows = [(2, 0.7, *object_), (3, 0.2, *background), (4, 0.5, 1, 1, 2, 2)]
        write_windows(folder, rows)
        blob = caffe_pb2.BlobProto(num=1, channels=3, height=14, width=12)
        blob.data.extend(_SCENE_MEAN.ravel().tolist())
        (folder / "mean").write_bytes(blob.SerializeToString())

    return write


def _square(size, corners, warped=None, at=(0, 0), mean=lambda c, y, x: 0, scale=1.0):
    """Those pixels of the scene, warped, at that row and column of a square of zeros."""
    x1, y1, x2, y2 = corners
    part = cv2.resize(_SCENE[y1 : y2 + 1, x1 : x2 + 1], warped or (size, size))
    out = np.zeros((3, size, size))
    for y, x, c in places(part.shape):
        row, column = y + at[0], x + at[1]
        out[c, row, column] = (float(part[y, x, c]) - mean(c, row, column)) * scale
    return out


def _middle_of_mean(c: int, y: int, x: int) -> float:
    """Of the mean's 12 columns 2 are left of the middle 8, and as many rows are left out."""
    return _SCENE_MEAN[c, y + 2, x + 2]


def _drawn(background, object_, objects=1, backgrounds=2):
    images = [background] * backgrounds + [object_] * objects
    return lambda bottoms, params: [
        np.array(images), np.array([0] * backgrounds + [2] * objects)
    ]  # fmt: skip


_WINDOW_DATA = (
    'type: "WindowData" window_data_param {{ source: "windows" batch_size: 3 fg_fraction: 0.34 '
    "fg_threshold: 0.6 bg_threshold: 0.4 {} }} transform_param {{ crop_size: {} }}"
)

# -- HDF5 ---------------------------------------------------------------------------------

_ROWS = normal(5, 2, 3, seed=1)
_ROW_LABELS = np.array([3, 1, 4, 1, 5])


def write_hdf5(folder: Path) -> None:
    for name, rows in (("one.h5", slice(0, 3)), ("two.h5", slice(3, 5))):
        with h5py.File(folder / name, "w") as file:
            file["t0"] = _ROWS[rows].astype(np.float64)
            file["t1"] = _ROW_LABELS[rows].astype(np.int32)
    (folder / "files").write_text("one.h5\ntwo.h5\n")
    (folder / "file").write_text("one.h5")


def _rows(order: Sequence[int], tops: int = 2):
    order = list(order)
    return lambda bottoms, params: [_ROWS[order], _ROW_LABELS[order]][:tops]


# -- in memory ----------------------------------------------------------------------------

_GIVEN = (normal(4, 2, 1, 3, seed=2), np.array([5, 3, 1, 2], np.float32).reshape(4, 1, 1, 1))

# -- layers that a user writes ------------------------------------------------------------

_USERS = '''
import caffe
import numpy as np


class Affine(caffe.Layer):
    """top = (bottom0 w + bottom1) k, with the parameter w and k given."""

    def setup(self, bottom, top):
        assert len(bottom) == 2 and len(top) == 2
        self.factor = float(self.param_str)
        self.blobs.add_blob(bottom[0].shape[1])

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)
        top[1].reshape(bottom[0].num, 1)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * (
            bottom[0].data * self.blobs[0].data + bottom[1].data
        )
        top[1].data[:, 0] = self.phase

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.factor * top[0].diff * self.blobs[0].data
        if propagate_down[1]:
            bottom[1].diff[...] = self.factor * top[0].diff
        self.blobs[0].diff[...] += self.factor * (top[0].diff * bottom[0].data).sum(axis=0)


class Twice(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.count = 0

    def reshape(self, bottom, top):
        top[0].reshape(2, 2)

    def forward(self, bottom, top):
        self.count += 1
        top[0].data[...] = self.count

    def backward(self, top, propagate_down, bottom):
        pass
'''


def write_users(folder: Path) -> None:
    (folder / "users_layers.py").write_text(_USERS)


def _affine(bottoms, params):
    tops = [np.zeros(bottoms[0].shape), np.full((len(bottoms[0]), 1), TEST)]
    for at in places(bottoms[0].shape):
        tops[0][at] = 1.5 * (bottoms[0][at] * params[0][at[1]] + bottoms[1][at])
    return tops


def _user(layer: str, more: str = "") -> str:
    return f'type: "Python" python_param {{ module: "users_layers" layer: "{layer}" {more} }}'


CASES = [
    Case("input", 'type: "Input" input_param { shape { dim: 2 dim: 3 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros((2, 3))], tops=2),
    Case("inputs", 'type: "Input" input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros(4)], tops=2),
    Case("data", 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 3 }', (),
         lambda bottoms, params: [_IMAGES[:3], _IMAGE_LABELS[:3]], tops=2,
         files=_lmdb),
    Case("data without labels",
         'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 7 } '
         "transform_param { scale: 0.5 mean_value: 10 mean_value: 20 }", (),
         lambda bottoms, params: [
             (np.concatenate([_IMAGES, _IMAGES[:2]]) - np.array([[[10]], [[20]]])) * 0.5],
         files=_lmdb),
    Case("data with fields that Caffe skips",
         'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 3 rand_skip: 4 '
         "scale: 2 crop_size: 2 mirror: true force_encoded_color: true prefetch: 1 }", (),
         lambda bottoms, params: [_IMAGES[:3], _IMAGE_LABELS[:3]], tops=2,
         files=_lmdb),
    Case("data from leveldb", 'type: "Data" data_param { source: "leveldb" batch_size: 7 }', (),
         lambda bottoms, params: [
             np.concatenate([_IMAGES, _IMAGES[:2]]),
             np.concatenate([_IMAGE_LABELS, _IMAGE_LABELS[:2]])], tops=2,
         files=_leveldb),
    Case("image data",
         'type: "ImageData" image_data_param { source: "list" root_folder: "photos/" batch_size: 5 '
         'scale: 3 crop_size: 2 } '
         "transform_param { scale: 0.25 mean_value: 1 mean_value: 2 mean_value: 3 }", (),
         lambda bottoms, params: _listed([0, 1, 2, 0, 1], 0.25, (1, 2, 3)), tops=2,
         files=_photos),
    Case("image data resized",
         'type: "ImageData" image_data_param { source: "list" root_folder: "photos/" '
         "batch_size: 2 new_height: 3 new_width: 4 }", (), _halved, tops=2, files=_photos),
    Case("image data gray",
         'type: "ImageData" image_data_param { source: "list" root_folder: "photos/" '
         "is_color: false rand_skip: 1 } transform_param { crop_size: 4 }", (), _gray_crops,
         tops=2, phase=TEST, files=_photos),
    Case("hdf5 data", 'type: "HDF5Data" hdf5_data_param { source: "files" batch_size: 4 }', (),
         _rows([0, 1, 2, 3]), tops=2, files=write_hdf5),
    Case("hdf5 data around the end",
         'type: "HDF5Data" hdf5_data_param { source: "files" batch_size: 12 }', (),
         _rows([*range(5), *range(5), 0, 1], 1), files=write_hdf5),
    Case("hdf5 data of one file",
         'type: "HDF5Data" hdf5_data_param { source: "file" batch_size: 7 }', (),
         _rows([0, 1, 2, 0, 1, 2, 0]), tops=2, files=write_hdf5),
    Case("hdf5 output",
         'type: "HDF5Output" hdf5_output_param { file_name: "out.h5" }',
         (normal(3, 2), normal(3)), lambda bottoms, params: [], tops=0, files=lambda folder: None,
         differentiable=False),
    Case("memory data",
         'type: "MemoryData" memory_data_param { batch_size: 2 channels: 2 height: 1 width: 3 }',
         (), lambda bottoms, params: [_GIVEN[0][:2], _GIVEN[1][:2]], tops=2, arrays=_GIVEN),
    Case("dummy data",
         'type: "DummyData" dummy_data_param { data_filler { value: 2.5 } '
         'data_filler { type: "uniform" min: 3 max: 3 } shape { dim: 2 dim: 3 } shape { dim: 4 } }',
         (), lambda bottoms, params: [np.full((2, 3), 2.5), np.full(4, 3.0)], tops=2),
    Case("dummy data of old dimensions",
         'type: "DummyData" dummy_data_param { data_filler { type: "constant" value: -1 } '
         "num: 2 num: 3 channels: 4 height: 1 height: 2 width: 5 }",
         (), lambda bottoms, params: [np.full((2, 4, 1, 5), -1.0), np.full((3, 4, 2, 5), -1.0)],
         tops=2),
    Case("dummy data without filler",
         'type: "DummyData" dummy_data_param { shape { dim: 2 dim: 1 } }',
         (), lambda bottoms, params: [np.zeros((2, 1)), np.zeros((2, 1))], tops=2),
    Case("window data", _WINDOW_DATA.format("", 8) , (),
         _drawn(_square(8, _BACKGROUND), _square(8, _OBJECT)), tops=2, files=_windows()),
    Case("window data, cached, with means",
         _WINDOW_DATA.format("cache_images: true scale: 0.5", "8 mean_value: 10 mean_value: 20 "
                             "mean_value: 30 scale: 7"), (),
         _drawn(*(_square(8, corners, mean=lambda c, y, x: 10 * (c + 1), scale=0.5)
                  for corners in (_BACKGROUND, _OBJECT))), tops=2, files=_windows()),
    Case("window data with a mean image",
         _WINDOW_DATA.format("", '8 mean_file: "mean"'), (),
         _drawn(*(_square(8, corners, mean=_middle_of_mean)
                  for corners in (_BACKGROUND, _OBJECT))), tops=2, files=_windows()),
    # The background's 18 by 18 pixels are shown among 36 by 36, both corners counting once more,
    # of which 29 by 29 are within the image: 8 * 29 / 37 = 6.3 of the square's pixels.
    Case("window data with context",
         _WINDOW_DATA.format("context_pad: 2", '8 mean_file: "mean"'), (),
         _drawn(_square(8, (11, 1, 39, 29), (6, 6), (0, 0), _middle_of_mean),
                _square(8, (0, 2, 20, 18), (8, 8), (0, 0), _middle_of_mean)),
         tops=2, files=_windows()),
    # The object's 4 by 6 become -1 .. 7 by -3 .. 9: one column and three rows too many, of 9
    # and 13 that are scaled to 20.
    Case("window data beyond the image's edges",
         _WINDOW_DATA.format("context_pad: 5", 20), (),
         _drawn(_square(20, (11, 1, 39, 29), (16, 16)),
                _square(20, (0, 0, 7, 9), (18, 15), (5, 2))), tops=2,
         files=_windows(object_=(1, 0, 4, 5))),
    Case("window data of squares",
         _WINDOW_DATA.format('crop_mode: "square"', 12), (),
         _drawn(_square(12, (20, 10, 38, 28)), _square(12, (5, 5, 15, 15))), tops=2,
         files=_windows()),
    Case("python", _user("Affine", 'param_str: "1.5"'), (normal(3, 4), normal(3, 4, seed=1)),
         _affine, tops=2, phase=TEST, files=write_users, differentiable=False),
    Case("python source", _user("Counter", "share_in_parallel: true"), (),
         lambda bottoms, params: [np.ones((2, 2))], files=write_users),
    Case("python loss", _user("Twice") + " loss_weight: 3", (normal(2, 3),),
         lambda bottoms, params: [2 * bottoms[0]], files=write_users, differentiable=False),
]  # fmt: skip

MISTAKES = [
    ("Input", "", [], 1, "expected one shape"),
    ("Input", "input_param { shape { dim: 1 } shape { dim: 1 } }", [], 3, "the 3 tops, found 2"),
    ("Data", 'data_param { source: "x" backend: LMDB }', [], 1, "batch_size must be at least 1"),
    ("Data", "", [(1,)], 1, "expected 0 bottom blob.s., found 1"),
    ("Data", "data_param { batch_size: 1 prefetch: 0 }", [], 1, "prefetch must be at least 1"),
    ("Data", "data_param { batch_size: 1 }", [], 3, "expected 1 to 2 top blob.s., found 3"),
    ("ImageData", "image_data_param { batch_size: 0 }", [], 2, "batch_size must be at least 1"),
    ("ImageData", "image_data_param { new_height: 4 }", [], 2, "new_height and new_width"),
    ("ImageData", "image_data_param { new_width: 4 }", [], 2, "new_height and new_width"),
    ("ImageData", "", [], 1, "expected 2 top blob.s., found 1"),
    ("HDF5Data", "transform_param { }", [], 1, "not transformed: leave transform_param out"),
    ("HDF5Data", 'hdf5_data_param { source: "x" }', [], 1, "batch_size must be at least 1"),
    ("HDF5Data", "", [], 0, "found 0"),
    ("HDF5Output", 'hdf5_output_param { file_name: "no/where" }', [(1,), (1,)], 0,
     "cannot write the file_name 'no/where'"),
    ("HDF5Output", 'hdf5_output_param { file_name: "/dev/full" }', [(1,)], 0, "found 1"),
    ("MemoryData", "memory_data_param { batch_size: 1 channels: 1 height: 1 }", [], 2,
     "needs batch_size, channels, height and width"),
    ("DummyData", "", [], 1, "expected shape once, .* found it 0 time"),
    ("DummyData", "dummy_data_param { shape { dim: 1 } shape { dim: 1 } }", [], 3,
     "expected shape once, or once for each of the 3 tops, found it 2 time"),
    ("DummyData", "dummy_data_param { shape { dim: 1 } num: 1 }", [], 1, "either shape or num"),
    ("DummyData", "dummy_data_param { num: 1 channels: 1 height: 1 }", [], 1,
     "expected width once, .* found it 0 time"),
    ("DummyData", "dummy_data_param { shape { dim: 1 } data_filler { } data_filler { } }", [], 3,
     "expected no data_filler, one, .* 3 tops, found 2"),
    ("DummyData", 'dummy_data_param { shape { dim: 1 } data_filler { type: "x" } }', [], 1,
     "unknown filler type 'x'"),
    ("WindowData", "window_data_param { batch_size: 1 }", [], 2, "crop_size must be at least 1"),
    ("WindowData", "transform_param { crop_size: 2 }", [], 2, "batch_size must be at least 1"),
    ("WindowData", "window_data_param { batch_size: 1 context_pad: 4 } "
     "transform_param { crop_size: 8 }", [], 2, "context_pad 4 on each side leaves nothing"),
    ("WindowData", "window_data_param { batch_size: 1 fg_fraction: 1.1 } "
     "transform_param { crop_size: 8 }", [], 2, "fg_fraction must be from 0 to 1, found 1.1"),
    ("Python", 'python_param { module: "no_such_module" layer: "It" }', [], 1,
     "no module 'no_such_module': .* PYTHONPATH"),
    ("Python", 'python_param { layer: "It" }', [], 1, "python_param.module ''"),
    ("Python", 'python_param { module: "json" layer: "It" }', [], 1,
     "expected a class 'It' derived from caffe.Layer .* found None"),
    ("Python", 'python_param { module: "json" layer: "JSONDecoder" }', [], 1,
     "derived from caffe.Layer .* found <class"),
]  # fmt: skip
