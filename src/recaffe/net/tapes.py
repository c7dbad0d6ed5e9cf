"""What layers remember of their forward for their backward, and whether it still holds.

In Caffe a layer's backward reads its blobs as they are by then, so what a user writes into them
after the forward counts. Autograd would differentiate what the layer has seen. So a backward
first asks whether a blob that Caffe's would read was written to, and if so the layer is run
again on what stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recaffe.blob import Blob, SyncedMemory
from recaffe.errors import NetError
from recaffe.layers import BlobLayer, Layer


@dataclass(frozen=True, slots=True)
class Tape:
    """What a layer's backward needs of its forward: the leaves and the tops made of them."""

    bottoms: list[Tensor]
    params: list[Tensor]
    tops: list[Tensor]


class Tapes:
    """The tapes of a net's layers.

    Args:
        bottoms, tops: the blobs of each layer.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        bottoms: Sequence[Sequence[Blob]],
        tops: Sequence[Sequence[Blob]],
    ) -> None:
        self._layers, self._bottoms, self._tops = layers, bottoms, tops
        self._tapes: list[Tape | None] = [None] * len(layers)
        # The last layer that overwrites a memory which holds some layer's bottom already, and
        # what the net has left there.
        self._overwriters: dict[SyncedMemory, int] = {}
        self._left: dict[SyncedMemory, Tensor] = {}
        written: set[SyncedMemory] = set()
        for index, (layer, blobs) in enumerate(zip(layers, tops, strict=True)):
            for blob in blobs:
                in_place = blob.memory in written and not layer.shares_data
                if in_place and not isinstance(layer, BlobLayer):
                    self._overwriters[blob.memory] = index
                written.add(blob.memory)

    def forget(self, index: int) -> None:
        """Let the tape of a layer go."""
        self._tapes[index] = None

    def forget_all(self) -> None:
        """Let go of all that is remembered."""
        self._tapes = [None] * len(self._layers)
        self._left.clear()

    def run(
        self, index: int, bottoms_wanted: Sequence[bool], params_wanted: Sequence[bool]
    ) -> list[Tensor]:
        """Run a layer on what its blobs hold, with a tape; return its tops.

        Args:
            bottoms_wanted, params_wanted: which of them a gradient is wanted of.
        """
        bottoms = [_unshared(blob) for blob in self._bottoms[index]]
        params = [_unshared(blob) for blob in self._layers[index].blobs]
        for tensors, wanted in ((bottoms, bottoms_wanted), (params, params_wanted)):
            for tensor, want in zip(tensors, wanted, strict=True):
                tensor.requires_grad_(want)
        return self._record(index, bottoms, params)

    def _record(self, index: int, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            tops = self._layers[index].forward(bottoms, params)
        self._tapes[index] = Tape(bottoms, params, tops)
        return tops

    def refreshed(self, index: int) -> Tape:
        """The tape, made anew if something was written that Caffe's backward would read."""
        tape, layer = self._tape(index), self._layers[index]
        bottoms = [
            _unshared(blob).requires_grad_(leaf.requires_grad)
            if layer.reads_bottom(at) and self._bottom_was_written(index, blob, leaf)
            else leaf
            for at, (blob, leaf) in enumerate(zip(self._bottoms[index], tape.bottoms, strict=True))
        ]
        params = [
            _unshared(blob).requires_grad_(leaf.requires_grad)
            if not layer.puts_aside and _differs(blob, leaf)
            else leaf
            for blob, leaf in zip(layer.blobs, tape.params, strict=True)
        ]
        old = (*tape.bottoms, *tape.params)
        if any(new is not leaf for new, leaf in zip((*bottoms, *params), old, strict=True)):
            self._record(index, bottoms, params)
        return self._tape(index)

    def _tape(self, index: int) -> Tape:
        tape = self._tapes[index]
        if tape is None:
            raise NetError(
                f"layer '{self._layers[index].name}': backward before forward; run forward() first"
            )
        return tape

    def note(self, index: int, tops: Sequence[Tensor]) -> None:
        """Remember what a layer leaves in memory that layers overwrite."""
        for blob, tensor in zip(self._tops[index], tops, strict=False):
            if blob.memory in self._overwriters:
                self._left[blob.memory] = tensor.detach()

    def were_written(self, index: int) -> bool:
        """Whether the first bottom or top holds other values than the net has left there."""
        tape = self._tape(index)
        bottom, top = self._bottoms[index][0], self._tops[index][0]
        overwritten = self._overwriters.get(top.memory, -1) > index
        left = self._left[top.memory] if overwritten else tape.tops[0]
        return _differs(top, left) or self._bottom_was_written(index, bottom, tape.bottoms[0])

    def _bottom_was_written(self, index: int, blob: Blob, leaf: Tensor) -> bool:
        overwritten = self._overwriters.get(blob.memory, -1) >= index
        return _differs(blob, self._left[blob.memory] if overwritten else leaf)


def _unshared(blob: Blob) -> Tensor:
    """What the blob holds, in memory that nobody else writes to."""
    tensor = blob.data_tensor.detach()
    return tensor.clone() if blob.data_handed_out else tensor


def _differs(blob: Blob, seen: Tensor) -> bool:
    """Whether the blob holds other values than ``seen``."""
    now = blob.data_tensor
    if now.data_ptr() == seen.data_ptr() or now.numel() != seen.numel():
        return False
    return not torch.equal(now, seen.detach().reshape(now.shape))
