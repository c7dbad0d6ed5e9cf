"""Snapshots: what a solver writes so that another can go on, and going on from it.

Source: ``Solver::Snapshot`` in ``solver.cpp``, ``Restore`` in ``sgd_solver.cpp``, and
``UpgradeSnapshotPrefixProperty`` in ``upgrade_proto.cpp``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recaffe.detection.folding import folded, unfold
from recaffe.errors import SolverError
from recaffe.net import Net, load_weights, save_weights
from recaffe.proto import hdf5
from recaffe.proto.schema import SolverParameter
from recaffe.proto.state import SavedState, read_state, write_state
from recaffe.solver import run_state
from recaffe.solver.policies import current_step

if TYPE_CHECKING:
    from recaffe.solver.solver import Solver

logger = logging.getLogger(__name__)


def with_snapshot_prefix(param: Any, solver_file: str | Path) -> Any:
    """A copy of ``param`` with a ``snapshot_prefix``: by default the solver file's own name.

    Where a folder is given, snapshots get that name in it.
    """
    named, path = type(param)(), Path(solver_file)
    named.CopyFrom(param)
    if not param.HasField("snapshot_prefix"):
        named.snapshot_prefix = str(path.with_suffix(""))
    elif param.snapshot_prefix and Path(param.snapshot_prefix).is_dir():
        named.snapshot_prefix = str(Path(param.snapshot_prefix) / path.stem)
    return named


def check_snapshots(param: Any, net: Net) -> None:
    """Tell before training what would keep snapshots from being written after it.

    Raises:
        SolverError: the place cannot be written to.
        FormatError: a layer's name cannot be written in that format.
    """
    if param.snapshot:
        parent = Path(f"{param.snapshot_prefix}_").absolute().parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise SolverError(
                f"cannot write to snapshot_prefix '{param.snapshot_prefix}': {parent} is not a "
                "folder that can be written to; name another place"
            )
        if _is_hdf5(param):
            for name in net.layer_names:
                hdf5.check_layer_name(name, param.snapshot_prefix)


def _is_hdf5(param: Any) -> bool:
    return param.snapshot_format == SolverParameter.HDF5


def write_snapshot(solver: Solver) -> tuple[Path, Path]:
    """Write weights and state under ``snapshot_prefix``; return their paths.

    The weights come first, so that a solver state never lacks the weights it names.
    """
    param, ending = solver.param, ".h5" if _is_hdf5(solver.param) else ""
    kind = "HDF5" if ending else "binary proto"
    stem = f"{param.snapshot_prefix}_iter_{solver.iteration}"
    weights, state = Path(f"{stem}.caffemodel{ending}"), Path(f"{stem}.solverstate{ending}")
    logger.info("Snapshotting to %s file %s", kind, weights)
    with folded(solver.net):
        save_weights(solver.net, weights, with_diff=param.snapshot_diff)
    saved = SavedState(
        iteration=solver.iteration,
        learned_net=str(weights),
        current_step=current_step(param, solver.iteration),
        history=solver.history(),
        solver_type=solver.type,
        run=solver.run_state(),
    )
    logger.info("Snapshotting solver state to %s file %s", kind, state)
    write_state(state, saved)
    return weights, state


def restore(solver: Solver, path: str | Path) -> None:
    """Let ``solver`` go on from a solver state and the weights that it names.

    Raises:
        FormatError: not a whole solver state, or one of a run that this solver cannot go on with.
        SolverError: a history of another type of solver, or that does not fit this net.
    """
    saved = read_state(path)
    _check_type(solver, saved.solver_type, str(path))
    _check_history(solver, saved.history, str(path))
    if saved.learned_net == "":
        raise SolverError(
            f"{path}: names its weights by an empty path; leave learned_net out to keep the net's"
        )
    if saved.learned_net is not None:
        weights = _beside(Path(path), Path(saved.learned_net))
        unfold(solver.net, load_weights(solver.net, weights).copied)
    logger.info("SGDSolver: restoring history")
    solver.set_history(saved.history)
    if saved.run:
        run_state.give(solver, saved.run, str(path))
    solver.iteration = saved.iteration


def _check_type(solver: Solver, written: str, path: str) -> None:
    from recaffe.solver.registry import solver_class, solver_types

    if written in solver_types() and solver_class(written).slots != solver.slots:
        raise SolverError(
            f"{path}: the history is that of a solver of type '{written}', but this one is "
            f"'{solver.type}'; restore with that type, or start afresh from the weights"
        )


def _check_history(solver: Solver, history: Sequence[np.ndarray], path: str) -> None:
    shapes = [blob.shape for blob in solver.net.learnable] * len(solver.slots)
    expected, found = [int(np.prod(shape)) for shape in shapes], [array.size for array in history]
    if expected != found:
        raise SolverError(
            f"{path}: the history does not fit this net and solver type '{solver.type}': "
            f"expected {len(expected)} blobs of {sum(expected)} values, found {len(found)} "
            f"of {sum(found)}; restore with the net and solver that wrote it"
        )
    # Of a binary state, BVLC's older versions stored every array with four axes.
    others = [array.shape for array in history if hdf5.is_hdf5(path)]
    for index, (shape, other) in enumerate(zip(shapes, others, strict=False)):
        if other != shape:
            raise SolverError(
                f"{path}: history {index} has the shape {list(other)} instead of {list(shape)}; "
                "restore with the net and solver that wrote it"
            )


def _beside(state: Path, weights: Path) -> Path:
    """The weights a state names; from a state that was moved with them, those beside it."""
    return weights if weights.exists() else state.with_name(weights.name)
