"""The training loop that all solvers share.

Source: ``solver.cpp`` and ``sgd_solver.cpp``.
"""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from recaffe.context import context
from recaffe.errors import SolverError
from recaffe.memory import tell_lack
from recaffe.net import Net, share_weights
from recaffe.proto.shown import Shown
from recaffe.solver import report, run_state, snapshots
from recaffe.solver.nets import MakeNet, make_test_nets, make_train_net
from recaffe.solver.policies import learning_rate, steps_passed
from recaffe.solver.updates import Tensors, in_blocks

logger = logging.getLogger(__name__)


class Action(Enum):
    """What whoever runs a solver may ask of it between two iterations."""

    NONE = "none"
    SNAPSHOT = "snapshot"
    STOP = "stop"


class Solver(ABC):
    """Trains a net as a SolverParameter says: forward, backward, update, test, snapshot.

    A subclass is a file of this package and says how a gradient becomes an update: it names
    its :attr:`slots` and writes :meth:`compute`.

    Args:
        param: the SolverParameter.
        make_net: what makes a net of a NetParameter and a phase; a subclass of Net, say.

    Attributes:
        slots: what the history holds of every parameter, in the order of Caffe's states.
        net, test_nets: the nets; a test net shares the first one's parameters once it is tested.
        iteration: how many updates were made.
        action: where it is set, asked after every iteration of the training and before every one
            of a test what to do: go on, take a snapshot, or stop, which makes :meth:`solve` take
            one as at the end.
        agree: asked before every update whether to stop, and after it whether to take a snapshot,
            given whether this solver is to; of several that train together it tells what holds.
        gather: where several train together, gives the root solver the run states of the others.

    Raises:
        SolverError: settings that do not fit together.
    """

    type: ClassVar[str]
    slots: ClassVar[tuple[str, ...]]

    def __init__(self, param: Any, make_net: MakeNet = Net) -> None:
        if context.is_root_solver:
            logger.info("Initializing solver from parameters: \n%s", Shown(param))
        self.param = param
        self.iteration = 0
        self._check_settings()
        if param.random_seed >= 0:
            # Each of several solvers draws its own random numbers.
            context.seed(param.random_seed, context.solver_rank)
        self.net = make_train_net(param, make_net)
        self._check_regularization()
        if context.is_root_solver:
            snapshots.check_snapshots(param, self.net)
        self.test_nets = make_test_nets(param, make_net)
        self._histories: list[list[Tensor | None]] = [
            [None] * len(self.net.learnable) for _ in self.slots
        ]
        self._recent_losses: deque[float] = deque(maxlen=param.average_loss)
        self._callbacks: list[tuple[Callable[[], Any], Callable[[], Any]]] = []
        self._is_looked_at = False
        # As in Caffe, the train net tells its numbers in the iterations that are displayed.
        self._debug = False
        self.action: Callable[[], Action] | None = None
        self.agree: Callable[[bool], bool] = bool
        self.gather: Callable[[], list[bytes]] = list
        self._fellows: list[bytes] = []
        self._stopped = self._is_snapshot_wanted = False
        self._before_tests: bytes | None = None
        self._shown_at, self._shown_iteration = time.monotonic(), 0
        if context.is_root_solver:
            logger.info("Solver scaffolding done.")

    def _check_settings(self) -> None:
        learning_rate(self.param, 0)
        for field in ("average_loss", "iter_size"):
            if getattr(self.param, field) < 1:
                raise SolverError(f"{field} is {getattr(self.param, field)}; it must be at least 1")
        self.check()

    def _check_regularization(self) -> None:
        kind = self.param.regularization_type
        if kind not in ("L1", "L2") and any(map(self._decay, range(len(self.net.learnable)))):
            raise SolverError(f"regularization_type '{kind}' is not known; known: L1, L2")

    # -- the loop ---------------------------------------------------------------------

    def solve(self) -> None:
        """Train up to ``max_iter``; then snapshot and test as the solver says.

        Raises:
            SolverError: another solver's part, of several that train together; see :meth:`step`.
        """
        self._check_root("solves to the end")
        logger.info("Solving %s", self.net.name)
        logger.info("Learning Rate Policy: %s", self.param.lr_policy)
        self.step(self.param.max_iter - self.iteration)
        param = self.param
        if param.snapshot_after_train and not self._is_due(param.snapshot):
            self.snapshot()
        if self._stopped:
            logger.info("Optimization stopped early.")
            return
        if self._is_due(param.display):
            report.forward(self.net, record=False, debug=self._debug)
            self._recent_losses.append(self.net.loss())
            logger.info("Iteration %d, loss = %g", self.iteration, self.smoothed_loss)
        if self._is_due(param.test_interval):
            self.test_all()
        logger.info("Optimization Done.")

    def step(self, iterations: int, keep_last: bool = True) -> None:
        """Make ``iterations`` updates, with the tests and snapshots that fall due.

        Of several solvers that train together only the one of rank 0 tests, displays and
        takes snapshots.

        Args:
            keep_last: leave the last iteration's data and diff of every blob behind. Those of
                the parameters and the data of the outputs are there in any case.
        """
        param = self.param
        self._recent_losses.clear()
        self._before_tests = None
        self._stopped = self._is_snapshot_wanted = False
        self._shown_at, self._shown_iteration = time.monotonic(), self.iteration
        for left in reversed(range(iterations)):
            if self._is_test_due() and not self._stopped:
                self.test_all()
            self._stopped = self.agree(self._stopped)
            if self._stopped:
                break
            self._fellows = []
            self._debug = self._is_due(param.display) and param.debug_info
            self.net.clear_param_diffs()
            for on_start, _ in self._callbacks:
                on_start()
            self._compute_gradients(keep=self._is_looked_at or (keep_last and left == 0))
            if self._is_due(param.display) and context.is_root_solver:
                self._display()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update()
            self._obey()
            if self.agree(self._is_snapshot_wanted) or self._is_due(param.snapshot):
                self._fellows = self.gather()
                if context.is_root_solver or self._is_snapshot_wanted:
                    self.snapshot()
        # For the snapshot that the root solver takes at the end.
        self._fellows = self.gather()

    def _obey(self) -> None:
        """Ask :attr:`action` what to do, until it asks for nothing more."""
        self._is_snapshot_wanted = False
        while self.action and (wanted := self.action()) is not Action.NONE:
            if wanted is Action.STOP:
                self._stopped = True
            else:
                self._is_snapshot_wanted = True

    def add_callback(
        self,
        on_start: Callable[[], Any],
        on_gradients_ready: Callable[[], Any],
        looks: bool = True,
    ) -> None:
        """Call functions in each iteration of :meth:`step`.

        Args:
            looks: whether they may look at any blob, so that each iteration must leave data
                and diff of every blob behind; without, those of the parameters are there.
            on_start: called before the forward pass, when the parameters' diffs are zero.
            on_gradients_ready: called after the backward pass, before the update.
        """
        self._callbacks.append((on_start, on_gradients_ready))
        self._is_looked_at |= looks

    def _is_due(self, interval: int) -> bool:
        return bool(interval) and self.iteration % interval == 0

    def _is_test_due(self) -> bool:
        may_test = bool(self.iteration) or self.param.test_initialization
        return context.is_root_solver and may_test and self._is_due(self.param.test_interval)

    def _check_root(self, what: str) -> None:
        if not context.is_root_solver:
            raise SolverError(
                f"the solver of rank {context.solver_rank} cannot do this: of several that train "
                f"together only that of rank 0 {what}, the others step()"
            )

    def _compute_gradients(self, keep: bool) -> None:
        rounds = reversed(range(self.param.iter_size))
        losses = [
            report.forward_backward(self.net, self._debug, keep and left == 0) for left in rounds
        ]
        self._recent_losses.append(sum(losses) / len(losses))

    @property
    def smoothed_loss(self) -> float:
        """The mean loss of the last ``average_loss`` iterations of the last :meth:`step`."""
        losses = self._recent_losses
        return sum(losses) / len(losses) if losses else 0.0

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return learning_rate(self.param, self.iteration)

    def _display(self) -> None:
        now = time.monotonic()
        seconds, made = now - self._shown_at, self.iteration - self._shown_iteration
        logger.info(
            "Iteration %d (%g iter/s, %gs/%d iters), loss = %g",
            *(self.iteration, made / (seconds or 1), seconds, self.param.display),
            self.smoothed_loss,
        )
        self._shown_at, self._shown_iteration = now, self.iteration
        outputs = {name: self.net.blobs[name].data_tensor for name in self.net.outputs}
        report.log_outputs(
            self.net, "Train", {name: value.cpu().numpy() for name, value in outputs.items()}
        )

    def test_all(self) -> list[dict[str, np.ndarray]]:
        """Test every test net; return and log each output's mean over its ``test_iter``.

        Where :attr:`action` asks to stop meanwhile, the nets that were tested whole count.
        """
        self._stopped = False
        # Who goes on from a snapshot that is taken meanwhile tests all anew.
        self._before_tests = run_state.take(self)
        scores = []
        for index in range(len(self.test_nets)):
            score = self._test(index)
            if score is None:
                break
            scores.append(score)
        else:
            self._before_tests = None
        return scores

    def _test(self, index: int) -> dict[str, np.ndarray] | None:
        """One net's scores; ``None`` if it was interrupted."""
        net, iterations = self.test_nets[index], self.param.test_iter[index]
        logger.info("Iteration %d, Testing net (#%d)", self.iteration, index)
        share_weights(net, self.net)
        sums: dict[str, np.ndarray] = {}
        loss = 0.0
        for _ in range(iterations):
            self._obey()
            if self._is_snapshot_wanted:
                self.snapshot()
            if self._stopped:
                logger.info("Test interrupted.")
                return None
            report.forward(net, record=False, debug=self.param.debug_info)
            loss += net.loss() if self.param.test_compute_loss else 0.0
            for name in net.outputs:
                value = net.blobs[name].data_tensor.double().cpu().numpy()
                sums[name] = sums[name] + value if name in sums else value
        if self.param.test_compute_loss:
            logger.info("Test loss: %g", loss / iterations if iterations else math.nan)
        scores = {name: total / iterations for name, total in sums.items()}
        report.log_outputs(net, "Test", scores)
        return scores

    # -- updates ----------------------------------------------------------------------

    def apply_update(self) -> None:
        """Update the parameters from their diffs, which then hold what was subtracted; count it."""
        rate = self.learning_rate
        self._log_rate(rate)
        scale = self._clip_factor() / self.param.iter_size
        groups: dict[tuple[float, float], list[int]] = {}
        for index, blob in enumerate(self.net.learnable):
            if self.is_idle(index):
                blob.clear_diff()
            else:
                own = (rate * self.net.lr_mults[index], self._decay(index))
                groups.setdefault(own, []).append(index)
        try:
            for (own_rate, decay), indices in groups.items():
                self.update(indices, own_rate, decay, scale)
        except (MemoryError, RuntimeError) as error:
            tell_lack(f"the update of '{self.net.name}'", error)
            raise
        self.iteration += 1

    def _log_rate(self, rate: float) -> None:
        param = self.param
        if param.lr_policy == "multistep":
            passed = steps_passed(param.stepvalue, self.iteration)
            if passed > steps_passed(param.stepvalue, self.iteration - 1):
                logger.info("MultiStep Status: Iteration %d, step = %d", self.iteration, passed)
        if self._is_due(param.display) and context.is_root_solver:
            logger.info("Iteration %d, lr = %g", self.iteration, rate)

    def _decay(self, index: int) -> float:
        return self.param.weight_decay * self.net.decay_mults[index]

    def _clip_factor(self) -> float:
        """``clip_gradients / |g|`` where the norm of all gradients is larger, else 1."""
        limit = self.param.clip_gradients
        if limit < 0 or not self.net.learnable:
            return 1.0
        norms = torch._foreach_norm([blob.diff_tensor for blob in self.net.learnable])
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        if not norm > limit:
            return 1.0
        logger.info(
            "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
            *(norm, limit, limit / norm),
        )
        return limit / norm

    def check(self) -> None:  # noqa: B027
        """Check the settings of the update rule.

        Raises:
            SolverError: one that the rule cannot work with.
        """

    def is_idle(self, index: int) -> bool:
        """Whether neither parameter nor history ``index`` can change, whatever the gradient is."""
        return False

    @abstractmethod
    def compute(self, gradients: Tensors, histories: list[Tensors], rate: float) -> Tensors:
        """The updates, which are subtracted from the parameters.

        Args:
            gradients: scaled and regularised; not to be changed.
            histories: a list a slot, of the gradients' lengths; to be changed in place.
        """

    def update(self, indices: Sequence[int], rate: float, decay: float, scale: float) -> None:
        """Update the parameters ``indices``, which have ``rate`` and ``decay`` in common."""
        weights, gradients, histories = self.tensors(indices)
        updates = [torch.empty_like(weight) for weight in weights]
        for weight, gradient, update, *history in in_blocks(
            [weights, gradients, updates, *histories]
        ):
            values = self.compute(self.regularised(gradient, weight, scale, decay), history, rate)
            torch._foreach_copy_(update, values)
            torch._foreach_sub_(weight, values)
        for index, diff in zip(indices, updates, strict=True):
            self.net.learnable[index].set_diff(diff)

    def tensors(self, indices: Sequence[int]) -> tuple[Tensors, Tensors, list[Tensors]]:
        """Parameters, gradients and histories, each flat and in one piece."""
        blobs = [self.net.learnable[index] for index in indices]
        histories: list[Tensors] = [
            [self._history(slot, index) for index in indices] for slot in self._histories
        ]
        gradients = [blob.diff_tensor.reshape(-1) for blob in blobs]
        return [blob.data_tensor.view(-1) for blob in blobs], gradients, histories

    def regularised(
        self, gradients: Tensors, weights: Tensors, scale: float, decay: float
    ) -> Tensors:
        """``scale g + decay w``, or with the sign of ``w`` for L1."""
        if scale != 1:
            gradients = torch._foreach_mul(gradients, scale)
        if not decay:
            return gradients
        pull = torch._foreach_sign(weights) if self.param.regularization_type == "L1" else weights
        return torch._foreach_add(gradients, pull, alpha=decay)

    # -- history and snapshots --------------------------------------------------------

    def _history(self, slot: list[Tensor | None], index: int) -> Tensor:
        history = slot[index]
        if history is None:
            blob = self.net.learnable[index]
            history = slot[index] = torch.zeros(blob.count, device=blob.device)
        return history

    def has_history(self, index: int) -> bool:
        """Whether the parameter's history may hold anything but zeros."""
        return any(slot[index] is not None for slot in self._histories)

    def history(self) -> list[np.ndarray]:
        """The history, in the order of Caffe's solver states."""
        return [
            np.zeros(blob.shape, np.float32)
            if history is None
            else history.cpu().numpy().reshape(blob.shape)
            for slot in self._histories
            for blob, history in zip(self.net.learnable, slot, strict=True)
        ]

    def set_history(self, arrays: Sequence[np.ndarray]) -> None:
        """Take a history that :meth:`history` gave."""
        blobs = self.net.learnable
        for start, slot in enumerate(self._histories):
            own = arrays[start * len(blobs) : (start + 1) * len(blobs)]
            for index, (array, blob) in enumerate(zip(own, blobs, strict=True)):
                values = torch.from_numpy(array.reshape(-1).astype(np.float32))
                slot[index] = values.to(blob.device) if array.any() else None

    def run_state(self) -> bytes:
        """What the run goes on from, besides weights and history; see ``run_state.py``."""
        return run_state.joined([self._before_tests or run_state.take(self), *self._fellows])

    def snapshot(self) -> tuple[Path, Path]:
        """Write weights and state under ``snapshot_prefix``; return their paths.

        Raises:
            SolverError: another solver's part, of several that train together.
        """
        self._check_root("takes snapshots")
        return snapshots.write_snapshot(self)

    def restore(self, path: str | Path) -> None:
        """Go on from a solver state, ours or BVLC's, and the weights that it names.

        Raises:
            FormatError: not a whole solver state.
            SolverError: a history that does not fit this solver and net.
        """
        snapshots.restore(self, path)
        self._fellows = []  # theirs are of another iteration
