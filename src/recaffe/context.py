"""What Caffe keeps a thread: the device, and the random numbers drawn on it.

Source: the class ``Caffe`` in ``common.cpp``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

import torch

from recaffe.errors import DeviceError

CPU = torch.device("cpu")
PRECISIONS = ("float32", "tf32", "bf16")


class Context:
    """The device that new nets live on, how training computes there, and the random generators.

    Attributes:
        precision: of training steps whose blobs nobody looks at; see :meth:`set_precision`.
        compiles: whether such steps are compiled, which takes minutes once and pays on a GPU.
        solver_count, solver_rank: how many solvers train together, and which of them this one is.
        multiprocess: whether each of them is said to have a process of its own.
    """

    def __init__(self) -> None:
        self.precision = "float32"
        self.compiles = False
        self.device_id = 0
        self.solver_count = 1
        self.solver_rank = 0
        self.multiprocess = False
        self._on_gpu = False
        self._seed: int | None = None
        self._shared_seed: int | None = None
        self._generators: dict[torch.device, torch.Generator] = {}

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.device_id) if self._on_gpu else CPU

    @property
    def is_root_solver(self) -> bool:
        """Whether this solver is the one that tests, logs and takes snapshots for all."""
        return self.solver_rank == 0

    def use_cpu(self) -> None:
        self._on_gpu = False

    def use_gpu(self) -> None:
        """Let new nets live on the GPU numbered ``device_id``.

        Raises:
            DeviceError: torch sees no such GPU.
        """
        self.select_gpu(self.device_id)
        self.set_precision(self.precision)
        self._on_gpu = True

    def select_gpu(self, device_id: int) -> None:
        """Choose the GPU that :meth:`use_gpu` means.

        Raises:
            DeviceError: torch sees no such GPU.
        """
        count = torch.cuda.device_count()
        if not 0 <= device_id < count:
            raise DeviceError(
                f"GPU {device_id} was asked for, but torch {torch.__version__} sees "
                f"{count or 'no'} GPU(s) here; use the CPU (solver_mode: CPU, "
                "caffe.set_mode_cpu()) or install a CUDA build of torch beside a working driver"
            )
        self.device_id = device_id

    def set_precision(self, precision: str) -> None:
        """How exactly training computes: ``float32``, which is Caffe's, or faster.

        ``tf32`` rounds the factors of matrix products and convolutions to 10 bits of mantissa,
        on GPUs that can; ``bf16`` runs them, and what follows from them, in bfloat16, while
        parameters, gradients and losses stay float32. The tensor cores of a GPU are torch's
        own, so ``tf32`` holds for every net of the process.

        Raises:
            DeviceError: another name.
        """
        if precision not in PRECISIONS:
            raise DeviceError(
                f"precision '{precision}' is not known; known: {', '.join(PRECISIONS)}"
            )
        self.precision = precision
        # torch lets cuDNN round to TF32 unless told; Caffe's numbers want it told.
        torch.backends.cudnn.allow_tf32 = precision != "float32"
        torch.backends.cuda.matmul.allow_tf32 = precision != "float32"

    def set_deterministic(self, deterministic: bool) -> None:
        """Whether a GPU adds up in an order that is always the same, which takes it longer.

        It holds for every net of the process; say so before the GPU computes anything. On the CPU
        the order is the same anyway. Of an operation that torch has in no such form it warns, and
        goes on.
        """
        if deterministic:
            # cuBLAS reads it once; without it matrix products may take turns over workspaces.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic, warn_only=True)
        # Nothing here reads memory that was not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def seed(self, seed: int, rank: int = 0) -> None:
        """Start the random numbers of every device from ``seed``, and ``rank`` of the solver."""
        self._seed, self._shared_seed = seed + rank, seed
        self._generators.clear()

    @property
    def generators(self) -> Mapping[torch.device, torch.Generator]:
        """Those that were asked for so far."""
        return self._generators

    @property
    def is_seeded(self) -> bool:
        return self._seed is not None

    @property
    def shared_seed(self) -> int:
        """A seed for what all solvers and layers are to draw alike; without :meth:`seed` any."""
        if self._shared_seed is None:
            self._shared_seed = secrets.randbits(62)
        return self._shared_seed

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator of ``device``; seeded by :meth:`seed`, else by the system."""
        if device not in self._generators:
            generator = torch.Generator(device)
            if self._seed is None:
                generator.seed()
            else:
                generator.manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]


context = Context()

# The threads of torch do not come along into a forked process, which would wait for them.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
