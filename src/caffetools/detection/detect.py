"""Find objects in images with a trained detector.

The images are those of a manifest's split, or files and folders that are named. Writes to
``--output``:

``detections.csv``   a row a detection, see :mod:`caffetools.detection.detections`
``detections.json``  the same by image, with its size
``drawn/``           with ``--draw``, each image with what was found in it

Paths are relative to ``--root``, or for images that are named as they are named.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from caffetools.cli import ToolError, run
from caffetools.detection import detections, manifest
from caffetools.detection.class_names import read_classes
from caffetools.detection.detections import Detection
from caffetools.detection.drawing import class_style, draw
from caffetools.encoded_images import encode
from caffetools.files import whole_directory, write_json
from caffetools.images import EXTENSIONS, read_checked

# BVLC's build logs its whole net to stderr; it reads this when it is imported.
os.environ.setdefault("GLOG_minloglevel", "1")
import caffe

LOG = logging.getLogger("caffetools.detection.detect")

_LEAST_DRAWN = 480  # pixels of the longer side


class Settings(NamedTuple):
    """How a detector sees an image, and which of its boxes count.

    Attributes:
        scale: of the image's shorter side, in pixels.
        max_size: of the longer side at most.
        mean: one value a channel, BGR.
        score: the least probability.
        overlap: of two boxes of a class that overlap more only the better one counts.
        most: boxes an image.
    """

    scale: int = 600
    max_size: int = 1000
    mean: Sequence[float] = (102.9801, 115.9465, 122.7717)
    score: float = 0.05
    overlap: float = 0.3
    most: int = 100


class Detector:
    """A detector's test net with its weights.

    Attributes:
        names: the classes, the background first.

    Raises :class:`ToolError` where this Caffe cannot detect, or the net knows other classes.
    """

    def __init__(self, model: Path, weights: Path, classes: Path, settings: Settings) -> None:
        try:
            from caffe import detection
        except ImportError as error:
            raise ToolError(
                f"this Caffe ({caffe.__file__}) has no layers for detectors; use Recaffe's own"
            ) from error
        self._detection, self._settings = detection, settings
        self.names = [manifest.BACKGROUND, *read_classes(classes)]
        self._net = caffe.Net(str(model), str(weights), caffe.TEST)
        known = self._net.blobs["cls_prob"].data.shape[1] if "cls_prob" in self._net.blobs else 0
        if known not in (0, len(self.names)):
            raise ToolError(
                f"{model}: knows {known} classes, and {classes} names {len(self.names)}, the "
                "background's included; give the classes that it was trained on"
            )

    def find(self, path: str, image: np.ndarray) -> list[Detection]:
        """The objects in an image ``(H, W, 3)``, BGR, best first."""
        own = self._settings
        scores, boxes = self._detection.im_detect(
            self._net, image, own.scale, own.max_size, own.mean
        )
        found = self._detection.choose(scores, boxes, own.score, own.overlap, own.most)
        return [Detection(path, self.names[one.label], one.score, one.box) for one in found]


def images_of(options: argparse.Namespace) -> list[str]:
    """The paths that the options name, below their root."""
    if options.manifest:
        paths = [
            picture.path
            for picture in manifest.read(options.manifest)
            if not picture.dropped and options.split in ("", picture.split)
        ]
        if not paths:
            raise ToolError(f"{options.manifest}: no image of the split {options.split!r}")
        return paths
    paths = []
    for path in options.images:
        inside = (
            sorted(each for each in path.rglob("*") if each.suffix.lower() in EXTENSIONS)
            if path.is_dir()
            else [path]
        )
        paths += map(str, inside)
    if not paths:
        raise ToolError("no images: name files or folders with images, or --manifest")
    return paths


def detect_all(
    detector: Detector, root: Path, paths: Iterable[str]
) -> Iterator[tuple[str, Optional[np.ndarray], list[Detection]]]:
    """Each image and what is in it; None for one that cannot be read, which is named."""
    for path in paths:
        image, reason = read_checked(root / path)
        if image is None:
            LOG.warning("%s: passed over, it %s", root / path, reason)
        yield path, image, [] if image is None else detector.find(path, image)


def _entry(path: str, image: np.ndarray, found: Sequence[Detection]) -> dict[str, Any]:
    return {
        "path": path,
        "height": image.shape[0],
        "width": image.shape[1],
        "detections": [
            {
                "class": one.class_name,
                "score": round(one.score, 6),
                "corners": [round(value, 2) for value in one.corners],
            }
            for one in found
        ],
    }


def _write_drawn(
    place: Path, image: np.ndarray, found: Sequence[Detection], names: Sequence[str]
) -> None:
    boxes = [
        (one.corners, f"{one.class_name} {one.score:.2f}", class_style(names.index(one.class_name)))
        for one in reversed(found)  # the best on top
    ]
    place.parent.mkdir(exist_ok=True)
    # A small image is made larger, for its letters to leave something to see.
    drawn = draw(image, boxes, max(_LEAST_DRAWN, *image.shape[:2]))
    place.write_bytes(encode(drawn, "png"))


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.detection.detect``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.detect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", type=Path, nargs="*", help="images, or folders of them")
    parser.add_argument("--model", type=Path, required=True, help="the test net's prototxt")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel")
    parser.add_argument("--classes", type=Path, required=True, help="classes.txt")
    parser.add_argument("--manifest", type=Path, help="manifest.jsonl, instead of images")
    parser.add_argument("--split", default="", help="of the manifest (default: all)")
    parser.add_argument("--root", type=Path, default=Path(), help="what paths are relative to")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--draw", type=float, metavar="SCORE", help="draw those of that score on")
    own = Settings()
    parser.add_argument("--scale", type=int, default=own.scale)
    parser.add_argument("--max-size", type=int, default=own.max_size)
    parser.add_argument("--mean", type=float, nargs="+", default=own.mean)
    parser.add_argument("--score", type=float, default=own.score, help="the least (default: 0.05)")
    parser.add_argument("--overlap", type=float, default=own.overlap)
    parser.add_argument("--most", type=int, default=own.most, help="boxes an image at most")
    parser.add_argument("--gpu", type=int, metavar="N", help="the GPU (default: the CPU)")
    options = parser.parse_args(arguments)
    if options.manifest and options.images:
        raise ToolError("expected images or --manifest, not both")
    if options.gpu is not None:
        caffe.set_device(options.gpu)
        caffe.set_mode_gpu()
    paths = images_of(options)
    settings = Settings(
        options.scale, options.max_size, options.mean, options.score, options.overlap, options.most
    )
    detector = Detector(options.model, options.weights, options.classes, settings)
    table: list[Detection] = []
    entries = []
    with whole_directory(options.output) as folder:
        for path, image, found in detect_all(detector, options.root, paths):
            table += found
            if image is not None:
                entries.append(_entry(path, image, found))
                if options.draw is not None:
                    place = folder / "drawn" / f"{len(entries):05d}.{Path(path).stem}.png"
                    shown = [one for one in found if one.score >= options.draw]
                    _write_drawn(place, image, shown, detector.names)
        detections.write(folder / "detections.csv", table)
        write_json(folder / "detections.json", entries)
    LOG.info("%s: %d objects in %d images", options.output, len(table), len(entries))
    return None


if __name__ == "__main__":
    run(main)
