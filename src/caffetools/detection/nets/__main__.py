"""Write the prototxts of a Faster R-CNN net.

``python -m caffetools.detection.nets NAME --classes N --output DIR`` writes train.prototxt,
test.prototxt and solver.prototxt of the net ``NAME``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from caffetools.cli import run


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caffetools.detection.nets", description="Write the prototxts of a Faster R-CNN net."
    )
    parser.add_argument("name", help="zf, vgg_cnn_m_1024, vgg16, resnet50 or tiny")
    parser.add_argument(
        "--classes",
        type=int,
        required=True,
        help="how many, with the background among them: 21 for PASCAL VOC",
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        help="of the anchors, in 16 pixels of the image (default: the net's own)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    # The help needs no Caffe.
    from caffetools.detection import nets

    nets.write(options.name, options.classes, options.output, options.scales)


if __name__ == "__main__":
    run(main)
