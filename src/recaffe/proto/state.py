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

# Caffe's states do not say what wrote them. In this field, which Caffe's parser skips, ours do.
_TYPE_NUMBER = 1000


@dataclass
class SavedState:
    """What a solver needs to go on, besides its settings.

    Attributes:
        iteration: how many updates were made.
        learned_net: the path of the weights; ``None`` if the state names none.
        current_step: how often the policy lowered the rate.
        history: the arrays of the update rule, in Caffe's order.
        solver_type: the type that wrote it; empty in BVLC's files.
    """

    iteration: int
    learned_net: str | None
    current_step: int
    history: Sequence[np.ndarray]
    solver_type: str = ""


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
    return SavedState(state.iter, named, state.current_step, history, _written_type(state))


def write_state(path: str | Path, saved: SavedState) -> None:
    """Write the state; as HDF5 if ``path`` ends in ``.h5``."""
    state = SolverState(
        iter=saved.iteration, learned_net=saved.learned_net, current_step=saved.current_step
    )
    if saved.solver_type:
        name = saved.solver_type.encode()
        state.MergeFromString(wire.field_header(_TYPE_NUMBER, len(name)) + name)
    write = hdf5.write_state if Path(path).suffix == ".h5" else weights.write_state
    write(path, state, saved.history)


def _written_type(state: Any) -> str:
    names = [
        field.data
        for field in UnknownFieldSet(state)  # type: ignore[attr-defined]
        if field.field_number == _TYPE_NUMBER and field.wire_type == wire.LENGTH_DELIMITED
    ]
    return names[-1].decode(errors="replace") if names else ""
