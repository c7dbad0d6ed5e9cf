"""Taking snapshots: at intervals, only the last ones kept, or only the best.

``snapshot_prefix`` is that of the solver's prototxt, told again, since BVLC's pycaffe does
not tell it. Snapshots are those of the format BINARYPROTO, the default.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Optional, Union

from google.protobuf.message import DecodeError
from tqdm import tqdm

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.files import whole_file
from caffetools.solvers.stopping import Lowest, Measure

Prefix = Union[str, Path]


def create_snapshot(solver: Any, snapshot_prefix: Prefix) -> tuple[Path, Path]:
    """Take a snapshot; return the paths of its weights and its state.

    Raises :class:`ToolError` where they are not found under the prefix.
    """
    solver.snapshot()
    weights, state = _paths(snapshot_prefix, int(solver.iter))
    for path in (weights, state):
        if not path.is_file():
            raise ToolError(
                f"{path}: expected the snapshot there, found none; give the snapshot_prefix of the "
                "solver's prototxt, and leave its snapshot_format at BINARYPROTO"
            )
    return weights, state


def create_named_snapshot(solver: Any, snapshot_prefix: Prefix, name: str) -> tuple[Path, Path]:
    """Take a snapshot ``<prefix>_<name>``, over one of that name; return its paths.

    The state names these weights, so that ``solver.restore`` finds them. A snapshot of the
    same iteration that was there before stays.
    """
    was_there = _paths(snapshot_prefix, int(solver.iter))[1].exists()
    weights, state = create_snapshot(solver, snapshot_prefix)
    kept_weights, kept_state = (
        Path(f"{snapshot_prefix}_{name}{path.suffix}") for path in (weights, state)
    )
    message = _read_state(state)
    message.learned_net = str(kept_weights)
    # Weights first: a state is of no use without them.
    with whole_file(kept_weights) as partial:
        shutil.copyfile(str(weights), str(partial))
    with whole_file(kept_state) as partial:
        partial.write_bytes(message.SerializeToString())
    if not was_there:
        state.unlink()
        weights.unlink()
    return kept_weights, kept_state


class SnapshotCallback:
    """Takes a snapshot whenever it is called.

    Args:
        snapshot_prefix: needed with ``keep`` alone.
        keep: how many snapshots under the prefix to keep, the furthest trained; None for all.
    """

    def __init__(self, snapshot_prefix: Prefix = "", keep: Optional[int] = None) -> None:
        if keep is not None and (keep < 1 or not str(snapshot_prefix)):
            raise ToolError(
                f"keep={keep}: expected at least 1 snapshot to keep and the snapshot_prefix of the "
                f"solver's prototxt, found snapshot_prefix={str(snapshot_prefix)!r}"
            )
        self.snapshot_prefix = snapshot_prefix
        self.keep = keep

    def write_snapshot(self, iteration: int, solver: Any) -> None:
        """Take a snapshot, say so, and remove those that are too many."""
        if self.keep is None:
            solver.snapshot()
        else:
            create_snapshot(solver, self.snapshot_prefix)
            keep_last(self.snapshot_prefix, self.keep)
        tqdm.write(f"Snapshot [{iteration}]")


class BestSnapshotCallback:
    """Keeps the snapshot with the lowest score, as ``<prefix>_best``.

    Args:
        measure: ``measure(iteration, solver)`` is the score, lower being better, such as the
            ``test_error`` of a :class:`ReportErrorCallback`.
    """

    def __init__(self, measure: Measure, snapshot_prefix: Prefix) -> None:
        self.measure = measure
        self.snapshot_prefix = snapshot_prefix
        self.lowest = Lowest()

    def keep_best(self, iteration: int, solver: Any) -> None:
        """Measure, and take a snapshot where the score is the lowest so far."""
        value = self.measure(iteration, solver)
        if self.lowest.is_lowered_by(iteration, value):
            create_named_snapshot(solver, self.snapshot_prefix, "best")
            tqdm.write(f"Best snapshot [{iteration}]: {value:.6g}")


def keep_last(snapshot_prefix: Prefix, count: int) -> None:
    """Remove all snapshots under the prefix but the ``count`` furthest trained."""
    prefix = Path(f"{snapshot_prefix}_iter_")
    form = re.compile(re.escape(prefix.name) + r"(\d+)\.(caffemodel|solverstate)")
    matches = (form.fullmatch(path.name) for path in prefix.parent.iterdir())
    iterations = sorted({int(match.group(1)) for match in matches if match}, reverse=True)
    for iteration in iterations[count:]:
        weights, state = _paths(snapshot_prefix, iteration)
        # The state first: it would be found, and be of no use without its weights.
        for path in (state, weights):
            if path.exists():
                path.unlink()


def _paths(snapshot_prefix: Prefix, iteration: int) -> tuple[Path, Path]:
    weights, state = (
        Path(f"{snapshot_prefix}_iter_{iteration}.{ending}")
        for ending in ("caffemodel", "solverstate")
    )
    return weights, state


def _read_state(path: Path) -> Any:
    state = caffe_pb2.SolverState()
    try:
        state.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ToolError(
            f"{path}: expected a solver state, found {path.stat().st_size} bytes that do not parse "
            f"({error}); is the disk full?"
        ) from error
    return state
