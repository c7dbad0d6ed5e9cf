"""convert_imageset, compute_image_mean and parse_log, beside BVLC's programs."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from bvlc import Build

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


def ours(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "caffetools.programs", name, *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True)


def entries(folder: Path) -> dict[bytes, bytes]:
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
    convert = (*OPTIONS[name], "images/", "list", database)
    done = ours(images, "convert_imageset", *convert)
    assert done.returncode == 0, done.stderr
    files = {"images": images / "images", "list": images / "list"}
    with bvlc.workplace(files) as place:
        place.run(["convert_imageset", *convert])
        found, wanted = entries(images / database), entries(place.path / database)
        assert list(found) == list(wanted)
        if "-encode_type" in OPTIONS[name] or "-encode_type=png" in OPTIONS[name]:
            # Two versions of libpng need not compress alike.
            for one, other in zip(found.values(), wanted.values(), strict=True):
                assert_same_image(Datum.FromString(one), Datum.FromString(other))
        else:
            assert list(found.values()) == list(wanted.values())
        if name == "resized":
            place.run(["compute_image_mean", database, "mean"])
            assert ours(images, "compute_image_mean", database, "mean").returncode == 0
            theirs = (place.path / "mean").read_bytes()
            assert (images / "mean").read_bytes() == theirs


@pytest.mark.parametrize(
    "run",
    [
        ("convert_imageset",),
        ("convert_imageset", "images/", "no list", "new"),
        ("convert_imageset", "-bogus", "images/", "list", "new"),
        ("convert_imageset", "-check_size", "images/", "list", "new"),
        ("convert_imageset", "images/", "list", "images"),
        ("compute_image_mean", "no database", "new"),
        ("parse_log", "no log", "new"),
        ("parse_log", "list", "new"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_without_a_traceback(images: Path, run: tuple[str, ...]) -> None:
    done = ours(images, *run)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "rror" in done.stderr.splitlines()[-1].lower()
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
    assert ours(tmp_path, "parse_log", "a.log", "out").returncode == 0
    with (tmp_path / "out/a.log.train").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [list(row.values()) for row in rows] == [
        ["0", "2.25", "0.1", "0.7"],
        ["2", "3.25", "0.05", "6e-05"],
    ]
    assert list(rows[0]) == ["NumIters", "Seconds", "LearningRate", "loss"]
    test = read_log(LOG.splitlines())["Test"]
    assert (test[0]["acc"], test[0]["Seconds"]) == (0.25, 1.5)
