"""Training in a process that ``torchrun`` has started: one of several, on one machine or on more.

torchrun tells each process by its environment which of how many it is, and where they meet:
https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from caffe import glog
from caffe.commands.effects import Effects, ignored, on_signals
from caffe.commands.together import NOTHING_LOGGED, Work
from recaffe.context import context
from recaffe.errors import DeviceError
from recaffe.solver import Action
from recaffe.solver.link import FROM_ENVIRONMENT


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is: in all, and on this machine."""

    rank: int
    count: int
    local_rank: int
    local_count: int


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """What torchrun told this process; None where it was not started so, or alone."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if not all(environment.get(name, "").isdigit() for name in names):
        return None
    found = Place(*(int(environment[name]) for name in names))
    return found if found.count > 1 else None


def run(work: Work, chosen: list[torch.device], own: Place, effects: Effects) -> None:
    """Do this process's part of ``work``.

    Args:
        chosen: the devices of this machine; the CPU serves all of its processes.
        effects: what signals ask for; SIGTERM, by which torchrun passes on that it is to end, asks
            for what SIGINT does. They are asked of rank 0, which tells the others.

    Raises:
        DeviceError: more processes on this machine than devices.
    """
    if chosen[0].type == "cpu":
        chosen = chosen * own.local_count
    if len(chosen) < own.local_count:
        raise DeviceError(
            f"torchrun has started {own.local_count} processes on this machine, and -gpu names "
            f"{len(chosen)} of its GPUs; name as many, or give torchrun --nproc-per-node "
            f"{len(chosen)}"
        )
    context.solver_count, context.solver_rank, context.multiprocess = own.count, own.rank, True
    effects = {**effects, signal.SIGTERM: effects[signal.SIGINT]}
    device = chosen[own.local_rank]
    if own.rank:
        glog.settings().minimum = NOTHING_LOGGED
        with ignored(effects):
            work.run(chosen, lambda: Action.NONE, FROM_ENVIRONMENT, device)
        return
    received: list[Action] = []
    with on_signals(effects, received.append):
        work.run(
            chosen, lambda: received.pop(0) if received else Action.NONE, FROM_ENVIRONMENT, device
        )
