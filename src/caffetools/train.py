"""Trains a net as ``caffe train -solver S -weights W`` does, and keeps a history.

The training goes on where it was stopped: from the newest whole snapshot in the folder
given, if it was written under the same solver, net, weights, data and code. On SIGTERM
and SIGINT it takes a snapshot and ends. ``history.csv`` is described in
:mod:`caffetools.history`; its test columns come from the solver's first test net, every
``test_interval`` iterations and at the end. ``gradients.csv`` is described in
:mod:`caffetools.magnitudes`, ``losses.csv`` in :mod:`caffetools.loss_parts`.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from tqdm import tqdm

from caffetools import prototxt, snapshots
from caffetools.cli import ToolError, run
from caffetools.detection import training
from caffetools.digest import source_digest
from caffetools.files import sha256, whole_file
from caffetools.gpus import free_gpu
from caffetools.history import Row, read_rows, write_history
from caffetools.loss_parts import Parts, names_of, parts_of, read_losses, write_losses
from caffetools.magnitudes import Recorder, read_magnitudes, write_magnitudes
from caffetools.metrics import count_errors
from caffetools.nets import loss as loss_of
from caffetools.schedule import learning_rate
from caffetools.weights import layer_names, require_same_colours

# BVLC's build logs its whole net to stderr; it reads this when it is imported.
os.environ.setdefault("GLOG_minloglevel", "1")
import caffe

LOG = logging.getLogger("caffetools.train")

# What changes no step of a training; max_iter does where the policy is poly.
_NO_MATTER = (
    "max_iter", "snapshot", "snapshot_after_train", "display", "average_loss", "debug_info",
)  # fmt: skip


class Trainer:
    """One training, from the solver's prototxt to the history.

    Args:
        solver_file: the solver's prototxt.
        weights: weights to start from, by layer name; None to start from the fillers.
        folder: where snapshots and the history so far are kept.
    """

    def __init__(self, solver_file: Path, weights: Optional[Path], folder: Path) -> None:
        self.param = prototxt.read_solver(solver_file)
        self.folder = folder
        self._history, self._gradients = folder / "history.csv", folder / "gradients.csv"
        self._losses = folder / "losses.csv"
        self.solver = caffe.get_solver(str(self._write_solver()))
        self._magnitudes = Recorder(self.solver, self.param.max_iter)
        # Nobody looks between data and loss here, and our runtime need not keep what is there.
        self._step = getattr(self.solver, "step_unseen", self.solver.step)
        net = prototxt.read_net(_net_file(solver_file, self.param))
        self._is_detector = training.is_detector(net)
        if self.param.test_iter:
            self._scores, self._labels = prototxt.scores_and_labels(
                prototxt.phase_view(net, prototxt.TEST)
            )
        self.rows: list[Row] = []
        self._parts: list[Parts] = []
        if not self._resume() and weights is not None:
            self._start_from(weights)

    def _write_solver(self) -> Path:
        """The solver for Caffe: when to test and when to take a snapshot is up to this class."""
        own = type(self.param)()
        own.CopyFrom(self.param)
        own.snapshot_prefix = str(self.folder / snapshots.PREFIX)
        own.snapshot, own.snapshot_after_train = 0, False
        own.display = 0
        own.test_initialization = False
        if own.test_iter:
            own.test_interval = own.max_iter + 1
        path = self.folder / "solver.prototxt"
        prototxt.write(path, own)
        return path

    def _start_from(self, weights: Path) -> None:
        # Caffe says nothing of weights that fit no layer by name, and trains without them;
        # BVLC's build ends the process on a file that is cut off.
        if weights.suffix != ".h5":
            known = layer_names(weights)
            if not set(known).intersection(self.solver.net.params):
                raise ToolError(
                    f"{weights}: no layer of the net has the name of one in this file, which "
                    f"has {', '.join(known)}; the net has {', '.join(self.solver.net.params)}. "
                    "Rename the net's layers to those to start from, or train without weights"
                )
            require_same_colours(weights, self.solver.net.params)
        loaded = self.solver.net.copy_from(str(weights))
        if self._is_detector:
            training.unfold(self.solver.net, loaded.copied)

    def _resume(self) -> bool:
        for iteration, state in snapshots.newest_first(self.folder):
            if iteration > self.param.max_iter:
                continue
            try:
                self._go_on_from(state, iteration)
            except (ToolError, OSError, getattr(caffe, "CaffeError", ToolError)) as error:
                LOG.info("%s: passed over, it cannot be used: %s", state, error)
                continue
            LOG.info("going on from iteration %d", iteration)
            return True
        return False

    def _go_on_from(self, state: Path, iteration: int) -> None:
        snapshots.require_whole(state)
        # The tables first: a solver that was restored cannot be made as new again.
        rows = [row for row in read_rows(self._history) if row.iteration <= iteration]
        if [row.iteration for row in rows] != list(range(iteration + 1)):
            raise ToolError(f"{self._history} has not every iteration before it")
        magnitudes = self._magnitudes.checked(read_magnitudes(self._gradients), iteration)
        parts = [part for part in read_losses(self._losses)[1] if part.iteration <= iteration]
        if len(parts) != iteration:
            raise ToolError(f"{self._losses} has not every iteration before it")
        self.solver.restore(str(state))
        self.rows, self._magnitudes.rows, self._parts = rows, magnitudes, parts

    @property
    def iteration(self) -> int:
        """How many updates were made."""
        return int(self.solver.iter)

    def steps(self) -> Iterator[Row]:
        """Train up to ``max_iter``; yield each iteration's row, recorded."""
        if not self.rows:
            self.rows.append(Row(0))
        yield self._tested()
        while self.iteration < self.param.max_iter:
            rate = learning_rate(self.param, self.iteration)
            with self._magnitudes.recording(self.iteration + 1):
                self._step(1)
            self.rows.append(Row(self.iteration, loss_of(self.solver.net), rate))
            self._parts.append(parts_of(self.solver.net, self.iteration))
            # Before the test, which is made again by whoever goes on from here: a training that
            # is made longer does not test where this one ends.
            if self._is_snapshot_due():
                self.snapshot()
            yield self._tested()

    def _tested(self) -> Row:
        """The last row, with what its test gives if one is due."""
        row = self.rows[-1]
        if self._is_test_due(row.iteration) and row.test_loss is None:
            loss, accuracy = self._test()
            row = self.rows[-1] = row._replace(test_loss=loss, test_accuracy=accuracy)
        return row

    def _is_snapshot_due(self) -> bool:
        if self.iteration == self.param.max_iter and self.param.snapshot_after_train:
            return True
        return bool(self.param.snapshot) and self.iteration % self.param.snapshot == 0

    def _is_test_due(self, iteration: int) -> bool:
        if not self.param.test_iter:
            return False
        if iteration == 0 and not self.param.test_initialization:
            return False
        return iteration % self.param.test_interval == 0 or iteration == self.param.max_iter

    def _test(self) -> tuple[float, float]:
        """Mean loss and accuracy over ``test_iter`` batches of the first test net."""
        net = self.solver.test_nets[0]
        net.share_with(self.solver.net)
        loss, errors, entries = 0.0, 0, 0
        batches = self.param.test_iter[0]
        for _ in range(batches):
            net.forward()
            loss += loss_of(net)
            scores = np.array(net.blobs[self._scores].data)
            labels = np.array(net.blobs[self._labels].data).reshape(-1)
            errors += count_errors(scores.reshape(len(scores), -1), labels)
            entries += len(labels)
        return loss / batches, 1 - errors / entries

    def snapshot(self) -> None:
        """Take a snapshot now."""
        # The tables first: they must hold every iteration that a snapshot does.
        write_history(self._history, self.rows)
        write_magnitudes(self._gradients, self._magnitudes.rows)
        self._write_losses(self._losses)
        self.solver.snapshot()
        snapshots.seal(self.folder, self.iteration)

    def snapshot_once(self) -> None:
        """Take a snapshot unless there is one of this iteration."""
        if not snapshots.has_whole(self.folder, self.iteration):
            self.snapshot()

    def _write_losses(self, path: Path) -> None:
        write_losses(path, names_of(self.solver.net), self._parts)

    def save(
        self,
        weights: Path,
        history: Path,
        gradients: Optional[Path] = None,
        losses: Optional[Path] = None,
    ) -> None:
        """Write the results: the weights as they are now, and the tables."""
        with whole_file(weights) as partial:
            if self._is_detector:
                training.publish(self.solver.net, partial)
            else:
                self.solver.net.save(str(partial))
        write_history(history, self.rows)
        if gradients is not None:
            write_magnitudes(gradients, self._magnitudes.rows)
        if losses is not None:
            self._write_losses(losses)


