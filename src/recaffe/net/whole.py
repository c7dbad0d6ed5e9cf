"""A training step's forward and backward as one graph, in which no blob is filled.

Layer by layer every blob's data and diff is there to be looked at, and so must be kept. Here
one autograd graph spans all layers: what a layer needs no more is freed on the way, forward
and backward. Layers and the plan of gradients are the same, and so are the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recaffe.blob import Blob, SyncedMemory
from recaffe.context import context
from recaffe.layers import BlobLayer
from recaffe.layers.native import NativeLayer

if TYPE_CHECKING:
    from recaffe.net.net import Net

Compute = Callable[[list[Tensor], list[Tensor]], list[Tensor]]


class WholeStep:
    """Runs a net forward and backward at once, again and again.

    Raises:
        ValueError: the net has a layer that is no function of tensors; see :meth:`can_run`.
    """

    def __init__(self, net: Net) -> None:
        if not self.can_run(net):
            raise ValueError("a layer of this net works on blobs themselves")
        self._net = net
        self._sources = [
            index
            for index, (layer, bottoms) in enumerate(
                zip(net.layers, net.layer_bottoms, strict=True)
            )
            if not bottoms and not layer.blobs
        ]
        self._losses = [
            top
            for tops, weights in zip(net.layer_tops, net.loss_weights, strict=True)
            for top, weight in zip(tops, weights, strict=True)
            if weight
        ]
        outputs = [net.blobs[name] for name in net.outputs]
        # Each once, in an order that does not change from run to run.
        self._kept = list(dict.fromkeys([*self._losses, *outputs]))
        self._plan = _Plan(net, self._sources, self._kept)
        self._compiled: Compute | None = None
        # How large their tops are follows from what the bottoms hold: no graph of fixed shapes.
        self._has_tops_of_any_size = any(isinstance(layer, NativeLayer) for layer in net.layers)

    @staticmethod
    def can_run(net: Net) -> bool:
        """Whether all layers are functions of tensors.

        None works on blobs themselves, but for sources, and none reads memory that another has
        overwritten behind its back.
        """
        works_on_blobs = any(
            isinstance(layer, BlobLayer) and (layer.param.bottom or layer.blobs)
            for layer in net.layers
        )
        return not works_on_blobs and not _reads_overwritten(net)

    def run(self) -> None:
        """Add to the parameters' diffs, and set the data of outputs and losses.

        What other blobs hold is released, unless somebody keeps a view of it.
        """
        for index, runs_backward in enumerate(self._net.plan.layer):
            if runs_backward:
                self._net.plan.check(index)
        self._release()
        sources = [tensor for index in self._sources for tensor in self._source_tops(index)]
        leaves = [blob.data_tensor.detach().requires_grad_() for blob in self._net.learnable]
        half = context.precision == "bf16"
        with torch.autocast(self._net.device.type, torch.bfloat16, enabled=half):
            kept = self._compute(sources, leaves)
        for blob, tensor in zip(self._kept, kept, strict=True):
            blob.set_data(tensor.detach().float())
        starts = [
            (tensor, top.diff_tensor.to(tensor.dtype))
            for top, tensor in zip(self._losses, kept, strict=False)
            if tensor.requires_grad
        ]
        del kept
        if starts:
            tensors, diffs = zip(*starts, strict=True)
            gradients = torch.autograd.grad(tensors, leaves, diffs, allow_unused=True)
            for blob, gradient in zip(self._net.learnable, gradients, strict=True):
                if gradient is not None:
                    blob.add_diff(gradient)

    def _release(self) -> None:
        kept = set(self._kept)
        for layer, tops in zip(self._net.layers, self._net.layer_tops, strict=True):
            # The tops of the others hold what the user or the layer wrote, or some bottom's.
            if layer.type != "Input" and not isinstance(layer, BlobLayer) and not layer.shares_data:
                for top in set(tops) - kept:
                    top.release()

    def _source_tops(self, index: int) -> list[Tensor]:
        layer, tops = self._net.layers[index], self._net.layer_tops[index]
        if isinstance(layer, BlobLayer):
            layer.forward_blobs()
        if isinstance(layer, BlobLayer) or layer.type == "Input":
            return [top.data_tensor for top in tops]
        return layer.forward([], [])  # reading data, which is not to be compiled

    @property
    def _compute(self) -> Compute:
        if not context.compiles or self._has_tops_of_any_size:
            return self._forward
        if self._compiled is None:
            self._compiled = torch.compile(self._forward, dynamic=False)
        return self._compiled

    def _forward(self, sources: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
        """The tensors of the blobs that are kept; others are let go after their last consumer."""
        net, plan, waiting = self._net, self._plan, iter(sources)
        values: dict[int, Tensor] = {}
        for index, layer in enumerate(net.layers):
            if index in self._sources:
                values.update((top, next(waiting)) for top in plan.tops[index])
                continue
            inputs = _wanted(
                (values[blob] for blob in plan.bottoms[index]), net.plan.bottoms[index]
            )
            own = (leaves[at].view(shape) for at, shape in plan.params[index])
            params = _wanted(own, net.plan.params[index])
            net.follow_shapes(index, [tuple(tensor.shape) for tensor in inputs])
            with torch.set_grad_enabled(net.plan.layer[index]):
                tops = layer.forward(inputs, params)
            for blob in plan.last_uses[index]:
                values.pop(blob, None)
            values.update(zip(plan.tops[index], tops, strict=True))
        return [values[blob] for blob in plan.kept]


def _reads_overwritten(net: Net) -> bool:
    """Whether a blob is read after a layer in place has overwritten its memory through another.

    So after ``Flatten``, ``f`` being the memory of ``b``: in place on ``f``, then reading ``b``.
    """
    made: dict[Blob, int] = {}
    overwritten: dict[SyncedMemory, int] = {}

    def is_stale(blob: Blob) -> bool:
        return made.get(blob, -1) < overwritten.get(blob.memory, -1)

    for index, (bottoms, tops) in enumerate(zip(net.layer_bottoms, net.layer_tops, strict=True)):
        if any(map(is_stale, bottoms)):
            return True
        for top in tops:
            made[top] = index
            if top in bottoms:
                overwritten[top.memory] = index
    return any(is_stale(net.blobs[name]) for name in net.outputs)


class _Plan:
    """The graph in numbers, which a compiler can follow: blobs and parameters by position."""

    def __init__(self, net: Net, sources: list[int], kept: list[Blob]) -> None:
        number = {blob: at for at, blob in enumerate(net.blobs.values())}
        # blobs without a name of their own
        for tops in net.layer_tops:
            for top in tops:
                number.setdefault(top, len(number))
        self.bottoms = [[number[blob] for blob in blobs] for blobs in net.layer_bottoms]
        self.tops = [[number[blob] for blob in blobs] for blobs in net.layer_tops]
        self.kept = [number[blob] for blob in kept]
        place = {blob: at for at, blob in enumerate(net.learnable)}
        self.params = [
            [(place[blob.owner], blob.shape) for blob in layer.blobs] for layer in net.layers
        ]
        last = {blob: index for index, blobs in enumerate(self.bottoms) for blob in blobs}
        self.last_uses = [
            [blob for blob in blobs if last[blob] == index and blob not in self.kept]
            for index, blobs in enumerate(self.bottoms)
        ]


def _wanted(tensors: Iterable[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    """The tensors; those whose gradient is not wanted without their history."""
    return [
        tensor if want else tensor.detach() for tensor, want in zip(tensors, wanted, strict=True)
    ]
