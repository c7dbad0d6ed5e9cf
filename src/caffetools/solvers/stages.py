"""Staged unfreezing: first only the head learns, then everything.

Caffe's own ``lr_mult: 0`` freezes, so that frozen weights keep every bit, whatever the decay
and the momentum are, and nothing is computed backward below the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

from caffetools import nets, prototxt
from caffetools.cli import ToolError
from caffetools.freezing import freeze
from caffetools.solver import patch_solver
from caffetools.solvers.monitoring import MonitoringSolver
from caffetools.suggest import did_you_mean


def write_head_stage(
    solver_file: Union[str, Path], heads: Sequence[str], folder: Path, **fields: Any
) -> Path:
    """Write a solver in whose net only the layers ``heads`` learn; return its path.

    ``folder`` gets ``head_train_val.prototxt`` and ``head_solver.prototxt``, whose snapshots
    go there as well.

    Args:
        fields: of the solver, where they are to differ, such as ``base_lr=0.01``.

    Raises :class:`ToolError` where a head is no layer that learns, and where all are heads.
    """
    solver = prototxt.read_solver(Path(solver_file))
    if not solver.net:
        raise ToolError(
            f"{solver_file}: it names no net; expected `net:` and one file with the layers of "
            "both phases"
        )
    net = prototxt.read_net(Path(solver.net))
    learning = list(
        dict.fromkeys(layer.name for layer in net.layer if prototxt.learnable_blobs(layer))
    )
    for head in heads:
        if head not in learning:
            raise ToolError(
                f"{solver.net}: expected {head!r} among the layers that learn, found "
                f"{', '.join(learning)}{did_you_mean(head, learning)}"
            )
    rest = [name for name in learning if name not in heads]
    if not rest or not heads:
        raise ToolError(
            f"{solver.net}: expected some of its layers as heads, found "
            f"{', '.join(heads) or 'none'} of {', '.join(learning)}; then there is but one stage"
        )
    net_file = folder / "head_train_val.prototxt"
    prototxt.write(net_file, freeze(net, rest))
    patched = patch_solver(solver, fields, str(net_file))
    patched.snapshot_prefix = str(folder / "head")
    path = folder / "head_solver.prototxt"
    prototxt.write(path, patched)
    return path


def solve_in_stages(
    stages: Sequence[tuple[Any, int]], callbacks: Sequence[Mapping[str, Any]] = ()
) -> Any:
    """Train each stage's solver for its iterations, from the weights of the one before.

    Args:
        stages: solvers with their numbers of iterations, in order.
        callbacks: for the last stage, see :meth:`MonitoringSolver.register_callback`.

    Returns the last stage's :class:`MonitoringSolver`.
    """
    if not stages:
        raise ToolError("solve_in_stages: expected at least one solver with its iterations")
    before: Any = None
    for index, (solver, iterations) in enumerate(stages):
        if before is not None:
            nets.copy_weights(before.net, solver.net)
        monitor = MonitoringSolver(solver)
        if index == len(stages) - 1:
            monitor.register_callback(callbacks)
        monitor.solve(iterations)
        before = solver
    return monitor
