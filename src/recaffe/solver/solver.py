"""The training loop that all solvers share.

Source: ``solver.cpp`` and ``sgd_solver.cpp``.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from recaffe.blob import Blob
from recaffe.context import context
from recaffe.errors import SolverError
from recaffe.net import Net, load_weights, save_weights, share_weights
from recaffe.proto.schema import TEST, TRAIN, NetParameter, NetState, SolverParameter, SolverState
from recaffe.proto.text import read_net
from recaffe.proto.weights import read_state, write_state
from recaffe.solver.policies import current_step, learning_rate

logger = logging.getLogger(__name__)

MakeNet = Callable[..., Net]


class Solver(ABC):
    """Trains a net as a SolverParameter says: forward, backward, update, test, snapshot.

    Args:
        param: the SolverParameter.
        make_net: what makes a net of a NetParameter and a phase; a subclass of Net, say.

    Attributes:
        net, test_nets: the nets; a test net shares the first one's parameters once it is tested.
        iteration: how many updates were made.

    Raises:
        SolverError: settings that do not fit together.
    """

    type: ClassVar[str]

    def __init__(self, param: Any, make_net: MakeNet = Net) -> None:
        self.param = param
        self.iteration = 0
        self._make_net = make_net
        if param.random_seed >= 0:
            context.seed(param.random_seed)
        learning_rate(param, 0)
        self.net = self._train_net()
        for paths in param.weights:
            for path in paths.split(","):
                load_weights(self.net, path.strip())
        self.test_nets = self._test_nets()
        self._recent_losses: deque[float] = deque(maxlen=max(1, param.average_loss))

    # -- nets -------------------------------------------------------------------------

    def _train_net(self) -> Net:
        given = [name for name in _TRAIN_NETS if self.param.HasField(name)]
        if len(given) != 1:
            raise SolverError(
                f"the solver must name its train net once, by one of {', '.join(_TRAIN_NETS)}; "
                f"found {', '.join(given) or 'none'}"
            )
        source = getattr(self.param, given[0])
        return self._net(source, TRAIN, self.param.train_state)

    def _test_nets(self) -> list[Net]:
        sources: list[Any] = [*self.param.test_net_param, *self.param.test_net]
        shared = [getattr(self.param, name) for name in ("net", "net_param")
                  if self.param.HasField(name)]  # fmt: skip
        tests = len(self.param.test_iter)
        if tests < len(sources) or (tests > len(sources) and not shared):
            raise SolverError(f"{tests} test_iter for {len(sources)} test net(s); give one each")
        sources += shared * (tests - len(sources))
        if sources and self.param.test_interval < 1:
            raise SolverError("test_iter needs a test_interval of at least 1")
        states = list(self.param.test_state) or [NetState()] * len(sources)
        if len(states) != len(sources):
            raise SolverError(f"{len(states)} test_state for {len(sources)} test net(s)")
        return [
            self._net(source, TEST, state) for source, state in zip(sources, states, strict=True)
        ]

    def _net(self, source: Any, phase: int, state: Any) -> Net:
        is_path = isinstance(source, str)
        param = NetParameter()
        param.CopyFrom(read_net(source) if is_path else source)
        param.state.MergeFrom(state)
        origin = source if is_path else "the solver's net"
        return self._make_net(param, phase, level=param.state.level, origin=origin)

    # -- the loop ---------------------------------------------------------------------

    def solve(self) -> None:
        """Train up to ``max_iter``; then snapshot and test as the solver says."""
        self.step(self.param.max_iter - self.iteration)
        param = self.param
        if param.snapshot_after_train and not self._is_due(param.snapshot):
            self.snapshot()
        if self._is_due(param.display):
            self.net.forward_layers(0, len(self.net.layers) - 1, record=False)
            self._recent_losses.append(self.net.loss())
            logger.info("Iteration %d, loss = %g", self.iteration, self.smoothed_loss)
        if self._is_due(param.test_interval):
            self.test_all()

    def step(self, iterations: int) -> None:
        """Make ``iterations`` updates, with the tests and snapshots that fall due."""
        param = self.param
        for _ in range(iterations):
            if self._is_due(param.test_interval) and (self.iteration or param.test_initialization):
                self.test_all()
            self._compute_gradients()
            if self._is_due(param.display):
                self._display()
            self.apply_update()
            self.iteration += 1
            if self._is_due(param.snapshot):
                self.snapshot()

    def _is_due(self, interval: int) -> bool:
        return bool(interval) and self.iteration % interval == 0

    def _compute_gradients(self) -> None:
        last = len(self.net.layers) - 1
        loss = 0.0
        self.net.clear_param_diffs()
        for _ in range(self.param.iter_size):
            self.net.forward_layers(0, last)
            self.net.backward_layers(last, 0, retain=False)
            loss += self.net.loss()
        self._recent_losses.append(loss / self.param.iter_size)

    @property
    def smoothed_loss(self) -> float:
        """The mean loss of the last ``average_loss`` iterations."""
        return sum(self._recent_losses) / len(self._recent_losses)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return learning_rate(self.param, self.iteration)

    def _display(self) -> None:
        logger.info("Iteration %d, loss = %g", self.iteration, self.smoothed_loss)
        logger.info("Iteration %d, lr = %g", self.iteration, self.learning_rate)

    def test_all(self) -> list[dict[str, np.ndarray]]:
        """Test every test net; return and log each output's mean over its ``test_iter``."""
        scores = []
        for index, net in enumerate(self.test_nets):
            logger.info("Iteration %d, Testing net (#%d)", self.iteration, index)
            share_weights(net, self.net)
            scores.append(_mean_outputs(net, self.param.test_iter[index]))
            _log_outputs(scores[-1])
        return scores

    # -- updates ----------------------------------------------------------------------

    def apply_update(self) -> None:
        """Update the parameters from their diffs, which then hold what was subtracted."""
        rate = self.learning_rate
        scale = self._clip_factor() / self.param.iter_size
        for index, blob in enumerate(self.net.learnable):
            if not self._is_idle(index):
                self._update(index, blob, rate * self.net.lr_mults[index], scale)

    def _is_idle(self, index: int) -> bool:
        """Whether parameter ``index`` cannot move: no rate, and no history that moves it yet."""
        return self.net.lr_mults[index] == 0 and not self._has_history(index)

    def _clip_factor(self) -> float:
        """``clip_gradients / |g|`` where the norm of all gradients is larger, else 1."""
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        norms = [torch.linalg.vector_norm(blob.diff_tensor) for blob in self.net.learnable]
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        return limit / norm if norm > limit else 1.0

    @abstractmethod
    def _update(self, index: int, blob: Blob, rate: float, scale: float) -> None:
        """Update one parameter with its own learning rate; its diff is to be scaled first."""

    @abstractmethod
    def _has_history(self, index: int) -> bool:
        """Whether the parameter's history may hold anything but zeros."""

    @abstractmethod
    def history(self) -> list[np.ndarray]:
        """The history, in the order of Caffe's solver states."""

    @abstractmethod
    def set_history(self, arrays: Sequence[np.ndarray]) -> None:
        """Take a history that :meth:`history` gave."""

    # -- snapshots --------------------------------------------------------------------

    def snapshot(self) -> tuple[Path, Path]:
        """Write weights and state under ``snapshot_prefix``; return their paths.

        The weights come first, so that a solver state never lacks the weights it names.
        """
        if self.param.snapshot_format != SolverParameter.BINARYPROTO:
            raise SolverError("snapshot_format HDF5 is not supported; leave it out (BINARYPROTO)")
        stem = f"{self.param.snapshot_prefix}_iter_{self.iteration}"
        weights, state_path = Path(f"{stem}.caffemodel"), Path(f"{stem}.solverstate")
        save_weights(self.net, weights, with_diff=self.param.snapshot_diff)
        logger.info("Snapshotting to binary proto file %s", weights)
        state = SolverState(
            iter=self.iteration,
            learned_net=str(weights),
            current_step=current_step(self.param, self.iteration),
        )
        write_state(state_path, state, self.history())
        logger.info("Snapshotting solver state to binary proto file %s", state_path)
        return weights, state_path

    def restore(self, path: str | Path) -> None:
        """Go on from a ``.solverstate``, ours or BVLC's, and the weights that it names.

        Raises:
            FormatError: not a whole solver state.
            SolverError: a history that does not fit this net.
        """
        state, history = read_state(path)
        self._check_history(history, str(path))
        if state.learned_net:
            load_weights(self.net, _beside(Path(path), Path(state.learned_net)))
        self.set_history(history)
        self.iteration = state.iter

    def _check_history(self, history: Sequence[np.ndarray], path: str) -> None:
        expected = [blob.count for blob in self.net.learnable] * self.history_slots
        found = [array.size for array in history]
        if expected != found:
            raise SolverError(
                f"{path}: the history does not fit this net and solver type '{self.type}': "
                f"expected {len(expected)} blobs of {sum(expected)} values, found {len(found)} "
                f"of {sum(found)}; restore with the net and solver that wrote it"
            )

    @property
    def history_slots(self) -> int:
        """How many arrays a parameter the history holds."""
        return 1


_TRAIN_NETS = ("train_net_param", "train_net", "net_param", "net")


def _beside(state: Path, weights: Path) -> Path:
    """The weights a state names; from a state that was moved with them, those beside it."""
    return weights if weights.exists() else state.with_name(weights.name)


def _mean_outputs(net: Net, iterations: int) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    for _ in range(iterations):
        net.forward_layers(0, len(net.layers) - 1, record=False)
        for name in net.outputs:
            value = net.blobs[name].data_tensor.double().cpu().numpy()
            sums[name] = sums[name] + value if name in sums else value
    return {name: total / iterations for name, total in sums.items()}


def _log_outputs(scores: dict[str, np.ndarray]) -> None:
    values = ((name, value) for name, array in scores.items() for value in array.flat)
    for index, (name, value) in enumerate(values):
        logger.info("    Test net output #%d: %s = %g", index, name, value)
