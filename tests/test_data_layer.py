"""The Data layer: batches from an LMDB, equal to BVLC's, and records it cannot use."""

from __future__ import annotations

import gc
import random
import threading
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from bvlc import Build
from recipes import write_lmdb

import caffe
from caffe.proto import caffe_pb2
from recaffe.errors import DataError, FormatError, LayerError, NetError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 10), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5])

NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "{source}" batch_size: {batch_size} backend: LMDB }}
  transform_param {{ {transform} }} }}
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_lmdb(tmp_path / "lmdb", IMAGES, LABELS))


def net_text(source: str, transform: str = "", batch_size: int = 3) -> str:
    return NET.format(source=source, transform=transform, batch_size=batch_size)


def make_net(folder: Path, text: str, phase: int = caffe.TEST) -> caffe.Net:
    (folder / "net.prototxt").write_text(text)
    return caffe.Net(str(folder / "net.prototxt"), phase)


def batches(net: caffe.Net, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The next ``count`` batches, as one."""
    images, labels = [], []
    for _ in range(count):
        net.forward()
        images.append(net.blobs["data"].data.copy())
        labels.append(net.blobs["label"].data.copy())
    return np.concatenate(images), np.concatenate(labels)


def write_records(folder: Path, records: list[Any]) -> str:
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
        for index, record in enumerate(records):
            value = record if isinstance(record, bytes) else record.SerializeToString()
            transaction.put(b"%08d" % index, value)
    return str(folder)


# --- batches --------------------------------------------------------------------------


def test_batches_in_key_order_and_around_the_end(tmp_path: Path, source: str) -> None:
    net = make_net(tmp_path, net_text(source))
    assert net.blobs["data"].data.shape == (3, 3, 8, 10)
    assert net.blobs["label"].data.shape == (3,)
    images, labels = batches(net, 4)
    order = np.arange(12) % 5
    np.testing.assert_array_equal(images, IMAGES[order].astype(np.float32), strict=True)
    np.testing.assert_array_equal(labels, LABELS[order].astype(np.float32), strict=True)


def test_a_batch_larger_than_the_lmdb(tmp_path: Path, source: str) -> None:
    images, labels = batches(make_net(tmp_path, net_text(source, batch_size=12)), 1)
    np.testing.assert_array_equal(images, IMAGES[np.arange(12) % 5])
    assert labels.tolist() == LABELS[np.arange(12) % 5].tolist()


def test_without_labels(tmp_path: Path, source: str) -> None:
    net = make_net(tmp_path, net_text(source).replace('top: "label"', ""))
    assert list(net.blobs) == ["data"]
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data, IMAGES[:3])


def test_two_nets_on_one_lmdb(tmp_path: Path, source: str) -> None:
    one, other = (make_net(tmp_path, net_text(source)) for _ in range(2))
    batches(one, 2)
    _, labels = batches(other, 1)
    assert labels.tolist() == LABELS[:3].tolist()
    _, labels = batches(one, 1)
    assert labels.tolist() == LABELS[[1, 2, 3]].tolist()


def test_random_crops_follow_the_seed(tmp_path: Path, source: str) -> None:
    def crops(seed: int) -> bytes:
        caffe.set_random_seed(seed)
        net = make_net(tmp_path, net_text(source, "crop_size: 4 mirror: true"), caffe.TRAIN)
        return batches(net, 3)[0].tobytes()

    assert crops(1) == crops(1)
    assert crops(1) != crops(2)


def test_the_thread_ends_with_the_net(tmp_path: Path, source: str) -> None:
    before = set(threading.enumerate())
    net = make_net(tmp_path, net_text(source))
    net.forward()
    (thread,) = set(threading.enumerate()) - before
    del net
    gc.collect()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_encoded_images(tmp_path: Path) -> None:
    encoded = [
        caffe_pb2.Datum(
            encoded=True,
            label=int(label),
            data=cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes(),
        )
        for image, label in zip(IMAGES, LABELS, strict=True)
    ]
    source = write_records(tmp_path / "lmdb", encoded)
    images, labels = batches(make_net(tmp_path, net_text(source, "force_color: true")), 1)
    np.testing.assert_array_equal(images, IMAGES[:3])
    assert labels.tolist() == LABELS[:3].tolist()
    images, _ = batches(make_net(tmp_path, net_text(source, "force_gray: true")), 1)
    assert images.shape == (3, 1, 8, 10)


def test_float_records(tmp_path: Path) -> None:
    values = IMAGES.astype(np.float32) / 3
    records = [caffe.io.array_to_datum(image, 7) for image in values]
    source = write_records(tmp_path / "lmdb", records)
    images, labels = batches(make_net(tmp_path, net_text(source, "scale: 3")), 1)
    np.testing.assert_array_equal(images, values[:3] * np.float32(3))
    assert labels.tolist() == [7, 7, 7]


def test_images_of_several_sizes_with_a_crop(tmp_path: Path) -> None:
    images = [IMAGES[0], IMAGES[1, :, :6, :7], IMAGES[2, :, :4]]
    source = write_records(tmp_path / "l", [caffe.io.array_to_datum(image) for image in images])
    cropped, _ = batches(make_net(tmp_path, net_text(source, "crop_size: 4")), 1)
    expected = [images[0][:, 2:6, 3:7], images[1][:, 1:5, 1:5], images[2][:, :, 3:7]]
    np.testing.assert_array_equal(cropped, np.stack(expected))


# --- what cannot be used --------------------------------------------------------------

GOOD = caffe.io.array_to_datum(IMAGES[0], 1)


@pytest.mark.parametrize(
    ("bad", "transform", "said"),
    [
        (caffe.io.array_to_datum(IMAGES[0, :, :7]), "", r"an image of \(3, 7, 10\), the batch"),
        (caffe.io.array_to_datum(IMAGES[0, :1]), "crop_size: 4", r"an image of \(1, 8, 10\)"),
        (caffe.io.array_to_datum(IMAGES[0, :, :3]), "crop_size: 4", "is larger than the images"),
        (caffe_pb2.Datum(channels=3, height=8, width=10, data=b"x"), "", "cannot hold 1 values"),
        (caffe_pb2.Datum(encoded=True, data=b"x"), "", "does not decode"),
        (b"\x0a", "", "expected a Datum"),
        (b"", "", "cannot hold 0 values"),
    ],
)
def test_a_bad_record_in_the_middle_is_named(
    tmp_path: Path, bad: Any, transform: str, said: str
) -> None:
    source = write_records(tmp_path / "lmdb", [GOOD, bad, GOOD])
    net = make_net(tmp_path, net_text(source, transform))
    with pytest.raises(DataError, match=f"lmdb, key 00000001.*{said}"):
        net.forward()
    with pytest.raises(DataError, match="key 00000001"):
        net.forward()


def test_a_bad_first_record_is_named_when_the_net_is_built(tmp_path: Path) -> None:
    source = write_records(tmp_path / "lmdb", [b"\x0a"])
    with pytest.raises(NetError, match=r"layer 'data' \(Data\): .*lmdb, key 00000000: expected a"):
        make_net(tmp_path, net_text(source))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("backend: LMDB", ""), "expected a LevelDB .* an LMDB: say backend: LMDB"),
        (("batch_size: 3", "batch_size: 0"), "batch_size must be at least 1"),
        (("backend: LMDB", "backend: LMDB prefetch: 0"), "prefetch must be at least 1"),
        (("lmdb", "elsewhere"), "elsewhere: expected an LMDB .* found no such folder"),
        (("transform_param { ", "transform_param { crop_size: 9 "), "crop_size 9 is larger"),
        (("transform_param { ", "transform_param { mean_file: 'm' "), "m: no such file"),
    ],
)
def test_parameters_that_do_not_fit(
    tmp_path: Path, source: str, change: tuple[str, str], said: str
) -> None:
    text = net_text(source).replace(*change)
    with pytest.raises(LayerError, match=rf"^layer 'data' \(Data\): .*{said}"):
        make_net(tmp_path, text)


def test_a_mean_file_that_is_cut_short(tmp_path: Path, source: str) -> None:
    mean = caffe.io.array_to_blobproto(np.zeros((1, 3, 8, 10))).SerializeToString()
    (tmp_path / "mean").write_bytes(mean[:-20])
    with pytest.raises((LayerError, FormatError), match="mean: not a whole BlobProto"):
        make_net(tmp_path, net_text(source, f"mean_file: '{tmp_path}/mean'"))


def test_fields_that_caffe_skips_are_told_of(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = net_text(source).replace(
        "batch_size", "rand_skip: 3 crop_size: 2 mirror: false batch_size"
    )
    images, _ = batches(make_net(tmp_path, text), 1)
    np.testing.assert_array_equal(images, IMAGES[:3])
    assert "rand_skip, crop_size, mirror of DataParameter has no effect" in caplog.text


def test_damaged_records_are_named_or_read(tmp_path: Path) -> None:
    draw = random.Random(0)
    good = [kind(image, 1) for kind in RECORDS.values() for image in IMAGES[:2]]
    refused = 0
    for round_ in range(150):
        damaged = bytearray(draw.choice(good).SerializeToString())
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(damaged)) :]
        for _ in range(draw.choice([1, 3, 20])):
            if damaged:
                damaged[draw.randrange(min(len(damaged), draw.choice([20, 10**6])))] = (
                    draw.randrange(256)
                )
        source = write_records(tmp_path / f"l{round_}", [GOOD, bytes(damaged)])
        net = make_net(tmp_path, net_text(source, batch_size=2))
        try:
            net.forward()
        except DataError as error:
            assert f"l{round_}, key 00000001: " in str(error)  # noqa: PT017
            refused += 1
    assert 30 < refused < 150


# --- against BVLC ---------------------------------------------------------------------

ASK = """
import caffe, numpy as np
net = caffe.Net("net.prototxt", caffe.TEST)
images, labels = [], []
for _ in range(4):
    net.forward()
    images.append(net.blobs["data"].data.copy())
    labels.append(net.blobs["label"].data.copy())
np.save("images.npy", np.concatenate(images))
np.save("labels.npy", np.concatenate(labels))
"""
MEAN = np.random.default_rng(1).uniform(0, 256, (1, 3, 8, 10)).astype(np.float32)


def encoded(image: np.ndarray, label: int, extension: str) -> Any:
    data = cv2.imencode(extension, image.transpose(1, 2, 0))[1].tobytes()
    return caffe_pb2.Datum(data=data, encoded=True, label=label)


RECORDS = {
    "bytes": lambda image, label: caffe.io.array_to_datum(image, label),
    "floats": lambda image, label: caffe.io.array_to_datum(image / np.float32(3), label),
    "png": lambda image, label: encoded(image, label, ".png"),
    "jpeg": lambda image, label: encoded(image, label, ".jpg"),
}
MEAN_AND_CROP = "mean_file: 'mean' crop_size: 5 scale: 0.0078125"


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("kind", "transform"),
    [
        ("bytes", ""),
        ("bytes", "scale: 0.00390625"),
        ("bytes", "mean_file: 'mean'"),
        ("bytes", "crop_size: 5"),
        ("bytes", MEAN_AND_CROP),
        ("bytes", "mean_value: 104 mean_value: 117 mean_value: 123 crop_size: 8 scale: 0.5"),
        ("bytes", "mean_value: 100.5"),
        ("floats", ""),
        ("floats", MEAN_AND_CROP),
        ("png", ""),
        ("png", MEAN_AND_CROP),
        ("png", "force_color: true crop_size: 5"),
        ("png", "force_gray: true scale: 2"),
        ("jpeg", "force_color: true"),
    ],
)
def test_batches_are_bvlcs(
    bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, transform: str
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [
        RECORDS[kind](image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)
    ]
    write_records(tmp_path / "lmdb", records)
    Path("mean").write_bytes(caffe.io.array_to_blobproto(MEAN).SerializeToString())
    text = net_text("lmdb", transform)
    answer = bvlc.python(
        ASK,
        files={"net.prototxt": text, "lmdb": tmp_path / "lmdb", "mean": tmp_path / "mean"},
        fetch=["images.npy", "labels.npy"],
    )
    for name, content in answer.files.items():
        Path(name).write_bytes(content)
    images, labels = batches(make_net(tmp_path, text), 4)
    expected = np.load("images.npy")
    if kind == "jpeg":  # two versions of libjpeg may differ by one step
        np.testing.assert_allclose(images, expected, atol=1)
    else:
        np.testing.assert_array_equal(images, expected, strict=True)
    np.testing.assert_array_equal(labels, np.load("labels.npy"), strict=True)


DRAWS = """
import caffe, numpy as np
net = caffe.Net("net.prototxt", caffe.TRAIN)
net.forward()
np.save("images.npy", net.blobs["data"].data)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_what_is_drawn_is_drawn_from_bvlcs_results(
    bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: int
) -> None:
    """All crops and mirrors of one image, with its mean, are seen on both sides."""
    monkeypatch.chdir(tmp_path)
    image, mean = IMAGES[0, :, :4, :5], MEAN[:, :, :4, :5]
    write_records(tmp_path / "lmdb", [caffe.io.array_to_datum(image)])
    Path("mean").write_bytes(caffe.io.array_to_blobproto(mean).SerializeToString())
    text = net_text("lmdb", "mean_file: 'mean' scale: 0.5 crop_size: 3 mirror: true", 400)
    answer = bvlc.python(
        DRAWS.replace("caffe.TRAIN", str(phase)),
        files={"net.prototxt": text, "lmdb": tmp_path / "lmdb", "mean": tmp_path / "mean"},
        fetch=["images.npy"],
    )
    Path("images.npy").write_bytes(answer.files["images.npy"])
    theirs = {crop.tobytes() for crop in np.load("images.npy")}
    caffe.set_random_seed(0)
    ours = {crop.tobytes() for crop in batches(make_net(tmp_path, text, phase), 1)[0]}
    assert ours == theirs
    assert len(ours) == (12 if phase == caffe.TRAIN else 2)


ENDS = """
import caffe, sys
net = caffe.Net("net.prototxt", caffe.TEST)
net.forward()
"""


@pytest.mark.oracle
@pytest.mark.parametrize(
    "transform",
    [
        "crop_size: 9",
        "mean_value: 1 mean_value: 2",
        "mean_value: 1 mean_file: 'mean'",
        "mean_file: 'small'",
        "mean_file: 'none'",
    ],
)
def test_what_bvlc_refuses_is_refused(
    bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transform: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "lmdb", [GOOD])
    Path("mean").write_bytes(caffe.io.array_to_blobproto(MEAN).SerializeToString())
    small = caffe.io.array_to_blobproto(MEAN[:, :, :5])
    Path("small").write_bytes(small.SerializeToString())
    text = net_text("lmdb", transform)
    files = {name: tmp_path / name for name in ("lmdb", "mean", "small")}
    assert bvlc.python(ENDS, files={**files, "net.prototxt": text}, check=False).status < 0
    with pytest.raises(LayerError, match=r"^layer 'data' \(Data\): "):
        make_net(tmp_path, text)
