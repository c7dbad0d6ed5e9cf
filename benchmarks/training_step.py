"""Time a training step: ours, both ways, against BVLC's Caffe and a bare PyTorch loop.

Every side runs in a process of its own, one after the other and round by round (A B C,
A B C ...), so that a machine that slows down for a while slows all of them. A step is all
that ``solver.step`` does: read from the LMDB, transform, forward, backward, update. The
bare loop is given its data in memory; it is what PyTorch itself costs.

Ours runs as training does, ``solver.step(many)``, where no blob is kept that nobody looks at
but for the last step's, and layer by layer, ``solver.step(1)`` again and again, which keeps
every blob of every step.

BVLC's build runs with one and with two BLAS threads, and the faster one counts. Figures
are medians over all rounds, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from google.protobuf import text_format

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import bvlc

from caffe.proto import caffe_pb2
from caffetools.pretrained import nets

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "config" / "models"
IMAGES = 256
BVLC_THREADS = (1, 2)
# Load of the machine, in running processes, up to which figures can be trusted.
QUIET = 0.5


@dataclass(frozen=True)
class Case:
    """A net, and how long it is watched: ``chunks`` times ``steps`` steps in each round."""

    net: str
    title: str
    batch: int
    image: tuple[int, int, int]
    classes: int
    warm_up: int
    steps: int
    chunks: int
    device: tuple[str, ...] = ()  # options that say where and how exactly to compute

    def options(self) -> list[str]:
        return [
            *self.device,
            *("--warm-up", str(self.warm_up)),
            *("--steps", str(self.steps)),
            *("--chunks", str(self.chunks)),
        ]


CASES = {
    "lenet": Case("lenet", "LeNet", 64, (1, 28, 28), 26, warm_up=20, steps=50, chunks=4),
    "caffenet": Case("caffenet", "CaffeNet", 32, (3, 256, 256), 1000, warm_up=2, steps=5, chunks=2),
    "googlenet": Case(
        "googlenet", "GoogLeNet", 16, (3, 256, 256), 1000, warm_up=1, steps=4, chunks=1
    ),
    "resnet50": Case("resnet50", "ResNet-50", 8, (3, 256, 256), 1000, warm_up=1, steps=4, chunks=1),
}


# --- what both Caffes train on --------------------------------------------------------


def write_job(case: Case, folder: Path) -> None:
    """The solver, the net without its test layers, its LMDB of noise and its mean."""
    net, solver = (read_model if (MODELS / case.net).exists() else write_model)(case)
    for name in ("test_iter", "test_interval", "display", "snapshot"):
        solver.ClearField(name)
    solver.random_seed = 1
    solver.snapshot_after_train = False

    (folder / "train_val.prototxt").write_text(text_format.MessageToString(net))
    (folder / "solver.prototxt").write_text(text_format.MessageToString(solver))
    _write_images(case, folder)


def read_model(case: Case) -> tuple[Any, Any]:
    """Net and solver of the pipeline's model, for training alone."""
    folder = MODELS / case.net
    net, solver = caffe_pb2.NetParameter(), caffe_pb2.SolverParameter()
    text_format.Parse((folder / "train_val.prototxt").read_text(), net)
    text_format.Parse((folder / "solver.prototxt").read_text(), solver)
    return _in_training(net, case), solver


def _in_training(net: Any, case: Case) -> Any:
    kept = [layer for layer in net.layer if not _is_for_test(layer)]
    del net.layer[:]
    net.layer.extend(kept)
    net.layer[0].data_param.source = "lmdb"
    net.layer[0].data_param.batch_size = case.batch
    return net


def write_model(case: Case) -> tuple[Any, Any]:
    """The published net of that name, and a solver for it."""
    net = _in_training(nets.train_val(case.net), case)
    solver = caffe_pb2.SolverParameter(net="train_val.prototxt", base_lr=0.01, momentum=0.9)
    solver.lr_policy, solver.weight_decay = "fixed", 0.0002
    return net, solver


def _is_for_test(layer: Any) -> bool:
    return any(rule.phase == caffe_pb2.TEST for rule in layer.include)


def _write_images(case: Case, folder: Path) -> None:
    rng = np.random.default_rng(0)
    channels, height, width = case.image
    size = channels * height * width
    database = lmdb.open(str(folder / "lmdb"), map_size=1 << 30)
    with database, database.begin(write=True) as entries:
        for index in range(IMAGES):
            record = caffe_pb2.Datum(channels=channels, height=height, width=width)
            record.data = rng.bytes(size)
            record.label = int(rng.integers(case.classes))
            entries.put(f"{index:08d}".encode(), record.SerializeToString())
    mean = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width)
    mean.data.extend([127.5] * size)
    (folder / "mean.binaryproto").write_bytes(mean.SerializeToString())


# --- the sides ------------------------------------------------------------------------

Side = Callable[[Case], dict[str, Any]]


def ours(folder: Path, *more: str) -> Side:
    def measure(case: Case) -> dict[str, Any]:
        worker = [str(HERE / "caffe_worker.py"), "--solver", "solver.prototxt", *more]
        return _run_here([*worker, *case.options()], folder)

    return measure


