"""The devices that ``-gpu`` names."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe.commands.program import info
from recaffe.context import CPU, context
from recaffe.errors import DeviceError


def named(gpu: str) -> list[torch.device]:
    """The GPUs of ``0``, ``0,1`` or ``all``; the CPU where none is named.

    Raises:
        DeviceError: one that torch does not see, or is named twice.
    """
    if not gpu:
        return [CPU]
    every = [str(index) for index in range(torch.cuda.device_count())]
    numbers = every if gpu == "all" else gpu.split(",")
    if not numbers or not all(number.isdigit() for number in numbers):
        raise DeviceError(
            f"-gpu {gpu}: expected a GPU's number, several with ',' between, or 'all' where there "
            "are any"
        )
    found = [int(number) for number in numbers]
    for number in found:
        context.select_gpu(number)
    if len(set(found)) < len(found):
        raise DeviceError(f"-gpu {gpu}: a GPU is named twice; each trains once")
    return [torch.device("cuda", number) for number in found]


def tell_all(chosen: Sequence[torch.device]) -> None:
    """Log what ``caffe train`` uses."""
    if chosen[0].type == "cpu":
        info(("caffe.cpp", 197), "Use CPU.")
    else:
        used = ", ".join(str(device.index) for device in chosen)
        info(("caffe.cpp", 204), "Using GPUs %s", used)


def tell(device: torch.device, cpu_line: int, gpu_line: int) -> None:
    """Log the one device that is used, from those lines of ``caffe.cpp``."""
    if device.type == "cpu":
        info(("caffe.cpp", cpu_line), "Use CPU.")
    else:
        info(("caffe.cpp", gpu_line), "Use GPU with device ID %d", device.index)


def use(device: torch.device) -> None:
    """Let what this process makes live on ``device``."""
    if device.type == "cpu":
        context.use_cpu()
    else:
        context.select_gpu(device.index)
        context.use_gpu()
