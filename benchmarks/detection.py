"""Time Faster R-CNN at the published size: a training step and detecting, images a second.

Images are crops of scikit-learn's photographs of 600 x 1000 pixels with ten boxes each, weights
those of the fillers. With ``--gpu`` the most memory that the GPU gave is told too. The published
figure is 2 images a second in training VGG16 on a K40.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.datasets import load_sample_images

import caffe
from caffe.detection import choose, im_detect
from caffetools import prototxt
from caffetools.detection import nets, patch

CLASSES, HEIGHT, WIDTH, BOXES = 21, 600, 1000, 10


def write_images(folder: Path, count: int) -> Path:
    """Images and the file that names them and their boxes."""
    random = np.random.RandomState(0)
    photographs = load_sample_images().images
    lines = []
    for index in range(count):
        image = cv2.resize(photographs[index % 2][:, :, ::-1], (WIDTH, HEIGHT))
        path = folder / f"{index}.jpg"
        cv2.imwrite(str(path), image)
        corners = random.randint(0, 400, (BOXES, 2))
        boxes = np.concatenate([corners, corners + random.randint(60, 200, (BOXES, 2))], 1)
        classes = random.randint(1, CLASSES, BOXES)
        entry = {"image": path.name, "boxes": boxes.tolist(), "classes": classes.tolist()}
        lines.append(json.dumps(entry))
    (folder / "roidb.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "roidb.jsonl"


def timed(compute: Callable[[], object], rounds: int) -> float:
    """The median of the seconds that it takes, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        compute()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def measure(name: str, folder: Path, rounds: int, gpu: bool) -> None:
    roidb = write_images(folder, 4)
    nets.write(name, CLASSES, folder)
    train = patch.with_images(prototxt.read_net(folder / "train.prototxt"), roidb, f"{folder}/", {})
    prototxt.write(folder / "train.prototxt", train)
    solver = prototxt.read_solver(folder / "solver.prototxt")
    solver.ClearField("train_net")
    solver.net, solver.snapshot, solver.iter_size = str(folder / "train.prototxt"), 0, 1
    prototxt.write(folder / "own.prototxt", solver)
    caffe.set_random_seed(0)
    training = caffe.get_solver(str(folder / "own.prototxt"))
    step = timed(lambda: training.step_unseen(1), rounds)
    net = caffe.Net(str(folder / "test.prototxt"), caffe.TEST)
    net.share_with(training.net)
    image = cv2.imread(str(folder / "0.jpg"))
    found = timed(lambda: choose(*im_detect(net, image)), rounds)
    memory = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if gpu else ""
    print(f"{name}: trains {1 / step:.2f} images a second, detects in {1 / found:.2f}{memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=["zf", "vgg16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if options.gpu:
        caffe.set_device(0)
        caffe.set_mode_gpu()
    for name in options.nets:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder), options.rounds, options.gpu)


if __name__ == "__main__":
    main()
