"""Solver states in either format: ``.solverstate`` and ``.solverstate.h5``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet

from recaffe.proto import hdf5, weights, wire
from recaffe.proto.schema import SolverState

# Fields of ours, which Caffe's parser skips: the type of the solver that wrote the state, and
# the state of its run.
_TYPE_NUMBER, _RUN_NUMBER = 1000, 1001


@dataclass
class SavedState:
    """What a solver needs to go on, besides its settings.

    Attributes:
        iteration: how many updates were made.
        learned_net: the path of the weights; ``None`` if the state names none.
        current_step: how often the policy lowered the rate.
        history: the arrays of the update rule, in Caffe's order.
        solver_type: the type that wrote it; empty in BVLC's files.
        run: random numbers and readers' places; empty in BVLC's files.
    """

    iteration: int
    learned_net: str | None
    current_step: int
    history: Sequence[np.ndarray]
    solver_type: str = ""
    run: bytes = b""


def read_state(path: str | Path) -> SavedState:
    """The state in the file, whose content tells the format.

    Raises:
        FormatError: absent, cut short, or not a solver state.
    """
    if hdf5.is_hdf5(path):
        state, history = hdf5.read_state(path)
    else:
        state, history = weights.read_state(path)
    named = state.learned_net if state.HasField("learned_net") else None
    solver_type = _skipped(state, _TYPE_NUMBER).decode(errors="replace")
    run = _skipped(state, _RUN_NUMBER)
    return SavedState(state.iter, named, state.current_step, history, solver_type, run)


def write_state(path: str | Path, saved: SavedState) -> None:
    """Write the state; as HDF5 if ``path`` ends in ``.h5``."""
    state = SolverState(
        iter=saved.iteration, learned_net=saved.learned_net, current_step=saved.current_step
    )
    for number, content in ((_TYPE_NUMBER, saved.solver_type.encode()), (_RUN_NUMBER, saved.run)):
        if content:
            state.MergeFromString(wire.field_header(number, len(content)) + content)
    write = hdf5.write_state if Path(path).suffix == ".h5" else weights.write_state
    write(path, state, saved.history)


def _skipped(state: Any, number: int) -> bytes:
    """The last field of that number; empty without one."""
    found = [
        field.data
        for field in UnknownFieldSet(state)  # type: ignore[attr-defined]
        if field.field_number == number and field.wire_type == wire.LENGTH_DELIMITED
    ]
    return found[-1] if found else b""
