"""What a run follows from besides weights and history: random numbers, and where readers are.

A snapshot carries it where Caffe's parser looks for nothing, so that a run that goes on gives
the numbers of one that never stopped. BVLC's build starts its data over and draws anew.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from recaffe.context import context
from recaffe.detection import folding
from recaffe.errors import DataError, FormatError
from recaffe.layers.base import Layer

if TYPE_CHECKING:
    from recaffe.net import Net
    from recaffe.solver.solver import Solver


def take(solver: Solver) -> bytes:
    """The state of ``solver``'s run now, for :func:`give`."""
    state = {
        "rank": context.solver_rank,
        "generators": {
            str(device): base64.b85encode(generator.get_state().numpy().tobytes()).decode()
            for device, generator in context.generators.items()
        },
        "nets": [_taken(net) for net in _nets(solver)],
        # What a snapshot's folded weights do not tell to the bit; the same in all solvers.
        "exact": folding.exact(solver.net) if context.is_root_solver else {},
    }
    return json.dumps(state, separators=(",", ":")).encode()


def joined(states: Sequence[bytes]) -> bytes:
    """One state of what :func:`take` gave to several solvers that train together, by rank."""
    if len(states) == 1:
        return states[0]
    first = json.loads(states[0])
    first["fellows"] = [json.loads(state) for state in states[1:]]
    return json.dumps(first, separators=(",", ":")).encode()


def give(solver: Solver, content: bytes, path: str) -> None:
    """Let ``solver`` go on from what :func:`take` gave; ``path`` is of the file, for errors.

    Of several solvers each goes on from its own, where as many took theirs. Otherwise random
    numbers follow from those of the first.

    Layers that it tells nothing of are as they are.

    Raises:
        FormatError: no such state.
    """
    try:
        state = json.loads(content)
        exact, fellows = state.get("exact", {}), state.get("fellows", [])
        if context.solver_rank and len(fellows) == context.solver_count - 1:
            state = fellows[context.solver_rank - 1]
        derives = context.solver_rank != state.get("rank", 0)
        for name, generator in state["generators"].items():
            _set_generator(name, generator, derives)
        for net, told in zip(_nets(solver), state["nets"], strict=False):
            _give_layers(net, told)
        folding.set_exact(solver.net, exact)
    except DataError as error:
        raise FormatError(
            f"{path}: cannot go on where it stopped: {error}. Restore with the net and data that "
            "wrote it, or start afresh from the weights"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"{path}: what it tells of random numbers and readers is broken "
            f"({type(error).__name__}: {error}); take another snapshot"
        ) from None


def _nets(solver: Solver) -> list[Net]:
    return [solver.net, *solver.test_nets]


def _taken(net: Net) -> list[tuple[str, dict[str, Any]]]:
    return [(layer.name, state) for layer in net.layers if (state := layer.run_state())]


def _give_layers(net: Net, told: list[tuple[str, Mapping[str, Any]]]) -> None:
    # Layers may share a name; their order is that of the net.
    waiting: dict[str, Iterator[Layer]] = {
        name: iter([layer for layer in net.layers if layer.name == name and layer.run_state()])
        for name in {name for name, _ in told}
    }
    for name, state in told:
        layer = next(waiting[name], None)
        if layer is not None:
            try:
                layer.set_run_state(state)
            except DataError as error:
                raise DataError(f"layer '{name}': {error}") from None


def _set_generator(name: str, state: str, derives: bool) -> None:
    try:
        device = torch.device(name)
        # A run on a GPU may go on without it.
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            return
        content = bytearray(base64.b85decode(state))
        generator = context.generator(device)
        generator.set_state(torch.frombuffer(content, dtype=torch.uint8))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"generator '{name}': {str(error).splitlines()[0]}") from None
    if derives:
        # As in Drawing of recaffe.data.resume.
        generator.manual_seed(
            int(torch.randint(1 << 62, (), generator=generator, device=device))
            + context.solver_rank
        )
