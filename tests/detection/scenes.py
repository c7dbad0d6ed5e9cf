"""One scene written in each format of annotations, and what the command makes of a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from caffetools.detection import dataset, manifest, voc
from caffetools.detection.manifest import Box, Picture

WIDTH, HEIGHT = 64, 48
# Of images in three places each, the boxes; corners from 0, both within. The last has none.
SCENE = {
    "train": [[Box("cat", (0, 0, 9, 19)), Box("dog", (10, 5, 63, 47))], [Box("dog", (3, 4, 3, 4))]],
    "val": [[Box("cat", (20, 10, 40, 30))]],
    "test": [[Box("cat", (1, 1, 62, 46)), Box("cat", (5, 5, 9, 9))], []],
}


class Made(NamedTuple):
    """What the command wrote."""

    output: Path
    pictures: list[Picture]
    findings: list[dict[str, str]]
    summary: dict

    def boxes(self) -> dict[str, list[tuple]]:
        """Class and corners of each image's boxes, by the image's name without its folder."""
        return {
            Path(one.path).stem: [(box.class_name, box.corners) for box in one.boxes]
            for one in self.pictures
        }

    def checks(self) -> list[tuple[str, str, str]]:
        """Level, check and place of each finding."""
        return [(one["level"], one["check"], one["place"]) for one in self.findings]


def image(path: Path, seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A PNG of coarse noise, so that no two are near duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make(format_: str, source: Path, *options: str) -> Made:
    """Run the command on a folder, and read what it wrote."""
    output = source.parent / "out"
    arguments = ["--format", format_, "--source", str(source), "--output", str(output), *options]
    dataset.main(arguments)
    with (output / "findings.csv").open(encoding="utf-8", newline="") as stream:
        findings = list(csv.DictReader(stream))
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return Made(output, manifest.read(output / "manifest.jsonl"), findings, summary)


def numbered() -> list[tuple[str, str, Sequence[Box]]]:
    """Split, name and boxes of the scene's images."""
    found = [(split, boxes) for split, images in SCENE.items() for boxes in images]
    return [(split, f"{number:03d}", boxes) for number, (split, boxes) in enumerate(found)]


def write_voc(source: Path) -> None:
    for number, (split, name, boxes) in enumerate(numbered()):
        image(source / "JPEGImages" / f"{name}.png", number)
        document = voc.document(f"{name}.png", (WIDTH, HEIGHT), boxes)
        put(source / "Annotations" / f"{name}.xml", document)
        listed = source / "ImageSets" / "Main" / f"{split}.txt"
        put(listed, (listed.read_text() if listed.exists() else "") + f"{name}\n")


def write_coco(source: Path) -> None:
    for split in SCENE:
        images, annotations = [], []
        for number, (place, name, boxes) in enumerate(numbered()):
            if place != split:
                continue
            image(source / split / f"{name}.png", number)
            size = {"width": WIDTH, "height": HEIGHT}
            images.append({"id": number, "file_name": f"{name}.png", **size})
            for class_name, (x1, y1, x2, y2) in (box[:2] for box in boxes):
                box = [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
                category = {"cat": 17, "dog": 90}[class_name]
                told = {"image_id": number, "category_id": category, "bbox": box, "iscrowd": 0}
                annotations.append({"id": 100 + len(annotations), **told, "segmentation": [[1.5]]})
        categories = [{"id": 17, "name": "cat"}, {"id": 90, "name": "dog"}]
        whole = {"info": {"year": 1}, "images": images, "annotations": annotations}
        text = json.dumps({**whole, "categories": categories}, indent=1)
        put(source / "annotations" / f"instances_{split}.json", text)


def write_yolo(source: Path) -> None:
    put(source / "data.yaml", "names: [dog, cat]\ntrain: images/train\nval: ../images/val\n"
        "test: ./images/test/\n")  # fmt: skip
    for number, (split, name, boxes) in enumerate(numbered()):
        image(source / "images" / split / f"{name}.png", number)
        lines = ""
        for class_name, (x1, y1, x2, y2) in (box[:2] for box in boxes):
            centre = ((x1 + x2 + 1) / 2 / WIDTH, (y1 + y2 + 1) / 2 / HEIGHT)
            size = ((x2 - x1 + 1) / WIDTH, (y2 - y1 + 1) / HEIGHT)
            numbers = " ".join(f"{value:.6f}" for value in (*centre, *size))
            lines += f"{('dog', 'cat').index(class_name)} {numbers}\n"
        put(source / "labels" / split / f"{name}.txt", lines)


def write_csv(source: Path) -> None:
    rows = "path,class,x1,y1,x2,y2,split\n"
    for number, (split, name, boxes) in enumerate(numbered()):
        image(source / f"{name}.png", number)
        for class_name, corners in (box[:2] for box in boxes):
            rows += f"{name}.png,{class_name},{','.join(map(str, corners))},{split}\n"
        rows += "" if boxes else f"{name}.png,,,,,,{split}\n"
    put(source / "boxes.csv", rows)


WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo, "csv": write_csv}