def fingerprint(solver_file: Path, weights: Optional[Path], computation: str = "") -> str:
    """What a training's steps follow from: solver, net, initial weights, data, threads, code.

    Whose Caffe computes, and how, is told as ``computation``.

    Of the solver all but when it ends, takes snapshots and tells of itself; so a training can be
    made longer, unless its learning rate follows from its length. The data are told by their
    LMDBs' manifests, where there are some beside them; those of a detector by the file that names
    its images with their checksums.
    """
    solver = prototxt.read_solver(solver_file)
    net_file = _net_file(solver_file, solver)
    for field in _NO_MATTER:
        if field != "max_iter" or solver.lr_policy != "poly":
            solver.ClearField(field)
    net = prototxt.read_net(net_file)
    layers = net.layer
    sources = sorted({layer.data_param.source for layer in layers} - {""})
    files = [
        net_file,
        *([weights] if weights else []),
        *(Path(f"{source}.json") for source in sources),
        *(Path(layer.transform_param.mean_file) for layer in layers),
        *training.image_files(net),
    ]
    parts = [f"{sha256(path)} {path.name}" for path in files if path.is_file()]
    # As many threads as there are, so many parts has a sum.
    threads = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')}"
    parts += [prototxt.to_text(solver), threads, computation, source_digest("caffetools.train")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _net_file(solver_file: Path, param: Any) -> Path:
    net = Path(param.net)
    if not param.net:
        raise ToolError(
            f"{solver_file}: it names no net; expected `net:` and one file with the layers of "
            "both phases"
        )
    if not net.is_file():
        raise ToolError(
            f"{solver_file}: its net {net} is not there; a path that is not absolute is seen "
            f"from the folder to run in, here {Path.cwd()}"
        )
    return net


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """The signals received so far; they end the training after the step in progress."""
    received: list[int] = []
    watched = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda got, _: received.append(got)) for number in watched]
    try:
        yield received
    finally:
        for number, handler in zip(watched, before):
            signal.signal(number, handler)