def bare_pytorch(folder: Path) -> Side:
    def measure(case: Case) -> dict[str, Any]:
        worker = [str(HERE / "pytorch_worker.py"), "--net", case.net, "--batch", str(case.batch)]
        return _run_here([*worker, *case.options()], folder)

    return measure


def _run_here(command: list[str], folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def bvlcs(place: bvlc.Workplace, threads: int) -> Side:
    def measure(case: Case) -> dict[str, Any]:
        arguments = ["--solver", "solver.prototxt", *case.options()]
        return place.python(HERE / "caffe_worker.py", *arguments, threads=threads).json()

    return measure


def sides_of(names: list[str], folder: Path, stack: ExitStack) -> dict[str, Side]:
    sides: dict[str, Side] = {}
    if "ours" in names:
        sides["ours"] = ours(folder)
        sides["ours, layer by layer"] = ours(folder, "--one-by-one")
    if "bvlc" in names:
        files = {entry.name: entry for entry in folder.iterdir()}
        place = stack.enter_context(bvlc.find().workplace(files))
        for threads in BVLC_THREADS:
            sides[f"BVLC, {threads} BLAS thread{'s'[: threads - 1]}"] = bvlcs(place, threads)
    if "pytorch" in names:
        sides["bare PyTorch"] = bare_pytorch(folder)
    return sides


# --- measuring and telling ------------------------------------------------------------


@dataclass
class Timing:
    """What one side took, over all rounds: seconds a step, seconds of warm-up, last loss."""

    seconds: list[float] = field(default_factory=list)
    warm_up: list[float] = field(default_factory=list)
    loss: float = float("nan")

    def add(self, result: dict[str, Any]) -> None:
        self.seconds += result["seconds"]
        self.warm_up.append(result["warm_up"])
        self.loss = result["loss"]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(case: Case, names: list[str], rounds: int) -> dict[str, Timing]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_job(case, folder)
        sides = sides_of(names, folder, stack)
        timings = {name: Timing() for name in sides}
        for turn in range(rounds):
            for name, side in sides.items():
                print(f"{case.title}: round {turn + 1} of {rounds}, {name}", file=sys.stderr)
                timings[name].add(side(case))
    return timings


def ratios(timings: dict[str, Timing]) -> dict[str, float]:
    """How many times as long as ours the others take; BVLC's at its faster thread number."""
    if "ours" not in timings:
        return {}
    own = timings["ours"].median
    of_bvlc = [timing.median for name, timing in timings.items() if name.startswith("BVLC")]
    found = {}
    if of_bvlc:
        found["BVLC / ours"] = min(of_bvlc) / own
    if "bare PyTorch" in timings:
        found["bare PyTorch / ours"] = timings["bare PyTorch"].median / own
    return found


def table(case: Case, timings: dict[str, Timing]) -> str:
    lines = [
        f"{case.title}, batch {case.batch}: milliseconds a training step",
        f"{'':24}{'median':>10}{'least':>10}{'most':>10}{'images/s':>10}{'warm-up s':>12}"
        f"{'loss':>10}",
    ]
    for name, timing in timings.items():
        figures = [1000 * f(timing.seconds) for f in (statistics.median, min, max)]
        cells = "".join(f"{figure:10.1f}" for figure in figures)
        warm_up = statistics.median(timing.warm_up)
        rate = case.batch / timing.median
        lines.append(f"{name:24}{cells}{rate:10.1f}{warm_up:12.1f}{timing.loss:10.3f}")
    lines += [f"{name}: {ratio:.2f}" for name, ratio in ratios(timings).items()]
    return "\n".join(lines)


def as_json(case: Case, timings: dict[str, Timing]) -> dict[str, Any]:
    return {
        "batch": case.batch,
        "sides": {
            name: {
                "median_seconds": timing.median,
                "seconds": timing.seconds,
                "warm_up_seconds": timing.warm_up,
                "loss": timing.loss,
            }
            for name, timing in timings.items()
        },
        "ratios": ratios(timings),
    }


def chosen(case: Case, options: argparse.Namespace) -> Case:
    """The case as the command line wants it run."""
    device = ["--precision", options.precision]
    switches = ("gpu", "compile", "deterministic")
    device += [f"--{name}" for name in switches if getattr(options, name)]
    return replace(case, batch=options.batch or case.batch, device=tuple(device))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=["ours", "bvlc", "pytorch"],
        default=["ours", "bvlc", "pytorch"],
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, help="images a step, instead of the net's own")
    parser.add_argument("--gpu", action="store_true", help="ours and PyTorch's on the GPU")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="float32")
    parser.add_argument("--compile", action="store_true", help="compile ours and PyTorch's")
    parser.add_argument(
        "--deterministic", action="store_true", help="ours by deterministic algorithms"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()

    load = os.getloadavg()[0]
    if load > QUIET:
        print(f"warning: others are at work here (load {load:.1f}); mind it", file=sys.stderr)
    results = {}
    for name in options.nets:
        case = chosen(CASES[name], options)
        try:
            timings = measure(case, options.sides, options.rounds)
        except (bvlc.BvlcError, subprocess.CalledProcessError) as error:
            print(f"error: {error}\n--sides chooses who takes part", file=sys.stderr)
            return 1
        print(table(case, timings), end="\n\n", flush=True)
        results[name] = as_json(case, timings)
    if options.json:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": load}
        options.json.write_text(json.dumps({"machine": machine, "nets": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
