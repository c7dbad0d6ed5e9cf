"""``caffe train``.

Source: ``train`` in ``tools/caffe.cpp``.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from dataclasses import dataclass

import torch

from caffe.commands import devices, launched, together
from caffe.commands.effects import Effects, effect, on_signals
from caffe.commands.program import info
from recaffe.context import context
from recaffe.errors import CaffeError
from recaffe.proto.schema import SolverParameter
from recaffe.proto.text import read_solver
from recaffe.solver import Action, make_solver
from recaffe.solver.link import Link

FILE = "caffe.cpp"


def train(options: argparse.Namespace) -> None:
    """Train as the options say, on one device or on several."""
    if not options.solver:
        raise CaffeError("Need a solver definition to train.")
    if options.snapshot and options.weights:
        raise CaffeError("Give a snapshot to resume training or weights to finetune but not both.")
    param = read_solver(options.solver)
    param.train_state.level = options.level
    param.train_state.stage.extend(options.stage.split(","))
    if options.weights:
        param.weights[:] = [options.weights]
    gpu = options.gpu
    if not gpu and param.HasField("solver_mode") and param.solver_mode == SolverParameter.GPU:
        gpu = str(param.device_id) if param.HasField("device_id") else "0"
    effects = {
        signal.SIGINT: effect(options.sigint_effect),
        signal.SIGHUP: effect(options.sighup_effect),
    }
    param.solver_mode = SolverParameter.GPU if gpu else SolverParameter.CPU
    train_on(devices.named(gpu), Training(param.SerializeToString(), options.snapshot), effects)


@dataclass(frozen=True)
class Training:
    """What is to be trained, in a form that other processes can be told.

    Args:
        param: a SolverParameter, serialised.
        snapshot: the solver state to go on from, if any.
    """

    param: bytes
    snapshot: str = ""

    def run(
        self,
        chosen: list[torch.device],
        action: Callable[[], Action],
        meeting: str = "",
        device: torch.device | None = None,
    ) -> None:
        """Train to the end on this process's device.

        Args:
            chosen: the devices of this machine that train together.
            action: tells what this process is asked for meanwhile.
            meeting: where the solvers of the other devices are found.
            device: by default, of those chosen that of this process's rank.
        """
        param = SolverParameter.FromString(self.param)
        devices.tell_all(chosen)
        devices.use(device or chosen[context.solver_rank])
        solver = make_solver(param)
        solver.action = action
        if self.snapshot:
            info((FILE, 235), "Resuming from %s", self.snapshot)
            solver.restore(self.snapshot)
        if meeting:
            link = Link(solver, meeting)
            link.broadcast()
            link.join()
            solver.agree, solver.gather = link.agree, link.gather
        info((FILE, 239), "Starting Optimization")
        if context.is_root_solver:
            solver.solve()
        else:
            solver.step(param.max_iter - solver.iteration, keep_last=False)
        info((FILE, 250), "Optimization Done.")


def train_on(chosen: list[torch.device], training: Training, effects: Effects) -> None:
    """Train on one device in this process, or on each in a process of its own.

    Where torchrun has started several processes, this one does its own part.

    Args:
        effects: what signals ask for.

    Raises:
        CaffeError: whatever ends the training of one of them.
    """
    if own := launched.place():
        launched.run(training, chosen, own, effects)
        return
    if len(chosen) > 1:
        together.run(training, chosen, effects)
        return
    received: list[Action] = []
    with on_signals(effects, received.append):
        training.run(chosen, lambda: received.pop(0) if received else Action.NONE)
