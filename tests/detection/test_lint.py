"""What is found in boxes, which of them are used, and what is told of a whole set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scenes
from PIL import Image
from scenes import HEIGHT, WIDTH, make, put

from caffetools.cli import ToolError
from caffetools.detection import lint, voc
from caffetools.detection.annotated import Annotated, Marked
from caffetools.detection.look import Look
from caffetools.detection.manifest import Box

LOOK = Look(100, 50)
HEADER = "path,class,x1,y1,x2,y2,split\n"
ONLY = ("--train", "rest", "--val", "0", "--test", "0")

# Of an image of 100 by 50: corners, the level and the check, and what is kept of the box.
BOXES = {
    "whole": ((0, 0, 99, 49), None, (0, 0, 99, 49)),
    "one pixel": ((99, 49, 99, 49), None, (99, 49, 99, 49)),
    "fraction": ((0.25, 0, 98.75, 49), None, (0.25, 0, 98.75, 49)),
    "rounding": ((-0.04, 0, 99.05, 49), None, (0, 0, 99, 49)),
    "inverted": ((20, 10, 18, 30), ("error", "inverted"), None),
    "inverted down": ((20, 30, 30, 10), ("error", "inverted"), None),
    "empty": ((20, 10, 19, 30), ("error", "empty"), None),
    "empty down": ((20, 10, 30, 9), ("error", "empty"), None),
    "small": ((20, 10, 19.5, 30), ("warning", "small"), (20, 10, 20, 30)),
    "before by one": ((-1, 10, 30, 30), ("warning", "off by one"), (0, 10, 30, 30)),
    "above by one": ((1, -1, 30, 30), ("warning", "off by one"), (1, 0, 30, 30)),
    "behind by one": ((1, 10, 100, 30), ("warning", "off by one"), (1, 10, 99, 30)),
    "below by one": ((1, 10, 30, 50), ("warning", "off by one"), (1, 10, 30, 49)),
    "before by two": ((-2, 10, 30, 30), ("error", "outside"), None),
    "below by more": ((1, 10, 30, 51.5), ("error", "outside"), None),
    "outside": ((100, 10, 120, 30), ("error", "outside"), None),
    "far outside": ((1e30, 10, 2e30, 30), ("error", "outside"), None),
    "not a number": ((1, float("nan"), 30, 30), ("error", "number"), None),
    "infinite": ((1, 1, float("inf"), 30), ("error", "number"), None),
}


@pytest.mark.parametrize("kind", BOXES)
def test_each_kind_of_box(kind: str):
    corners, found, kept = BOXES[kind]
    good = Marked("cat", (5, 5, 9, 9), "a.xml:1")
    image = Annotated("a.png", [good, Marked("cat", corners, "a.xml:7", True)], source="a.xml")
    judged = lint.judge(image, LOOK)
    expected = [(*found, "a.xml:7")] if found else []
    assert [(one.level, one.check, one.place) for one in judged.findings] == expected
    boxes = [Box("cat", (5, 5, 9, 9), source="a.xml:1")]
    boxes += [Box("cat", kept, difficult=True, source="a.xml:7")] if kept else []
    assert list(judged.boxes) == boxes
    assert all(one.fix for one in judged.findings)


def test_boxes_over_the_border_are_clipped_if_asked_for_and_those_beyond_are_not():
    marks = [Marked("cat", (-9, 10, 130, 30), "a:1"), Marked("cat", (100, 1, 130, 30), "a:2")]
    judged = lint.judge(Annotated("a", marks), LOOK, clip=True)
    assert [box.corners for box in judged.boxes] == [(0, 10, 99, 30)]
    assert [one.level for one in judged.findings] == ["warning", "error"]


@pytest.mark.parametrize("name", ["", "__background__", "a\nb", "\ud800", "a\0"])
def test_a_name_that_can_be_no_class(name: str):
    judged = lint.judge(Annotated("a", [Marked(name, (1, 1, 2, 2), "a:1")]), LOOK)
    assert [one.check for one in judged.findings] == ["class", "no boxes"]
    assert not judged.boxes


def test_the_same_box_twice_counts_once_and_of_two_classes_twice():
    marks = [Marked(name, (1, 1, 2, 2), f"a:{n}") for n, name in enumerate(["cat", "dog", "cat"])]
    judged = lint.judge(Annotated("a", marks), LOOK)
    assert [box.class_name for box in judged.boxes] == ["cat", "dog"]
    assert [(one.check, one.place) for one in judged.findings] == [("twice", "a:2")]


BOX = [Marked("cat", (1, 1, 2, 2), "a.xml:1")]


@pytest.mark.parametrize(
    ("size", "look", "found"),
    [
        ((100, 50), LOOK, None),
        (None, LOOK, None),
        ((50, 100), Look(100, 50, True, 6), ("error", "rotation")),
        ((50, 100), LOOK, ("error", "size")),
        ((200, 100), LOOK, ("error", "size")),
        ((100, 50), Look(100, 50, True, 6), None),
        ((100, 50), Look(100, 50, False, 3), ("warning", "rotation")),
        (None, Look(100, 50, True, 8), ("warning", "rotation")),
    ],
)
def test_an_annotation_for_an_image_of_another_shape(size, look: Look, found):
    judged = lint.judge(Annotated("a.jpg", BOX, source="a.xml", size=size), look)
    expected = [(*found, "a.xml")] if found else []
    assert [(one.level, one.check, one.place) for one in judged.findings] == expected
    is_error = bool(found) and found[0] == "error"
    assert bool(judged.dropped) == is_error
    assert len(judged.boxes) == (0 if is_error else 1)


def photograph(path: Path, orientation: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.RandomState(orientation).randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(path, exif=exif)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_photograph_that_its_exif_entry_turns(suffix: str, tmp_path: Path):
    source = tmp_path / "source"
    for name, orientation in (("before", 6), ("after", 8), ("upright", 1)):
        photograph(source / f"{name}.{suffix}", orientation)
        size = (HEIGHT, WIDTH) if name == "after" else (WIDTH, HEIGHT)
        document = voc.document(name, size, [Box("cat", (1, 1, 40, 40))])
        put(source / f"{name}.xml", document)
    made = make("voc", source, *ONLY)
    assert made.checks() == [("error", "rotation", "before.xml")]
    sizes = {Path(p.path).stem: (p.width, p.height, bool(p.dropped)) for p in made.pictures}
    assert sizes == {
        "before": (HEIGHT, WIDTH, True),
        "after": (HEIGHT, WIDTH, False),
        "upright": (WIDTH, HEIGHT, False),
    }


# --- all of them ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corners", "first_pixel", "fix"),
    [
        ([(-1, -1, 20, 20), (3, -1, 20, 30), (-1, 4, 62, 46)], 1, "--first-pixel 0"),
        ([(1, 1, 20, 48), (3, 1, 64, 30), (1, 4, 64, 48)], 0, "--first-pixel 1"),
        ([(0, 0, 20, 48), (3, 1, 64, 30), (1, 4, 64, 48)], 0, "subtract 1 from x2 and y2"),
    ],
)
def test_corners_that_are_counted_from_another_pixel_are_told_once(
    corners, first_pixel: int, fix: str, tmp_path: Path
):
    scenes.image(tmp_path / "source" / "a.png")
    lines = [",".join(str(c + first_pixel) for c in box) for box in corners]
    rows = "".join(f"a.png,cat,{line},\n" for line in lines)
    put(tmp_path / "source" / "boxes.csv", HEADER + rows)
    made = make("csv", tmp_path / "source", "--first-pixel", str(first_pixel), *ONLY)
    whole = [one for one in made.findings if one["check"] == "counting"]
    assert [(one["level"], fix in one["fix"]) for one in whole] == [("error", True)]
    assert made.summary["findings"]["warning: off by one"] == 3
    assert len(made.pictures[0].boxes) == 3


def test_two_boxes_off_by_one_tell_nothing_of_the_others():
    assert lint.counting({"before": 2, "behind": 2}, "a", 1) == []


def test_voc_files_that_count_from_zero_are_read_with_first_pixel_0(tmp_path: Path):
    source = tmp_path / "source"
    scenes.image(source / "a.png")
    boxes = [Box("cat", (n - 1, -1, 20, 20)) for n in range(4)]  # written from 0
    put(source / "a.xml", voc.document("a.png", (WIDTH, HEIGHT), boxes))
    assert ("error", "counting", "voc annotations") in make("voc", source, *ONLY).checks()
    made = make("voc", source, "--first-pixel", "0", *ONLY)
    assert made.checks() == []
    assert made.boxes()["a"][0] == ("cat", (0, 0, 21, 21))


def test_unknown_classes_and_classes_without_boxes(tmp_path: Path):
    scenes.write_csv(tmp_path / "source")
    put(tmp_path / "names.txt", "__background__\ndoge\ncat\nbird\n")
    made = make("csv", tmp_path / "source", "--classes", str(tmp_path / "names.txt"))
    errors = [one for one in made.findings if one["level"] == "error"]
    assert [(one["check"], one["place"]) for one in errors] == [
        ("class", "boxes.csv:3"),
        ("class", "boxes.csv:4"),
    ]
    assert "did you mean 'doge'" in errors[0]["found"]
    gaps = [one["found"] for one in made.findings if one["check"] == "classes"]
    assert gaps == ["the class 'doge' has no box", "the class 'bird' has no box"]
    assert (made.output / "classes.txt").read_text() == "__background__\ndoge\ncat\nbird\n"


def test_a_class_that_is_not_in_train(tmp_path: Path):
    scenes.image(tmp_path / "source" / "a.png")
    scenes.image(tmp_path / "source" / "b.png", 1)
    rows = "a.png,cat,1,2,3,4,train\nb.png,dog,1,2,3,4,val\n"
    put(tmp_path / "source" / "boxes.csv", HEADER + rows)
    made = make("csv", tmp_path / "source")
    assert [one["found"] for one in made.findings] == [
        "the class 'dog' has no box in train, so that no net learns it"
    ]


@pytest.mark.parametrize("names", ["", "cat\ncat\n", "cat\n\ndog\n", "cat\n__background__\n"])
def test_a_file_of_classes_that_is_none(names: str, tmp_path: Path):
    scenes.write_csv(tmp_path / "source")
    put(tmp_path / "names.txt", names)
    with pytest.raises(ToolError, match=r"names\.txt: "):
        make("csv", tmp_path / "source", "--classes", str(tmp_path / "names.txt"))


def test_images_in_two_splits_are_told_exact_and_near(tmp_path: Path):
    source = tmp_path / "source"
    scenes.write_csv(source)
    table = source / "boxes.csv"
    (source / "same.png").write_bytes((source / "000.png").read_bytes())
    pixels = cv2.imread(str(source / "001.png"))
    cv2.imwrite(str(source / "near.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    rows = "same.png,cat,1,2,3,4,val\nnear.jpg,cat,1,2,3,4,test\n"
    put(table, table.read_text() + rows)
    made = make("csv", source)
    told = [(one["place"], one["found"]) for one in made.findings if one["check"] == "duplicate"]
    assert told == [
        ("near.jpg", "is in test, and in train as '001.png' (near)"),
        ("same.png", "is in val, and in train as '000.png' (exact)"),
    ]
    lines = (made.output / "duplicates.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "near.jpg", "same.png"]
    assert made.summary["duplicates"] == 2


def test_an_image_without_boxes_is_left_out_unless_it_shall_be_kept(tmp_path: Path):
    scenes.write_voc(tmp_path / "source")
    (tmp_path / "source" / "Annotations" / "000.xml").unlink()
    made = make("voc", tmp_path / "source")
    empty = {p.path: p.dropped for p in made.pictures if not p.boxes}
    assert empty == dict.fromkeys(("JPEGImages/000.png", "JPEGImages/004.png"), "has no boxes")
    assert made.checks() == [
        ("warning", "no boxes", "JPEGImages/000.png"),
        ("warning", "no boxes", "Annotations/004.xml"),
        ("warning", "classes", "voc annotations"),
    ]
    kept = make("voc", tmp_path / "source", "--keep-empty")
    assert [p.split for p in kept.pictures if not p.boxes] == ["train", "test"]
    assert not any(p.dropped for p in kept.pictures)
    assert kept.summary["without_boxes"] == 2


def test_an_image_that_two_files_annotate_is_taken_once(tmp_path: Path):
    scenes.write_coco(tmp_path / "source")
    names = ("annotations/instances_val.json", "val/x.json")
    files = [tmp_path / "source" / name for name in names]
    files[1].write_bytes(files[0].read_bytes())
    made = make("coco", tmp_path / "source", "--annotations", *map(str, files), *ONLY)
    assert ("error", "twice", "val/x.json") in made.checks()
    assert [picture.path for picture in made.pictures] == ["val/002.png"]
    assert made.summary["images"]["train"] == 1  # since one split of all is none


def test_a_broken_image_is_named(tmp_path: Path):
    scenes.write_voc(tmp_path / "source")
    (tmp_path / "source" / "JPEGImages" / "001.png").write_bytes(b"no image")
    made = make("voc", tmp_path / "source")
    assert ("error", "image", "Annotations/001.xml") in made.checks()
    assert "cannot be decoded" in made.pictures[1].dropped


# --- the command ------------------------------------------------------------------------


def bad_row(source: Path) -> None:
    scenes.write_csv(source)
    table = source / "boxes.csv"
    put(table, table.read_text() + "003.png,cat,9,9,1,1,test\n")


def test_strict_ends_at_an_error_and_writes_nothing(tmp_path: Path):
    bad_row(tmp_path / "source")
    with pytest.raises(ToolError, match=r"1 errors .* boxes\.csv:9: expected x1 <= x2"):
        make("csv", tmp_path / "source", "--strict")
    assert not (tmp_path / "out").exists()
    assert make("csv", tmp_path / "source").summary["findings"]["error: inverted"] == 1


def test_the_log_names_a_few_findings_and_counts_the_rest(tmp_path: Path, caplog):
    scenes.image(tmp_path / "source" / "a.png")
    rows = "".join(f"a.png,cat,9,9,{n},1,\n" for n in range(5))
    put(tmp_path / "source" / "boxes.csv", f"{HEADER}a.png,cat,1,2,3,4,\n{rows}")
    make("csv", tmp_path / "source", *ONLY)
    told = [record.message for record in caplog.records if "inverted" in record.message]
    assert len(told) == 4
    assert told[-1] == "error: 5 in all [inverted]; see findings.csv"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--train", "rest"), "expected all three, or none"),
        (("--train", "rest", "--val", "rest", "--test", "0"), "'rest' for one of them at most"),
        (("--train", "x", "--val", "0", "--test", "0"), "--train: expected a number"),
        (
            ("--train", "9", "--val", "0", "--test", "0", "--ignore-splits"),
            "all images: asked for train 9, val 0, test 0",
        ),
        (("--folds", "3", "--fold", "3"), "one of them, from 0 to 2"),
        (("--annotations", "a", "b"), "expected one file or folder"),
        (("--group", "("), "no regular expression"),
    ],
)
def test_mistaken_options_end_in_a_sentence(options, told: str, tmp_path: Path):
    scenes.write_csv(tmp_path / "source")
    with pytest.raises(ToolError, match=told):
        make("csv", tmp_path / "source", *options)


def test_folders_that_are_none_end_in_a_sentence(tmp_path: Path):
    with pytest.raises(ToolError, match="expected a folder of images, found nothing"):
        make("voc", tmp_path / "source")
    (tmp_path / "source").mkdir()
    for format_ in scenes.WRITERS:
        with pytest.raises(ToolError, match="expected"):
            make(format_, tmp_path / "source")
    scenes.write_yolo(tmp_path / "source")
    with pytest.raises(ToolError, match="of voc and csv alone"):
        make("yolo", tmp_path / "source", "--first-pixel", "1")
    with pytest.raises(ToolError, match="lies in the source folder"):
        make("yolo", tmp_path / "source", "--output", str(tmp_path / "source" / "out"))


def test_a_set_without_a_usable_box_ends_in_a_sentence(tmp_path: Path):
    scenes.image(tmp_path / "source" / "a.png")
    put(tmp_path / "source" / "boxes.csv", HEADER + "a.png,cat,9,9,1,1,\n")
    with pytest.raises(ToolError, match=r"none of 1 images .* 'a\.png', has no boxes"):
        make("csv", tmp_path / "source")
    with pytest.raises(ToolError, match="no box can be used"):
        make("csv", tmp_path / "source", "--keep-empty", *ONLY)
