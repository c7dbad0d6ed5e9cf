"""Where Caffe computes, and what it draws at random."""

from __future__ import annotations

from recaffe.context import context
from recaffe.layers import layer_types
from recaffe.solver.link import can_use_nccl


def set_mode_cpu() -> None:
    """Let nets made from now on live on the CPU."""
    context.use_cpu()


def set_mode_gpu() -> None:
    """Let nets made from now on live on the GPU that :func:`set_device` chose, 0 by default.

    Raises:
        CaffeError: there is no such GPU.
    """
    context.use_gpu()


def set_device(device_id: int) -> None:
    """Choose the GPU for :func:`set_mode_gpu`.

    Raises:
        CaffeError: there is no such GPU.
    """
    context.select_gpu(device_id)


def set_random_seed(seed: int) -> None:
    """Start fillers, dropout and random crops from ``seed``."""
    context.seed(seed)


def set_precision(precision: str) -> None:
    """How exactly training computes: "float32" as Caffe does, "tf32" or "bf16".

    Not one of pycaffe's names. What a user looks at between two layers is float32 always.

    Raises:
        CaffeError: another precision.
    """
    context.set_precision(precision)


def set_compiled(compiled: bool) -> None:
    """Whether training steps are compiled: a minute or more at first, and faster on a GPU.

    Not one of pycaffe's names. Steps whose blobs are looked at run layer by layer as ever, and a
    detector's, whose regions are as many as are found, are not compiled.
    """
    context.compiles = compiled


def set_deterministic(deterministic: bool) -> None:
    """Whether a GPU computes the same last digits each time, which takes it longer.

    Not one of pycaffe's names; say so before any net is made. The CPU does so anyway, with the same
    number of threads.
    """
    context.set_deterministic(deterministic)


def solver_count() -> int:
    """How many solvers train together, as :func:`set_solver_count` says."""
    return context.solver_count


def set_solver_count(count: int) -> None:
    """Say how many solvers train together, each in a process of its own."""
    context.solver_count = count


def solver_rank() -> int:
    """Which of the solvers this process has, from 0."""
    return context.solver_rank


def set_solver_rank(rank: int) -> None:
    """Say which of the solvers this process has."""
    context.solver_rank = rank


def set_multiprocess(multiprocess: bool) -> None:
    """Say that each solver has a process of its own; Python layers that train insist on it."""
    context.multiprocess = multiprocess


def has_nccl() -> bool:
    """Whether the solvers of several processes can be joined by NCCL."""
    return can_use_nccl()


def layer_type_list() -> list[str]:
    """The layer types that nets may use."""
    return layer_types()
