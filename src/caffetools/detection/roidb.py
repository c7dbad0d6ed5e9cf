"""Write the images to learn from and the objects in them as RoIDataLayer reads them.

A line of JSON for each image that has an object to learn from; see
:func:`recaffe.detection.roidb.read_roidb`. Difficult objects, as VOC calls them, are left out
unless ``--difficult`` is given, and crowds always. Classes are numbered by the lines of the
classes' file, of which the first is the background's.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError, run
from caffetools.detection.class_names import read_classes
from caffetools.detection.manifest import Picture, read
from caffetools.files import write_text

LOG = logging.getLogger("caffetools.detection.roidb")


def entries(
    pictures: Iterable[Picture],
    splits: Collection[str],
    classes: dict[str, int],
    difficult: bool = False,
) -> Iterator[dict[str, Any]]:
    """What is to be written of each picture of the splits that has an object to learn from.

    ``classes`` are the numbers by name. Raises :class:`ToolError` for a class that is not there.
    """
    for picture in pictures:
        boxes = [box for box in picture.boxes if not box.crowd and (difficult or not box.difficult)]
        if picture.split not in splits or picture.dropped or not boxes:
            continue
        for box in boxes:
            if box.class_name not in classes:
                raise ToolError(
                    f"{box.source or picture.path}: the class {box.class_name!r} is not among "
                    f"those to learn: {', '.join(classes)}"
                )
        yield {
            "image": picture.path,
            "boxes": [list(box.corners) for box in boxes],
            "classes": [classes[box.class_name] for box in boxes],
            "sha256": picture.sha256,
        }


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.detection.roidb``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.roidb", description=__doc__
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl")
    parser.add_argument("--classes", type=Path, required=True, help="classes.txt")
    parser.add_argument(
        "--split", nargs="+", default=["train"], help="which splits (default: train)"
    )
    parser.add_argument("--difficult", action="store_true", help="learn from difficult ones too")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    numbers = {name: number for number, name in enumerate(read_classes(options.classes), 1)}
    pictures = read(options.manifest)
    found = list(entries(pictures, options.split, numbers, options.difficult))
    if not found:
        raise ToolError(
            f"{options.manifest}: no image of {' and '.join(options.split)} has an object to learn"
        )
    lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in found)
    write_text(options.output, "".join(lines))
    count = sum(len(entry["classes"]) for entry in found)
    LOG.info("%s: %d images with %d objects", options.output, len(found), count)
    return None


if __name__ == "__main__":
    run(main)
