"""How many images an iteration takes, and what follows from it."""

from __future__ import annotations

from typing import Any, Optional

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN
from caffetools.settings import Settings


def batch_size(net: Any, phase: int, settings: Settings) -> int:
    """The images of a batch: as the settings tell, or as the net's Data layers have it."""
    told = settings.get("batch_size", {}).get({TRAIN: "train", TEST: "val"}[phase])
    layers = prototxt.phase_view(net, phase)
    sizes = [layer.data_param.batch_size for layer in layers if layer.type == "Data"]
    return int(told or max([size for size in sizes if size] or [1]))


def iter_size(net: Any, settings: Settings) -> Optional[int]:
    """As many batches an iteration as make ``batch_size.effective``, None where that is not told.

    Caffe adds up the gradients of ``iter_size`` batches and divides them by it.
    """
    effective = settings.get("batch_size", {}).get("effective")
    if effective is None:
        return None
    if settings.get("solver", {}).get("iter_size") is not None:
        raise ToolError(
            "settings: batch_size.effective and solver.iter_size both tell how many batches an "
            "iteration takes; leave one of them out"
        )
    batch = batch_size(net, TRAIN, settings)
    if effective % batch:
        fitting = [size for size in range(1, effective + 1) if effective % size == 0]
        near = min(fitting, key=lambda size: abs(size - batch))
        raise ToolError(
            f"settings: batch_size.effective is {effective}, which batches of {batch} do not "
            f"make; expected a multiple of {batch}, or a batch_size.train such as {near}"
        )
    return int(effective // batch)
