"""Time how long a caffemodel of CaffeNet's size takes to load: ours against BVLC's Caffe.

The file is written here: CaffeNet's layers with random weights, 244 MB. Both sides run the
same worker, each load in a process of its own, in turns (A B, A B, ...), so that a machine
that slows down for a while slows both. A net is made, a small file is loaded, so that
nothing is loaded lazily under the clock, and then ``net.copy_from`` is timed, twice: the
first time into the blobs as the fillers left them, then into the same blobs again. The file
is in the system's cache for both. Figures are medians over all rounds, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import bvlc

from caffe.proto import caffe_pb2
from recaffe.proto.weights import write_weights

HERE = Path(__file__).resolve().parent
WORKER = HERE / "load_worker.py"
CAFFENET = HERE.parent / "config" / "models" / "caffenet" / "train_val.prototxt"
INPUT = """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 227 dim: 227 } } }"""
TURNS = ("first", "again")
# Load of the machine, in running processes, up to which figures can be trusted.
QUIET = 0.5

Weights = dict[str, list[tuple[int, ...]]]
SHAPES: Weights = {
    "conv1": [(96, 3, 11, 11), (96,)],
    "conv2": [(256, 48, 5, 5), (256,)],
    "conv3": [(384, 256, 3, 3), (384,)],
    "conv4": [(384, 192, 3, 3), (384,)],
    "conv5": [(256, 192, 3, 3), (256,)],
    "fc6": [(4096, 9216), (4096,)],
    "fc7": [(4096, 4096), (4096,)],
    "fc8": [(1000, 4096), (1000,)],
}


def write_net(path: Path) -> None:
    """CaffeNet from an Input, and without what needs labels."""
    net = text_format.Parse(CAFFENET.read_text(), caffe_pb2.NetParameter())
    kept = [layer for layer in net.layer if layer.type not in ("Data", "SoftmaxWithLoss")]
    kept = [layer for layer in kept if layer.type != "Accuracy"]
    body = text_format.MessageToString(caffe_pb2.NetParameter(layer=kept))
    path.write_text(INPUT + body)


def write_files(folder: Path) -> int:
    """The net, its weights, and weights for the first layer only; the size of the former."""
    rng = np.random.default_rng(0)
    layers = []
    for name, shapes in SHAPES.items():
        parameter = caffe_pb2.LayerParameter(name=name)
        blobs = [(rng.normal(size=shape).astype(np.float32), None) for shape in shapes]
        layers.append((parameter, blobs))
    write_net(folder / "net.prototxt")
    write_weights(folder / "whole.caffemodel", "CaffeNet", layers)
    write_weights(folder / "small.caffemodel", "CaffeNet", layers[:1])
    return (folder / "whole.caffemodel").stat().st_size


def ours(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(WORKER)], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measure(rounds: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    size = write_files(folder)
    print(f"a caffemodel of {size / 1e6:.1f} MB", file=sys.stderr)
    files: dict[str, bvlc.Content] = {entry.name: entry for entry in folder.iterdir()}
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "BVLC": []}
    with bvlc.find().workplace(files) as place:
        for turn in range(rounds):
            for name, side in (
                ("ours", lambda: ours(folder)),
                ("BVLC", lambda: place.python(WORKER).json()),
            ):
                print(f"round {turn + 1} of {rounds}, {name}", file=sys.stderr)
                results[name].append(side())
    return results


def median(results: list[dict[str, Any]], figure: str) -> float:
    return statistics.median(result[figure] for result in results)


def ratios(results: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """How many times as long as ours BVLC takes."""
    return {turn: median(results["BVLC"], turn) / median(results["ours"], turn) for turn in TURNS}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    lines = [f"{'milliseconds to load':24}{'median':>10}{'least':>10}{'most':>10}{'memory MB':>12}"]
    for name, each in results.items():
        for turn in TURNS:
            figures = [1000 * result[turn] for result in each]
            cells = "".join(f"{f(figures):10.1f}" for f in (statistics.median, min, max))
            memory = median(each, "memory_mb")
            lines.append(f"{f'{name}, {turn}':24}{cells}{memory:12.0f}")
    lines += [f"BVLC / ours, {turn}: {ratio:.2f}" for turn, ratio in ratios(results).items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > QUIET:
        print(f"warning: others are at work here (load {load:.1f}); mind it", file=sys.stderr)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = measure(options.rounds, Path(folder))
    except (bvlc.BvlcError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    checks = {result["check"] for each in results.values() for result in each}
    if len(checks) != 1:
        print(f"error: the sides hold different weights: {checks}", file=sys.stderr)
        return 1
    print(table(results))
    if options.json:
        machine = {"cores": os.cpu_count(), "load": load}
        figures = {"machine": machine, "sides": results, "ratios": ratios(results)}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