def _progress(rows: Iterator[Row], start: int, end: int) -> Iterator[Row]:
    """``rows``, with a progress bar on a terminal and a line a test elsewhere."""
    with tqdm(total=end, initial=start, unit="it", disable=not sys.stderr.isatty()) as bar:
        for row in rows:
            bar.update(row.iteration - bar.n)
            bar.set_postfix(_shown(row), refresh=False)
            if bar.disable and row.test_accuracy is not None:
                figures = ", ".join(f"{name} = {value}" for name, value in _shown(row).items())
                LOG.info("iteration %d of %d: %s", row.iteration, end, figures)
            yield row


def _shown(row: Row) -> dict[str, str]:
    figures = row._asdict()
    del figures["iteration"]
    return {name: f"{value:.4g}" for name, value in figures.items() if value is not None}


def train(trainer: Trainer) -> Optional[int]:
    """Train to the end, or to a signal, whose number is then returned."""
    with _stop_requests() as received:
        for _ in _progress(trainer.steps(), trainer.iteration, trainer.param.max_iter):
            if received:
                trainer.snapshot_once()
                LOG.info("stopped at iteration %d, after a snapshot", trainer.iteration)
                return received[0]
    return None


def _gpu(text: str) -> Union[int, str]:
    if text != "any" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected the number of a GPU, or any; found {text!r}")
    return text if text == "any" else int(text)


@contextmanager
def _computation(options: argparse.Namespace) -> Iterator[None]:
    """Compute as the options tell; a GPU that was to be any is this process' own meanwhile."""
    with ExitStack() as stack:
        gpu = stack.enter_context(free_gpu()) if options.gpu == "any" else options.gpu
        if gpu is not None:
            caffe.set_device(gpu)
            caffe.set_mode_gpu()
        _choose_exactness(options)
        yield


def _computation_told(options: argparse.Namespace) -> str:
    """Whose Caffe computes, and how exactly."""
    whose = "Recaffe" if hasattr(caffe, "set_precision") else "BVLC"
    switches = [name for name in ("compile", "deterministic") if getattr(options, name)]
    return " ".join([whose, options.precision, *switches])


def _choose_exactness(options: argparse.Namespace) -> None:
    if hasattr(caffe, "set_precision"):
        caffe.set_precision(options.precision)
        caffe.set_compiled(options.compile)
        caffe.set_deterministic(options.deterministic)
    elif options.precision != "float32" or options.compile or options.deterministic:
        raise ToolError(
            "--precision, --compile and --deterministic are for Recaffe's runtime; this Caffe "
            f"({caffe.__file__}) has none of them: leave them out"
        )


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.train``"""
    parser = argparse.ArgumentParser(prog="python -m caffetools.train", description=__doc__)
    parser.add_argument("--solver", type=Path, required=True, help="solver.prototxt")
    parser.add_argument("--weights", type=Path, help=".caffemodel to start from, by layer name")
    parser.add_argument("--snapshots", type=Path, required=True, help="folder of the snapshots")
    parser.add_argument("--output", type=Path, required=True, help=".caffemodel to write")
    parser.add_argument("--history", type=Path, required=True, help="history.csv to write")
    parser.add_argument("--gradients", type=Path, help="gradients.csv to write")
    parser.add_argument("--losses", type=Path, help="losses.csv to write, each loss by itself")
    parser.add_argument(
        "--gpu", type=_gpu, metavar="N",
        help="number of the GPU to train on, or any: one that no other such training has, which "
        "is waited for (default: the CPU)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("float32", "tf32", "bf16"), default="float32",
        help="how exactly to compute; all but float32 are for speed on a GPU",
    )  # fmt: skip
    parser.add_argument(
        "--compile", action="store_true", help="compile the training step, for speed on a GPU"
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="the same last digits on a GPU each time"
    )
    options = parser.parse_args(arguments)
    for what, path in (("--solver", options.solver), ("--weights", options.weights)):
        if path is not None and not path.is_file():
            raise ToolError(f"{what}: expected a file {path}, found none; make it first")
    # The folder first: a second trainer of it is refused before it waits for a GPU.
    with snapshots.locked(options.snapshots), _computation(options):
        mark = fingerprint(options.solver, options.weights, _computation_told(options))
        snapshots.keep_only_if_same(options.snapshots, mark)
        trainer = Trainer(options.solver, options.weights, options.snapshots)
        signal_number = train(trainer)
        if signal_number is not None:
            return 128 + signal_number
        trainer.save(options.output, options.history, options.gradients, options.losses)
    return None


if __name__ == "__main__":
    run(main)
