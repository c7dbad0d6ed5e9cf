"""Random data sets with detections in them, on disk as the commands read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffetools.detection import detections, manifest, scenes
from caffetools.detection.detections import Detection
from caffetools.detection.manifest import BACKGROUND, Box, Picture

CLASSES = ["cat", "cow", "dog"]
_CELL = 60  # the images' 3 x 3 cells, each with a box or none, so that no two boxes overlap


def random_scene(seed: int, images: int = 12, difficult: float = 0.0):
    """Pictures with boxes that do not overlap, and detections near them and elsewhere."""
    random = np.random.default_rng(seed)
    pictures, found = [], []
    for number in range(images):
        path, boxes = f"{number:03d}.png", []
        for cell in range(9):
            start = np.array([cell % 3, cell // 3]) * _CELL + random.integers(0, 10, 2)
            corners = np.append(start, start + random.integers(15, 49, 2)).astype(float)
            name = str(random.choice(CLASSES))
            if random.random() < 0.6:
                box = Box(name, tuple(corners), difficult=bool(random.random() < difficult))
                boxes.append(box)
            for _ in range(int(random.integers(0, 4))):
                shifted = corners + random.integers(-6, 7, 4)
                other = str(random.choice(CLASSES)) if random.random() < 0.2 else name
                # Few scores, so that many are equal.
                score = float(random.integers(1, 40)) / 40
                found.append(Detection(path, other, score, tuple(shifted)))
        pictures.append(Picture(path, tuple(boxes), "test", width=180, height=180))
    return pictures, found


def write(folder: Path, pictures: list[Picture], found: list[Detection], classes=CLASSES):
    """Write manifest, detections and classes; returns the three paths."""
    paths = [folder / name for name in ("manifest.jsonl", "detections.csv", "classes.txt")]
    manifest.write(paths[0], pictures)
    detections.write(paths[1], found)
    paths[2].write_text("\n".join([BACKGROUND, *classes]) + "\n", encoding="utf-8")
    return paths


def read(folder: Path, pictures, found, classes=CLASSES) -> scenes.Scenes:
    """The same as scenes, through files."""
    listed, table, names = write(folder, pictures, found, classes)
    return scenes.read(listed, "test", table, names)
