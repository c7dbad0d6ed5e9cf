"""What a user wants called around every layer of a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe.nccl import NCCL
from recaffe.net import Net as RuntimeNet

Hook = Callable[[int], Any]


class HookedNet(RuntimeNet):
    """A net that calls a user's functions with each layer's index, in the order they are given.

    With a hook the net runs layer by layer always, so that a hook finds every blob as the
    layers up to then have left it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._hooks: dict[str, list[Hook]] = {
            f"{when}_{which}": [] for when in ("before", "after") for which in _PASSES
        }
        super().__init__(*args, **kwargs)

    def before_forward(self, hook: Hook) -> None:
        """Call ``hook(index)`` before each layer's forward."""
        self._hooks["before_forward"].append(hook)

    def after_forward(self, hook: Hook) -> None:
        """Call ``hook(index)`` after each layer's forward."""
        self._hooks["after_forward"].append(hook)

    def before_backward(self, hook: Hook) -> None:
        """Call ``hook(index)`` before each layer's backward, also where it has nothing to do."""
        self._hooks["before_backward"].append(hook)

    def after_backward(self, hook: Hook | NCCL) -> None:
        """Call ``hook(index)`` after each layer's backward, also where it has nothing to do.

        An NCCL joins its solver instead, as ``solver.add_callback`` of it does.
        """
        if isinstance(hook, NCCL):
            hook.add_to()
            return
        self._hooks["after_backward"].append(hook)

    def _has_hooks(self, which: str) -> bool:
        return bool(self._hooks[f"before_{which}"] or self._hooks[f"after_{which}"])

    def _call(self, name: str, index: int) -> None:
        for hook in self._hooks[name]:
            hook(index)

    def forward_layers(self, start: int, end: int, record: bool = True) -> None:
        if not self._has_hooks("forward"):
            super().forward_layers(start, end, record)
            return
        for index in range(start, end + 1):
            self._call("before_forward", index)
            super().forward_layers(index, index, record)
            self._call("after_forward", index)

    def backward_layers(self, start: int, end: int, retain: bool = True) -> None:
        if not self._has_hooks("backward"):
            super().backward_layers(start, end, retain)
            return
        for index in range(start, end - 1, -1):
            self._call("before_backward", index)
            super().backward_layers(index, index, retain)
            self._call("after_backward", index)

    def forward_backward(self, keep: bool = True) -> float:
        return super().forward_backward(keep or any(map(self._has_hooks, _PASSES)))


_PASSES = ("forward", "backward")
