"""The command that judges detections: its tables, and what it says of mistakes in its inputs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import scenery

from caffetools.cli import ToolError
from caffetools.detection import evaluate
from caffetools.detection.detections import Detection
from caffetools.detection.manifest import Box, Picture

CAT = Box("cat", (0, 0, 49, 49), source="a.xml:7")
DOG = Box("dog", (60, 60, 79, 79), source="a.xml:12")
FAR = Box("dog", (100, 0, 199, 99), source="b.xml:3")
HARD = Box("cat", (0, 0, 19, 19), difficult=True)
PICTURES = [
    Picture("a.png", (CAT, DOG), "test", width=200, height=100),
    Picture("b.png", (FAR, HARD), "test", width=200, height=100),
    Picture("empty.png", (), "test", width=200, height=100),
    Picture("other.png", (CAT,), "train", width=200, height=100),
    Picture("bad.png", (CAT,), "test", width=200, height=100, dropped="cannot be decoded"),
]
FOUND = [
    Detection("a.png", "cat", 0.9, (0, 0, 49, 49)),  # right
    Detection("b.png", "cat", 0.8, (0, 0, 19, 19)),  # on a difficult one
    Detection("a.png", "dog", 0.7, (0, 0, 39, 49)),  # on a cat
    Detection("b.png", "dog", 0.6, (100, 0, 199, 99)),  # right
    Detection("a.png", "cat", 0.2, (60, 60, 79, 79)),  # on a dog, behind the first of one cat
]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def run(folder: Path, pictures=PICTURES, found=FOUND, classes=scenery.CLASSES, options=()) -> Path:
    paths = map(str, scenery.write(folder, pictures, found, classes))
    names = ("--manifest", "--detections", "--classes")
    given = [word for pair in zip(names, paths, strict=True) for word in pair]
    output = folder / "evaluation"
    evaluate.main([*given, "--split", "test", "--output", str(output), *options])
    return output


def test_what_is_written_of_two_images(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    output = run(tmp_path)
    assert sorted(path.name for path in output.iterdir()) == [
        "classes.csv", "curves.csv", "false_positives.csv", "judged.csv", "metrics.json",
        "missed.csv", "scores.csv",
    ]  # fmt: skip
    metrics = json.loads((output / "metrics.json").read_text())
    # cat: 1 of 1 found before anything false. dog: false, right, of 2: 1/2 of recall at 1/2.
    assert metrics["area"] == metrics["mAP"] == pytest.approx((1 + 1 / 4) / 2)
    # Recalls 0 to 0.5 of the dog's reach 1/2.
    assert metrics["voc07"] == pytest.approx((1 + 6 / 11 / 2) / 2)
    assert metrics["without_objects"] == ["cow"]
    assert "no objects, left out of the mean: cow" in caplog.text
    assert (metrics["images"], metrics["split"], metrics["iou"]) == (3, "test", 0.5)
    # From 0.9 on 2 / (1 + 3), from 0.6 on 4 / (3 + 3), in the end 4 / (4 + 3).
    point = metrics["operating_point"]
    assert point == {
        "score": 0.6, "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }  # fmt: skip
    assert metrics["coco"]["AP50"] == pytest.approx((1 + 51 / 101 / 2) / 2)
    nothing = {"objects": 0, "missed": 0}
    assert metrics["missed_by_size"]["pixels"] == {
        "small": {"objects": 1, "missed": 1},  # DOG, 20 x 20
        "medium": {"objects": 1, "missed": 0},  # CAT, 50 x 50
        "large": {"objects": 1, "missed": 0},  # FAR, 100 x 100
    }
    assert metrics["missed_by_size"]["share_of_image"] == {
        "small": nothing,
        "medium": {"objects": 1, "missed": 1},  # DOG, 400 of 20,000
        "large": {"objects": 2, "missed": 0},
    }


def test_the_tables_of_two_images(tmp_path: Path):
    output = run(tmp_path)
    cat, cow, dog = table(output / "classes.csv")
    assert (cat["objects"], cat["difficult"], cat["detections"]) == ("1", "1", "3")
    assert (cow["objects"], cow["area"], cow["voc07"], cow["coco_ap"]) == ("0", "", "", "")
    assert (dog["first"], dog["first_right"], dog["similar"], dog["missed"]) == ("2", "1", "1", "1")
    assert [list(row.values()) for row in table(output / "curves.csv")] == [
        ["cat", "1.000000", "1.000000", "0.900000"],
        ["cat", "1.000000", "0.500000", "0.200000"],
        ["dog", "0.000000", "0.000000", "0.700000"],
        ["dog", "0.500000", "0.500000", "0.600000"],
    ]
    assert [list(row.values()) for row in table(output / "false_positives.csv")] == [
        ["dog", "1", "0.700000", "similar", "a.png", "0.00", "0.00", "39.00", "49.00"]
    ]
    judged = table(output / "judged.csv")
    assert [(row["class"], row["score"], row["verdict"]) for row in judged] == [
        ("cat", "0.900000", "right"),
        ("cat", "0.800000", "ignored"),
        ("dog", "0.700000", "wrong"),
        ("dog", "0.600000", "right"),
    ]
    assert [list(row.values()) for row in table(output / "missed.csv")] == [
        ["a.png", "dog", "small", "medium", "60.00", "60.00", "79.00", "79.00", "a.xml:12"]
    ]
    # Of a: one right, one false, one missed: F1 2 / (2 + 2), margin (0.9 - 0.7) / 3. In the empty
    # image nothing was to be done, and nothing was; b's right one puts it before.
    assert [list(row.values()) for row in table(output / "scores.csv")] == [
        ["b.png", "1.000000", "0.600000", "1", "0", "0"],
        ["empty.png", "1.000000", "0.000000", "0", "0", "0"],
        ["a.png", "0.500000", "0.066667", "1", "1", "1"],
    ]


def test_options_change_what_they_say(tmp_path: Path):
    (tmp_path / "similar.txt").write_text("cat, cow\n")
    output = run(
        tmp_path,
        options=[
            "--metric",
            "voc07",
            "--score",
            "0.95",
            "--similar",
            str(tmp_path / "similar.txt"),
        ],
    )
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["mAP"] == metrics["voc07"]
    assert metrics["operating_point"] == {"score": 0.95, "precision": 0, "recall": 0, "f1": 0}
    assert len(table(output / "missed.csv")) == 3
    assert table(output / "judged.csv") == []
    assert [row["kind"] for row in table(output / "false_positives.csv")] == ["other"]
    # 40 of 50 rows are an overlap of 0.8.
    shifted = [Detection("a.png", "cat", 0.9, (0, 0, 49, 39))]
    for iou, area in (("0.8", 1), ("0.81", 0)):
        output = run(tmp_path, found=shifted, options=["--iou", iou])
        assert float(table(output / "classes.csv")[0]["area"]) == area


def test_without_detections_everything_is_missed(tmp_path: Path):
    output = run(tmp_path, found=[])
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["mAP"] == metrics["voc07"] == metrics["coco"]["AP"] == 0
    assert metrics["operating_point"]["recall"] == 0
    assert len(table(output / "missed.csv")) == 3
    assert table(output / "curves.csv") == []


def test_without_objects_nothing_is_known(tmp_path: Path):
    output = run(
        tmp_path, pictures=[PICTURES[2]], found=[Detection("empty.png", "cat", 0.5, (0,) * 4)]
    )
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["mAP"] is None
    assert metrics["without_objects"] == scenery.CLASSES
    assert table(output / "scores.csv")[0]["wrong"] == "1"


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path):
    pictures, found = scenery.random_scene(3, difficult=0.2)
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        output = run(tmp_path / name, pictures, found)
        written.append({path.name: path.read_bytes() for path in output.iterdir()})
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (Detection("a.png", "cats", 0.5, (0, 0, 1, 1)), "expected a class of .*, found 'cats'"),
        (Detection("a.png", "__background__", 0.5, (0, 0, 1, 1)), "found '__background__'"),
        (Detection("none.png", "cat", 0.5, (0, 0, 1, 1)), "an image of split test .* none.png"),
        (Detection("other.png", "cat", 0.5, (0, 0, 1, 1)), "an image of split test .* other.png"),
        (Detection("bad.png", "cat", 0.5, (0, 0, 1, 1)), "an image of split test .* bad.png"),
        (Detection("a.png", "cat", float("nan"), (0, 0, 1, 1)), "a number as the score, found nan"),
        (Detection("a.png", "cat", 0.5, (5, 0, 1, 1)), "expected corners .* found 5,0,1,1"),
        (Detection("a.png", "cat", 0.5, (0, 0, float("nan"), 1)), "found 0,0,nan,1"),
        (Detection("a.png", "cat", 0.5, (0, float("-inf"), 1, 1)), "found 0,-inf,1,1"),
        (Detection("a.png", "cat", 0.5, (0, 0, 1e9, 1)), "found 0,0,1e.09,1"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(row: Detection, sentence: str, tmp_path: Path):
    with pytest.raises(ToolError, match=rf"detections\.csv:7: .*{sentence}"):
        run(tmp_path, found=[*FOUND, row])
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (Picture("n", (CAT._replace(class_name="bird"),), "test", width=9, height=9),
         "a.xml:7: expected a class of .* found 'bird'"),
        (Picture("n", (CAT._replace(corners=(9, 9, 0, 0)),), "test", width=9, height=9),
         "a.xml:7: expected corners .* found 9,9,0,0"),
        (Picture("n", (), "test"), "n: expected the image's width and height, found 0 x 0"),
        (PICTURES[0], "a.png stands there twice"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_judged_is_named(picture: Picture, sentence: str, tmp_path: Path):
    with pytest.raises(ToolError, match=sentence):
        run(tmp_path, pictures=[*PICTURES, picture])


def test_a_box_may_be_narrower_than_a_pixel(tmp_path: Path):
    thin = Picture("n", (CAT._replace(corners=(5, 5, 4.5, 9)),), "test", width=9, height=9)
    output = run(tmp_path, [thin], [Detection("n", "cat", 0.5, (5, 5, 4.5, 9))])
    assert float(table(output / "classes.csv")[0]["area"]) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cat\n", r"classes\.txt:1: expected __background__, found cat"),
        ("", r"classes\.txt:1: expected __background__, found nothing"),
        ("__background__\n", "expected classes behind __background__, found none"),
        ("__background__\ncat\ncat\n", "'cat' stands there twice"),
    ],
)
def test_a_list_of_classes_that_is_none_is_told(text: str, sentence: str, tmp_path: Path):
    paths = scenery.write(tmp_path, PICTURES, FOUND)
    paths[2].write_text(text)
    with pytest.raises(ToolError, match=sentence):
        evaluate.main([
            "--manifest", str(paths[0]), "--detections", str(paths[1]), "--classes", str(paths[2]),
            "--split", "test", "--output", str(tmp_path / "out"),
        ])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--split", "val"],
            "expected images of split 'val', found none; its splits are 'test', 'tr",
        ),
        (["--iou", "0"], "--iou: expected a number above 0, at most 1, found 0"),
        (["--iou", "nan"], "--iou: .*found nan"),
        (["--score", "nan"], "--score: expected a number, found nan"),
    ],
)
def test_an_option_that_means_nothing_is_told(options, sentence: str, tmp_path: Path):
    with pytest.raises(ToolError, match=sentence):
        run(tmp_path, options=options)


def test_a_similar_class_that_is_none_is_named(tmp_path: Path):
    (tmp_path / "similar.txt").write_text("cat,dog\ncow, bird\n")
    with pytest.raises(ToolError, match=r"similar\.txt:2: expected names of classes.*'bird'"):
        run(tmp_path, options=["--similar", str(tmp_path / "similar.txt")])
