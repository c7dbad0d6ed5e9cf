"""How many images an iteration takes, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional

from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN
from caffetools.settings import Settings

# Fields of a solver that count iterations.
COUNTED = ("max_iter", "stepsize", "stepvalue", "test_interval", "snapshot", "display")


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


def images_an_iteration(net: Any, solver: Any, settings: Settings) -> int:
    """How many images a patched solver takes from one iteration to the next."""
    told = settings.get("solver", {}).get("iter_size")
    batches = iter_size(net, settings) or (told if isinstance(told, int) else solver.iter_size)
    return batch_size(net, TRAIN, settings) * batches


def in_iterations(fields: Mapping[str, Any], entries: int, images: int) -> dict[str, Any]:
    """The solver's ``fields`` with ``{"epochs": number or list}`` as iterations, rounded up.

    An epoch is as many images as there are ``entries`` in the training set; an iteration
    takes ``images`` of them.
    """
    return {
        name: _iterations(name, value, entries, images) if isinstance(value, dict) else value
        for name, value in fields.items()
    }


def _iterations(name: str, value: dict[str, Any], entries: int, images: int) -> Any:
    if name not in COUNTED:
        raise ToolError(
            f"solver.{name} is {value!r}; only {', '.join(COUNTED)} can be told in epochs"
        )
    epochs = value.get("epochs")
    numbers: list[Any] = epochs if isinstance(epochs, list) else [epochs]
    if list(value) != ["epochs"] or not numbers or not all(map(_is_positive, numbers)):
        raise ToolError(
            f"solver.{name} is {value!r}; expected an integer, or {{epochs: N}} with a number "
            "above 0, or a list of such"
        )
    # Less what float64 adds: 0.1 epochs of 30 images are 3 of them.
    iterations = [max(1, math.ceil(number * entries / images - 1e-9)) for number in numbers]
    return iterations if isinstance(epochs, list) else iterations[0]


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
