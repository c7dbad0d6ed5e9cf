"""Annotations in VOC's, COCO's and YOLO's form and in a table: what becomes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import scenes
from scenes import HEIGHT, SCENE, WIDTH, make, put

from caffetools.cli import ToolError
from caffetools.detection import coco, voc, yolo
from caffetools.detection.manifest import Box
from caffetools.files import sha256

EXPECTED = {name: [box[:2] for box in boxes] for _, name, boxes in scenes.numbered()}


@pytest.mark.parametrize("format_", scenes.WRITERS)
def test_one_scene_is_the_same_from_each_format(format_: str, tmp_path: Path):
    source = tmp_path / "source"
    scenes.WRITERS[format_](source)
    made = make(format_, source, "--keep-empty")
    assert made.boxes() == EXPECTED
    assert {Path(p.path).stem: p.split for p in made.pictures} == {
        name: split for split, name, _ in scenes.numbered()
    }
    for picture in made.pictures:
        assert (picture.width, picture.height, picture.dropped) == (WIDTH, HEIGHT, "")
        assert picture.sha256 == sha256(source / picture.path)
        assert picture.bytes == (source / picture.path).stat().st_size
    assert (made.output / "classes.txt").read_text() == "__background__\ncat\ndog\n"
    assert [one["check"] for one in made.findings] == ["no boxes"]
    assert made.summary["images"] == {split: len(images) for split, images in SCENE.items()}
    assert made.summary["boxes"]["train"] == {"cat": 1, "dog": 2}
    assert made.summary["boxes"]["test"] == {"cat": 2, "dog": 0}


@pytest.mark.parametrize("format_", scenes.WRITERS)
def test_each_box_names_the_line_that_it_was_read_from(format_: str, tmp_path: Path):
    scenes.WRITERS[format_](tmp_path / "source")
    made = make(format_, tmp_path / "source")
    for picture in made.pictures:
        for box in picture.boxes:
            place = box.source.split(" ")[0]
            file, _, line = place.rpartition(":")
            text = (tmp_path / "source" / file).read_text().split("\n")[int(line) - 1]
            starts = {"voc": "<object>", "coco": "{", "csv": f"{picture.path},{box.class_name},"}
            starts["yolo"] = f"{('dog', 'cat').index(box.class_name)} "
            assert text.strip().startswith(starts[format_]), (place, text)
    first = next(p for p in made.pictures if Path(p.path).stem == "000")
    places = {"voc": "Annotations/000.xml:10", "yolo": "labels/train/000.txt:2"}
    places |= {"csv": "boxes.csv:3", "coco": "annotations/instances_train.json"}
    assert first.boxes[1].source.startswith(places[format_])


@pytest.mark.parametrize("format_", scenes.WRITERS)
def test_the_order_of_files_changes_no_byte(format_: str, tmp_path: Path):
    for folder in ("a", "b"):
        scenes.WRITERS[format_](tmp_path / folder / "source")
    again = tmp_path / "b" / "source"
    for path in sorted(again.rglob("*"), reverse=True):
        if path.is_file():  # written anew, so that folders list it in another order
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
            os.utime(path, (1, 1))
    outputs = [make(format_, tmp_path / folder / "source").output for folder in ("a", "b")]
    for name in ("manifest.jsonl", "classes.txt", "findings.csv", "duplicates.csv", "summary.json"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes(), name


def test_the_digest_of_inputs_follows_content_and_not_time(tmp_path: Path):
    scenes.write_voc(tmp_path / "source")
    first = make("voc", tmp_path / "source").summary["inputs"]
    file = tmp_path / "source" / "Annotations" / "000.xml"
    os.utime(file, (1, 1))
    assert make("voc", tmp_path / "source").summary["inputs"] == first
    stamp = file.stat()
    file.write_text(file.read_text().replace("<xmax>10<", "<xmax>11<"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # of the same size and time
    changed = make("voc", tmp_path / "source")
    assert changed.summary["inputs"]["annotations"] != first["annotations"]
    assert changed.summary["inputs"]["images"] == first["images"]
    assert changed.boxes()["000"][0][1] == (0, 0, 10, 19)


# --- VOC --------------------------------------------------------------------------------


def test_vocs_parts_and_flags_and_its_lists(tmp_path: Path):
    source = tmp_path / "source"
    for name in ("a", "b", "c"):
        scenes.image(source / "JPEGImages" / f"{name}.jpg", ord(name))
    boxes = [Box("cat", (1, 2, 30, 40), difficult=True), Box("a & b", (1, 2, 3, 4), False, True)]
    text = voc.document("a.jpg", (WIDTH, HEIGHT), boxes)
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part></object>"
    put(source / "Annotations" / "a.xml", text.replace("</object>", part))
    put(source / "Annotations" / "b.xml", voc.document("b.jpg", (0, 0), boxes[:1]))
    put(source / "Annotations" / "c.xml", voc.document("c.jpg", (WIDTH, HEIGHT), boxes[1:]))
    put(source / "ImageSets" / "Main" / "trainval.txt", "a\nb\n\n../../etc/passwd\n")
    put(source / "ImageSets" / "Main" / "val.txt", "b\n")
    put(source / "ImageSets" / "Main" / "cat_val.txt", "c  -1\n")
    made = make("voc", source)
    assert [(p.path, p.split) for p in made.pictures] == [
        ("JPEGImages/a.jpg", "train"),
        ("JPEGImages/b.jpg", "train"),
        ("JPEGImages/c.jpg", ""),
    ]
    assert [(b.class_name, b.difficult, b.truncated) for b in made.pictures[0].boxes] == [
        ("cat", True, False),
        ("a & b", False, True),
    ]
    assert made.checks()[:2] == [
        ("error", "split", "ImageSets/Main/val.txt:1"),
        ("error", "image", "ImageSets/Main/train.txt"),
    ]
    assert made.summary["unused"] == 1


def test_voc_files_beside_images_without_lists_are_divided(tmp_path: Path):
    for number in range(10):
        scenes.image(tmp_path / "source" / f"{number}.png", number)
        document = voc.document("x", (WIDTH, HEIGHT), [Box("cat", (1, 2, 3, 4))])
        put(tmp_path / "source" / f"{number}.xml", document)
    made = make("voc", tmp_path / "source")
    assert made.summary["images"] == {"train": 8, "val": 1, "test": 1}
    asked = make("voc", tmp_path / "source", "--train", "5", "--val", "0.2", "--test", "rest")
    assert asked.summary["images"] == {"train": 5, "val": 2, "test": 3}
    grouped = make("voc", tmp_path / "source", "--group", "[0-4]|[5-9]")
    assert grouped.summary["groups"] == 10


def test_each_image_is_in_the_test_of_one_fold(tmp_path: Path):
    for number in range(10):
        scenes.image(tmp_path / "source" / f"{number}.png", number)
        document = voc.document("x", (WIDTH, HEIGHT), [Box("cat", (1, 2, 3, 4))])
        put(tmp_path / "source" / f"{number}.xml", document)
    tested = []
    for fold in "0", "1", "2":
        made = make("voc", tmp_path / "source", "--folds", "3", "--fold", fold)
        assert made.summary["asked"]["folds"] == 3
        assert made.summary["images"]["val"] == 1  # a tenth of the others
        tested += [one.path for one in made.pictures if one.split == "test"]
    assert sorted(tested) == [f"{number}.png" for number in range(10)]


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {after} "{f"&{before};" * 10}">'
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "bomb": (f"{BOMB}]><annotation>&i;</annotation>", ":1", "DOCTYPE"),
    "external": (
        '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        "<annotation><object><name>&x;</name></object></annotation>",
        ":2",
        "DOCTYPE",
    ),
    "entity": ("<annotation>\n&x;</annotation>", ":2", "undefined entity"),
    "depth": ("<annotation>" + "<a>" * 100_000, ":1", "more than 32 deep"),
    "cut": ("<annotation>\n<object>\n", ":3", "expected XML"),
    "empty": ("", ":1", "expected XML"),
    "binary": ("\0\1\2", ":1", "expected XML"),
    "encoding": ('<?xml version="1.0" encoding="klingon"?><annotation/>', ":1", "expected XML"),
    "other": ("<svg/>", ":1", "the element 'svg'"),
    "name": (
        "<annotation>\n\n<object><bndbox><xmin>1</xmin></bndbox></object></annotation>",
        ":3",
        "without name",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_xml_is_named_and_its_image_left_out(kind: str, tmp_path: Path):
    text, line, told = HOSTILE[kind]
    scenes.write_voc(tmp_path / "source")
    put(tmp_path / "source" / "Annotations" / "000.xml", text)
    made = make("voc", tmp_path / "source")
    first = made.findings[0]
    place = f"Annotations/000.xml{line}"
    assert (first["check"], first["place"]) == ("annotation", place), first
    assert told in first["found"]
    assert made.pictures[0].dropped
    assert not made.pictures[0].boxes
    assert made.boxes()["001"] == EXPECTED["001"]


def test_an_xml_file_of_no_end_is_not_read(tmp_path: Path):
    scenes.write_voc(tmp_path / "source")
    with (tmp_path / "source" / "Annotations" / "000.xml").open("r+b") as stream:
        stream.truncate(voc.MAX_BYTES + 1)
    assert "at most" in make("voc", tmp_path / "source").findings[0]["found"]


@pytest.mark.parametrize("format_", scenes.WRITERS)
def test_pipes_and_folders_in_place_of_files_are_passed_over(format_: str, tmp_path: Path):
    source = tmp_path / "source"
    scenes.WRITERS[format_](source)
    (source / "000.txt").mkdir()
    for suffix in ("xml", "yaml", "names", "png"):
        for folder in (source, *(path for path in source.iterdir() if path.is_dir())):
            os.mkfifo(folder / f"pipe.{suffix}")
    assert make(format_, source, "--keep-empty").boxes() == EXPECTED


def test_a_pipe_as_annotations_ends_in_a_sentence(tmp_path: Path):
    source = tmp_path / "source"
    scenes.write_csv(source)
    os.mkfifo(tmp_path / "pipe")
    for format_ in ("coco", "csv"):
        with pytest.raises(ToolError, match="pipe: expected a file"):
            make(format_, source, "--annotations", str(tmp_path / "pipe"))


# --- COCO -------------------------------------------------------------------------------


def instances(**changed: object) -> dict:
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3.5, 4]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    return {**whole, **changed}


def coco_folder(tmp_path: Path, told: object) -> Path:
    source = tmp_path / "source"
    scenes.image(source / "a.png")
    scenes.image(tmp_path / "b.png", 1)
    put(source / "annotations.json", told if isinstance(told, str) else json.dumps(told))
    return source


ONLY = ("--train", "rest", "--val", "0", "--test", "0")
NESTED = '{"images": ' + "[" * 200_000
COCO_MISTAKES = {
    "depth": (NESTED, "nested deeply"),
    "cut": ('{"images": [\n{"id": 1},\n', r"annotations\.json:3: expected JSON"),
    "behind": (json.dumps(instances()) + "\n}", r"json:2: expected JSON, more behind"),
    "comma": ('{"images": [] "annotations": []}', r"json:1: expected JSON, ',' was expected"),
    "list": ("[]", "'{' was expected"),
    "empty": ("", "'{' was expected"),
    "captions": ('{"images": [], "annotations": []}', "no list of categories"),
    "ids": (instances(images=instances()["images"] * 2), "image id 1 stands there 2 times"),
    "categories": (instances(categories=instances()["categories"] * 2), "category id 3 stands"),
}


@pytest.mark.parametrize("kind", COCO_MISTAKES)
def test_a_file_that_is_none_of_cocos_ends_in_a_sentence(kind: str, tmp_path: Path):
    told, expected = COCO_MISTAKES[kind]
    with pytest.raises(ToolError, match=expected):
        coco.read(coco_folder(tmp_path, told))


def annotation(**changed: object) -> list:
    good = instances()["annotations"][0]
    return [good, {**good, "id": 6, **changed}]


COCO_FINDINGS = {
    "nan": (instances(annotations=annotation(bbox=[1, 2, float("nan"), 4])), "number"),
    "infinite": (json.dumps(instances(annotations=annotation(bbox=[1, 2, 3, 77])))
                 .replace("77", "1e999"), "number"),
    "huge": (json.dumps(instances(annotations=annotation(bbox=[1, 2, 3, 77])))
             .replace("77", "7" * 100_000), "number"),
    "text": (instances(annotations=annotation(bbox=["1", "two", 3, 4])), "number"),
    "three": (instances(annotations=annotation(bbox=[1, 2, 3])), "number"),
    "truth": (instances(annotations=annotation(bbox=[True, 2, 3, 4])), "number"),
    "no box": (instances(annotations=annotation(bbox=None)), "annotation"),
    "no image": (instances(annotations=annotation(image_id=2)), "image"),
    "list as id": (instances(annotations=annotation(image_id=[1])), "image"),
    "no class": (instances(annotations=annotation(category_id=4)), "class"),
    "entry": (instances(annotations=[*annotation()[:1], 7]), "annotation"),
    "surrogate": (instances(categories=[*instances()["categories"], {"id": 4, "name": "\ud800"}],
                            annotations=annotation(category_id=4)), "class"),
    "climbs": (instances(images=[*instances()["images"], {"id": 2, "file_name": "../b.png"}]),
               "image"),
    "absolute": (instances(images=[*instances()["images"], {"id": 2, "file_name": "/etc/passwd"}]),
                 "image"),
    "NUL": (instances(images=[*instances()["images"], {"id": 2, "file_name": "a\0"}]), "image"),
    "long": (instances(images=[*instances()["images"], {"id": 2, "file_name": "a" * 9999}]),
             "image"),
    "no text": (instances(images=[*instances()["images"], {"id": 2, "file_name": 2}]),
                "annotation"),
    "odd name": (instances(images=[*instances()["images"], {"id": 2, "file_name": "\ud800"}]),
                 "image"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COCO_FINDINGS)
def test_a_bad_entry_of_cocos_is_found_and_the_rest_kept(kind: str, tmp_path: Path):
    told, check = COCO_FINDINGS[kind]
    made = make("coco", coco_folder(tmp_path, told), *ONLY)
    assert ("error", check) in [one[:2] for one in made.checks()]
    assert made.boxes()["a"] == [("cat", (1, 2, 3.5, 5))]
    assert [p.path for p in made.pictures if not p.dropped] == ["a.png"]


def test_cocos_crowds_and_classes_without_boxes(tmp_path: Path):
    categories = [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]
    told = instances(annotations=annotation(iscrowd=1, bbox=[0, 0, 9, 9]), categories=categories)
    made = make("coco", coco_folder(tmp_path, told), *ONLY)
    assert [box.crowd for box in made.pictures[0].boxes] == [False, True]
    assert made.checks() == [("warning", "classes", "coco annotations")]
    assert (made.output / "classes.txt").read_text() == "__background__\ncat\n"


# --- YOLO -------------------------------------------------------------------------------


def yolo_folder(tmp_path: Path, labels: str, **files: str) -> Path:
    source = tmp_path / "source"
    scenes.image(source / "a.png")
    put(source / "a.txt", labels)
    put(source / "classes.txt", "cat\ndog\n")
    for name, text in files.items():
        put(source / name.replace("_", "."), text)
    return source


GOOD = "0 0.5 0.5 0.25 0.5\n"
YOLO_FINDINGS = {
    "0 0.5 0.5 0.25": "annotation",
    "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2": "annotation",
    "cat 0.5 0.5 0.1 0.1": "annotation",
    "-1 0.5 0.5 0.1 0.1": "annotation",
    f"{'9' * 100_000} 0.5 0.5 0.1 0.1": "annotation",
    "7 0.5 0.5 0.1 0.1": "class",
    "0 nan 0.5 0.1 0.1": "number",
    "0 1e9999 0.5 0.1 0.1": "number",
    "0 0.5 0.5 1_0 0.1": "number",
    "0 32 24 10 10": "outside",
    "0 0.5 0.5 -0.1 0.1": "inverted",
    "0 0.5 0.5 0 0": "empty",
}


@pytest.mark.parametrize("line", YOLO_FINDINGS, ids=lambda line: line[:20])
def test_a_bad_line_of_yolos_is_found_and_the_rest_kept(line: str, tmp_path: Path):
    made = make("yolo", yolo_folder(tmp_path, f"{GOOD}\n{line}\n"), *ONLY)
    assert ("error", YOLO_FINDINGS[line], "a.txt:3") in made.checks()
    assert made.boxes() == {"a": [("cat", (24, 12, 39, 35))]}


def test_yolos_classes_that_count_from_one_are_told_as_a_whole(tmp_path: Path):
    made = make("yolo", yolo_folder(tmp_path, "1 0.5 0.5 0.25 0.5\n2 0.5 0.5 0.1 0.1\n"), *ONLY)
    assert ("error", "classes", "classes.txt") in made.checks()


def test_labels_of_no_image_are_told(tmp_path: Path):
    source = yolo_folder(tmp_path, GOOD)
    put(source / "labels" / "b.txt", GOOD)
    assert ("warning", "image", "labels/b.txt") in make("yolo", source, *ONLY).checks()


ALIASES = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9)) + "names: *a\n"


@pytest.mark.parametrize(
    "text", [ALIASES, "names: " + "[" * 5000, "names: {a: cat}", "- cat", "names: [[cat]]", "\0"]
)
def test_a_hostile_data_yaml_ends_in_a_sentence(text: str, tmp_path: Path):
    source = yolo_folder(tmp_path, GOOD, data_yaml=text)
    with pytest.raises(ToolError, match=r"data\.yaml: "):
        yolo.read(source, source / "data.yaml")
