"""What joins a solver to those that train with it, each in a process of its own.

Each computes the gradients of its own batch, all take the mean of them, and each makes the same
update; so they hold the same parameters without sending these after the start.

Source: ``NCCL`` in ``parallel.cpp``.
"""

from __future__ import annotations

import gc
import os
import socket
import tempfile
import uuid
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from recaffe.context import CPU, context
from recaffe.errors import SolverError, SolverLostError
from recaffe.solver import run_state
from recaffe.solver.solver import Solver

# Elements that are sent at once: large enough for the wires, small beside a large net.
BLOCK = 1 << 24
# The others wait while the root solver tests and takes snapshots, which may take long.
PATIENCE = timedelta(days=1)


def can_use_nccl() -> bool:
    """Whether solvers on GPUs can be joined: torch sees a GPU and was built with NCCL."""
    return torch.cuda.is_available() and dist.is_available() and dist.is_nccl_available()


# In place of a name: torchrun tells each process where all meet.
FROM_ENVIRONMENT = "env://"


def new_meeting() -> str:
    """A name by which the solvers of this machine find each other, once: a file's path."""
    return str(Path(tempfile.gettempdir()) / f"recaffe-{uuid.uuid4().hex}")


class Link:
    """Joins ``solver`` to its fellows; the context says how many there are, and its rank.

    On GPUs they speak through NCCL, on the CPU through gloo; within one machine by its loopback.
    A process joins once at a time.

    Args:
        meeting: what :func:`new_meeting` gave, the same for all; or ``FROM_ENVIRONMENT``.
        wait: how long to wait for the others to come.

    Raises:
        SolverError: the others do not come, or train another net; no NCCL for a GPU.
    """

    def __init__(
        self, solver: Solver, meeting: str, wait: timedelta = timedelta(minutes=5)
    ) -> None:
        self.solver, self.device = solver, solver.net.device
        self.count, self.rank = context.solver_count, context.solver_rank
        # The file by which they find each other; torchrun has a place of its own.
        self._file = None if meeting == FROM_ENVIRONMENT else Path(meeting)
        self._check()
        if self._file or os.environ.get("LOCAL_WORLD_SIZE") == str(self.count):
            for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                os.environ.setdefault(name, _loopback())
        store = self._meet(wait)
        on_gpu = self.device.type == "cuda"
        with self._told():
            # What is decided goes by the CPU, so that no GPU is waited for.
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.count,
                timeout=PATIENCE,
                device_id=self.device if on_gpu else None,
            )
        self.close = weakref.finalize(self, _leave)
        with self._told():
            # The first messages open all ways, after which the place to meet is of no use.
            for device in (self.device, CPU):
                dist.all_reduce(torch.zeros(1, device=device))
        if self.rank == 0:
            self._remove_file()

    def _remove_file(self) -> None:
        if self._file:
            self._file.unlink(missing_ok=True)

    def _check(self) -> None:
        if not 0 <= self.rank < self.count:
            raise SolverError(
                f"solver_rank is {self.rank} where solver_count is {self.count}: expected a rank "
                "from 0 to below the count"
            )
        if not dist.is_available():
            raise SolverError(
                f"torch {torch.__version__} was built without torch.distributed, by which solvers "
                "are joined; install another build"
            )
        if dist.is_initialized():
            gc.collect()  # a link that nobody uses any more
        if dist.is_initialized():
            raise SolverError(
                "this process has joined a solver already; close that link first, or give each "
                "solver a process of its own"
            )
        if self.device.type == "cuda" and not can_use_nccl():
            raise SolverError(
                f"torch {torch.__version__} has no NCCL, by which solvers on GPUs are joined; "
                "install a CUDA build of torch for Linux"
            )
        if self._file and not self._file.parent.is_dir():
            raise SolverError(
                f"'{self._file}' is no place to meet: expected what caffe.NCCL.new_uid() gave in "
                "one process of this machine"
            )

    def _meet(self, wait: timedelta) -> dist.Store:
        """Wait for the others, and see that they train the same net."""
        store = dist.FileStore(str(self._file), self.count) if self._file else _store_of_torchrun()
        own = str([tuple(blob.shape) for blob in self.solver.net.learnable])
        store.set(f"net {self.rank}", own)
        try:
            store.wait([f"net {rank}" for rank in range(self.count)], wait)
        except RuntimeError:
            self._remove_file()
            raise SolverLostError(
                f"solver {self.rank} of {self.count} has waited for the others for "
                f"{wait.total_seconds():g} s: start a process for each rank, all with the same "
                "uid, which serves once"
            ) from None
        shapes = [store.get(f"net {rank}").decode() for rank in range(self.count)]
        for rank, theirs in enumerate(shapes):
            if theirs != shapes[0]:
                raise SolverError(
                    f"solver {rank} has parameters of other shapes than solver 0, {theirs} "
                    f"instead of {shapes[0]}; let all train the same net"
                )
        return store

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise SolverLostError(
                f"solver {self.rank} of {self.count} lost the others, of which one has ended: "
                f"{str(error).splitlines()[0]}"
            ) from error

    # -- parameters and gradients -------------------------------------------------------------

    def join(self) -> None:
        """Let the solver update by the mean of all gradients from now on."""
        self.solver.add_callback(lambda: None, self.average, looks=False)

    def broadcast(self) -> None:
        """Give every solver the parameters of rank 0."""
        tensors = [blob.data_tensor for blob in self.solver.net.learnable]
        for part in _parts(tensors):
            flat = _flat(part)
            with self._told():
                dist.broadcast(flat, 0)
            torch._foreach_copy_(part, _like(flat, part))

    def average(self) -> None:
        """Let the parameters' diffs be the mean of all solvers' diffs."""
        blobs = [self.solver.net.learnable[index] for index in self._with_gradient()]
        parts = _parts([blob.diff_tensor for blob in blobs])
        flats = [_flat(part) for part in parts]
        with self._told():
            works = [dist.all_reduce(flat, async_op=True) for flat in flats]
            for work in works:
                work.wait()
        means = [
            mean
            for part, flat in zip(parts, flats, strict=True)
            for mean in _like(flat.div_(self.count), part)
        ]
        for blob, mean in zip(blobs, means, strict=True):
            blob.set_diff(mean)

    def _with_gradient(self) -> list[int]:
        """The parameters that get a gradient at all; frozen ones need no sending."""
        net = self.solver.net
        place = {blob: index for index, blob in enumerate(net.learnable)}
        return sorted(
            {
                place[blob.owner]
                for layer, wanted in zip(net.layers, net.plan.params, strict=True)
                for blob, want in zip(layer.blobs, wanted, strict=True)
                if want
            }
        )

    # -- what is decided ----------------------------------------------------------------------

    def agree(self, stops: bool) -> bool:
        """Whether all stop now: what rank 0 says. For :attr:`Solver.agree`."""
        told = torch.tensor(int(stops))
        with self._told():
            dist.broadcast(told, 0)
        return bool(told)

    def gather(self) -> list[bytes]:
        """To rank 0 the run states of the others, in their order. For :attr:`Solver.gather`."""
        own = torch.frombuffer(bytearray(run_state.take(self.solver)), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with self._told():
            dist.all_gather(sizes, torch.tensor([len(own)]))
            largest = max(int(size) for size in sizes)
            padded = torch.zeros(largest, dtype=torch.uint8)
            padded[: len(own)] = own
            found = [torch.zeros_like(padded) for _ in sizes] if self.rank == 0 else None
            dist.gather(padded, found)
        return [
            bytes(content[: int(size)].numpy())
            for content, size in zip((found or [])[1:], sizes[1:], strict=False)
        ]


def _store_of_torchrun() -> dist.Store:
    store, _, _ = next(iter(dist.rendezvous(FROM_ENVIRONMENT)))
    # torchrun may start all anew, with the store of before.
    return dist.PrefixStore(f"recaffe {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _loopback() -> str:
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in names if name.startswith("lo")), "lo")


def _parts(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in their order, cut into lists of about :data:`BLOCK` elements."""
    parts: list[list[Tensor]] = []
    size = BLOCK
    for tensor in tensors:
        if size >= BLOCK:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.numel()
    return parts


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _like(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Parts of ``flat`` in the shapes of the tensors that it was made of."""
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
