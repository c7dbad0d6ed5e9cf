"""convert_imageset, compute_image_mean and parse_log, beside BVLC's programs."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import plyvel
import pytest
from bvlc import Build
from programs import assert_mistake_within, program
from test_commands_bvlc import FILES

from caffetools.programs.parse_log import read_log
from recaffe.proto.schema import Datum

LIST = "a.png 3\nsub/a b.png 7\nmissing.png 1\nc.jpg 0\n"
OPTIONS = {
    "plain": (),
    "gray": ("--gray",),
    "gray is off": ("-gray=false",),
    "resized": ("-resize_width", "5", "--resize_height=4"),
    "encoded": ("-encoded",),
    "encoded anew": ("-encoded=true", "-encode_type", "png"),
    "encoded and resized": ("-encode_type=png", "-resize_width=5", "-resize_height=4"),
    "encoded in gray": ("-encode_type=png", "-gray"),
    "leveldb": ("-backend=leveldb", "-resize_width=5", "-resize_height=4"),
    "sizes differ": ("-check_size", "-resize_width=5", "-resize_height=4"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "images/sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (20, 30, 3)), ("sub/a b.png", (8, 8)), ("c.jpg", (9, 7, 3))):
        cv2.imwrite(str(folder / "images" / name), rng.integers(0, 256, shape, np.uint8))
    (folder / "list").write_text(LIST)
    return folder


def entries(folder: Path) -> dict[bytes, bytes]:
    if (folder / "CURRENT").exists():
        database = plyvel.DB(str(folder))
        found = dict(database)
        database.close()
        return found
    with lmdb.open(str(folder), readonly=True, lock=False) as database, database.begin() as view:
        return dict(view.cursor())


def assert_same_image(one, other) -> None:
    pixels = [
        cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        for datum in (one, other)
    ]
    assert np.array_equal(*pixels)
    for datum in (one, other):
        datum.ClearField("data")
    assert one == other


@pytest.mark.oracle
@pytest.mark.parametrize("name", OPTIONS)
def test_database_and_mean_are_bvlcs(bvlc: Build, images: Path, name: str) -> None:
    database = name.replace(" ", "_")
    convert = ("convert_imageset", *OPTIONS[name], "images/", "list", database)
    done = program(images, *convert)
    assert done.returncode == 0, done.stderr
    files = {"images": images / "images", "list": images / "list"}
    with bvlc.workplace(files) as place:
        place.run([*convert])
        found, wanted = entries(images / database), entries(place.path / database)
        assert list(found) == list(wanted)
        if "-encode_type" in OPTIONS[name] or "-encode_type=png" in OPTIONS[name]:
            # Two versions of libpng need not compress alike.
            for one, other in zip(found.values(), wanted.values(), strict=True):
                assert_same_image(Datum.FromString(one), Datum.FromString(other))
        else:
            assert list(found.values()) == list(wanted.values())
        if name in ("resized", "leveldb"):
            backend = "leveldb" if name == "leveldb" else "lmdb"
            mean = ("compute_image_mean", f"-backend={backend}", database, "mean")
            place.run([*mean])
            assert program(images, *mean).returncode == 0
            theirs = (place.path / "mean").read_bytes()
            assert (images / "mean").read_bytes() == theirs


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["plain", "resized", "encoded", "gray", "leveldb"])
def test_programs_run_on_bvlcs_interpreter_too(bvlc: Build, images: Path, name: str) -> None:
    """The packages there are those of 2020, and write the same."""
    files = {"images": images / "images", "list": images / "list"}
    convert = (*OPTIONS[name], "images/", "list")
    backend = "leveldb" if name == "leveldb" else "lmdb"
    with bvlc.workplace(files) as place:
        place.run(["convert_imageset", *convert, "theirs"])
        place.module("caffetools.programs", "convert_imageset", *convert, "tools")
        assert entries(place.path / "tools") == entries(place.path / "theirs")
        if name in ("resized", "leveldb"):
            mean = ("compute_image_mean", f"-backend={backend}")
            place.run([*mean, "theirs", "mean"])
            place.module("caffetools.programs", *mean, "tools", "same")
            assert (place.path / "same").read_bytes() == (place.path / "mean").read_bytes()


@pytest.mark.parametrize(
    "run",
    [
        ("convert_imageset",),
        ("convert_imageset", "images/", "no list", "new"),
        ("convert_imageset", "-bogus", "images/", "list", "new"),
        ("convert_imageset", "-check_size", "images/", "list", "new"),
        ("convert_imageset", "images/", "list", "images"),
        ("compute_image_mean", "no database", "new"),
        ("compute_image_mean", "-backend=leveldb", "images", "new"),
        ("convert_imageset", "-resize_width=-1", "images/", "list", "new"),
        ("convert_imageset", "-encode_type=bogus", "images/", "list", "new"),
        ("convert_imageset", "-backend=bogus", "images/", "list", "new"),
        ("convert_imageset", "images/", "long", "new"),
        ("parse_log", "no log", "new"),
        ("parse_log", "list", "new"),
        ("parse_log", "list", "new", "-delimiter=ab"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_without_a_traceback(images: Path, run: tuple[str, ...]) -> None:
    deep = "/".join(["sub", ".."] * 150)
    (images / "long").write_text(f"{deep}/a.png 0\n")
    assert_mistake_within(images, "", *run)
    assert not (images / "new").exists()


LOG = """\
I1124 03:00:00.000000  1234 solver.cpp:289] Solving small
I1124 03:00:01.000000  1234 solver.cpp:347] Iteration 0, Testing net (#0)
I1124 03:00:01.500000  1234 solver.cpp:414]     Test net output #0: acc = 0.25
I1124 03:00:02.000000  1234 solver.cpp:239] Iteration 0 (0 iter/s, 2s/2 iters), loss = 0.7
I1124 03:00:02.250000  1234 solver.cpp:258]     Train net output #0: loss = 0.7 (* 1 = 0.7 loss)
I1124 03:00:02.500000  1234 sgd_solver.cpp:112] Iteration 0, lr = 0.1
I1124 03:00:03.000000  1234 solver.cpp:239] Iteration 2 (2 iter/s, 1s/2 iters), loss = 6e-05
I1124 03:00:03.250000  1234 solver.cpp:258]     Train net output #0: loss = 6e-05 (* 1 = 6e-05 loss)
I1124 03:00:03.500000  1234 sgd_solver.cpp:112] Iteration 2, lr = 0.05
"""


def test_a_log_becomes_two_tables(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LOG)
    assert program(tmp_path, "parse_log", "a.log", "out").returncode == 0
    with (tmp_path / "out/a.log.train").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row.values()) for row in rows] == [
        ["0", "2.25", "0.1", "0.7"],
        ["2", "3.25", "0.05", "6e-05"],
    ]
    assert list(rows[0]) == ["NumIters", "Seconds", "LearningRate", "loss"]
    test = read_log(LOG.splitlines())["Test"]
    assert (test[0]["acc"], test[0]["Seconds"], test[0]["LearningRate"]) == (0.25, 1.5, 0.1)


def test_seconds_go_on_over_new_year() -> None:
    late = LOG.replace("I1124", "I1231").splitlines()
    late[-3:] = [line.replace("I1231 03", "I0101 01") for line in late[-3:]]
    assert read_log(late)["Train"][2]["Seconds"] == 22 * 3600 + 3.25


@pytest.mark.oracle
def test_the_log_of_bvlcs_training_becomes_the_tables_of_ours(bvlc: Build, tmp_path: Path) -> None:
    """Both builds' tables of the same training, by the program on both interpreters."""
    run = ("train", "-solver", "solver.prototxt")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    train = [sys.executable, "-m", "caffe", *run]
    # caffetools, imported for other tests, may have silenced the log.
    loud = {**os.environ, "GLOG_minloglevel": "0"}
    mine = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=True, env=loud)
    (tmp_path / "a.log").write_text(mine.stderr)
    assert program(tmp_path, "parse_log", "a.log", "out").returncode == 0
    with bvlc.workplace(FILES) as place:
        theirs = place.run(["caffe", *run], environment={"GLOG_minloglevel": "0"})
        place.put("a.log", theirs.stderr)
        place.module("caffetools.programs", "parse_log", "a.log", "out")
        for kind in ("train", "test"):
            one, other = (table(path / f"out/a.log.{kind}") for path in (tmp_path, place.path))
            assert len(one) == 3
            assert list(one[0]) == list(other[0])
            for row, wanted in zip(one, other, strict=True):
                for column in set(row) - {"Seconds"}:
                    assert float(row[column]) == pytest.approx(float(wanted[column]), rel=1e-4)
                assert float(wanted["Seconds"]) >= 0


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))
