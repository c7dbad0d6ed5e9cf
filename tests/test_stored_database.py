"""Databases of Datums as data sets: their records as files, their names as splits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from recipes import write_lmdb
from test_stored_images import bring, index, split_of

from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError

IMAGES = np.random.RandomState(0).randint(0, 256, (12, 3, 6, 5)).astype(np.uint8)
LABELS = np.arange(12) % 3


def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(folder: Path, *datums: caffe_pb2.Datum) -> None:
    folder.mkdir()
    databases.write(folder, ((b"%08d" % i, d.SerializeToString()) for i, d in enumerate(datums)))


def test_splits_are_those_of_the_names_and_pixels_those_of_the_records(tmp_path: Path):
    write_lmdb(source(tmp_path) / "my_train_lmdb", IMAGES[:8], LABELS[:8])
    write_lmdb(source(tmp_path) / "my_test_lmdb", IMAGES[8:], LABELS[8:])
    bring(tmp_path, "database")
    for split, part in (("train", slice(8)), ("test", slice(8, 12))):
        images, labels = split_of(tmp_path, split)
        np.testing.assert_array_equal(images, IMAGES[part].transpose(0, 2, 3, 1))
        assert labels == LABELS[part].tolist()


def test_a_database_itself_tells_no_split(tmp_path: Path):
    write_lmdb(tmp_path / "source", IMAGES[:, :1], LABELS)
    bring(tmp_path, "database")
    images, labels = split_of(tmp_path, "")
    np.testing.assert_array_equal(images, IMAGES[:, 0])
    assert labels == LABELS.tolist()


def test_a_leveldb_too(tmp_path: Path):
    records = (
        (b"%08d" % i, caffe_pb2.Datum(channels=1, height=6, width=5, label=i,
                                      data=IMAGES[i, 0].tobytes()).SerializeToString())
        for i in range(4)
    )  # fmt: skip
    (source(tmp_path) / "val").mkdir()
    databases.write(source(tmp_path) / "val", records, "leveldb")
    bring(tmp_path, "database")
    np.testing.assert_array_equal(split_of(tmp_path, "val")[0], IMAGES[:4, 0])


def test_encoded_records_come_out_byte_by_byte(tmp_path: Path):
    files = [
        cv2.imencode(ending, IMAGES[i].transpose(1, 2, 0))[1].tobytes()
        for i, ending in enumerate((".jpg", ".png"))
    ]
    put(source(tmp_path) / "train",
        *(caffe_pb2.Datum(data=data, encoded=True, label=1) for data in files))  # fmt: skip
    out = bring(tmp_path, "database")
    rows = index(tmp_path)
    assert [Path(row["path"]).suffix for row in rows] == [".jpg", ".png"]
    assert [(out / row["path"]).read_bytes() for row in rows] == files


@pytest.mark.parametrize(
    ("datum", "message"),
    [
        (caffe_pb2.Datum(channels=1, height=2, width=2, data=b"123"), "3 bytes of data.*takes 4"),
        (caffe_pb2.Datum(channels=1, height=2, width=1, float_data=[1, 2]), "train on that"),
        (caffe_pb2.Datum(channels=2, height=1, width=1, data=b"12"), "uint8 values of 2x1x1"),
        (caffe_pb2.Datum(channels=1, height=1, width=1, data=b"1", label=-1), "label from 0 on"),
        (caffe_pb2.Datum(channels=10**9, height=10**9, width=10**9, data=b"1"), "1 bytes of data"),
    ],
)
def test_records_that_are_no_images_of_classes(tmp_path: Path, datum, message: str):
    put(source(tmp_path) / "train", datum)
    with pytest.raises(ToolError, match=rf"train, record 00000000: .*{message}"):
        bring(tmp_path, "database")
    assert not (tmp_path / "images").exists()


def test_records_of_another_kind(tmp_path: Path):
    (source(tmp_path) / "train").mkdir()
    databases.write(source(tmp_path) / "train", [(b"a", b"\xff\xff")])
    with pytest.raises(ToolError, match="record a: expected a Datum, but it"):
        bring(tmp_path, "database")


def test_a_folder_without_a_database(tmp_path: Path):
    (source(tmp_path) / "train").mkdir()
    with pytest.raises(ToolError, match=r"expected a folder with data\.mdb"):
        bring(tmp_path, "database")


@pytest.mark.parametrize(
    ("share", "words"), [(0.1, "source/train"), (0.5, "the file ends before its last page")]
)
def test_a_database_that_is_cut_off_is_told_in_a_sentence(tmp_path: Path, share, words: str):
    many = np.repeat(IMAGES, 200, axis=0), np.repeat(LABELS, 200)
    file = write_lmdb(source(tmp_path) / "train", *many) / "data.mdb"
    os.truncate(file, int(share * file.stat().st_size))
    options = ["--output", str(tmp_path / "out"), "--index", str(tmp_path / "index.csv")]
    command = ["-m", "caffetools.stored_images", "database", "--source", str(tmp_path / "source")]
    done = subprocess.run([sys.executable, *command, *options], capture_output=True, text=True)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
