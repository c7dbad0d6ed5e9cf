"""Blobs: Caffe's unit of data, an array and its gradient, seen by host and device alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from recaffe.context import context
from recaffe.errors import ShapeMismatchError
from recaffe.memory import tell_lack
from recaffe.shapes import why_impossible


class SyncedMemory:
    """Float32 values that the host sees through NumPy and the device through torch.

    They have an order and no shape: blobs show them, or the first of them, in theirs, and
    several blobs may show the same memory. A result of the device is kept by reference and
    copied to the host when somebody looks. Once a host array was handed out it stays this
    memory's array: on the CPU both sides share it and later results are copied into it, so
    that a kept view always shows the newest value; on a GPU the copy happens when the other
    side is touched, as in Caffe.

    Source: ``syncedmem.cpp``, whose four states are the two attributes here.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._shared = device.type == "cpu"
        self._capacity = 0
        self._tensor: Tensor | None = None  # in whatever shape it was last asked for or set
        self._host: np.ndarray | None = None  # flat, and of the whole capacity

    @property
    def handed_out(self) -> bool:
        """Whether somebody may hold a view of the host's array."""
        return self._host is not None

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was set or handed out, so that all values are zero."""
        return self._host is None and self._tensor is None

    def grow(self, size: int) -> None:
        """Make room for ``size`` values. Where that takes new memory, it is zero, as in Caffe."""
        if size > self._capacity:
            self._capacity = size
            self._host = self._tensor = None

    def tensor(self, shape: tuple[int, ...]) -> Tensor:
        """The first values on the device, in ``shape``; what was never set is zero."""
        if self._tensor is None:
            if self._host is None:
                self._tensor = torch.zeros(shape, device=self._device)
            else:
                # Copied where the sides are two, even if both happen to be on the CPU.
                host = torch.from_numpy(self._host)
                self._tensor = host.to(self._device, copy=not self._shared)
        return self._tensor if self._tensor.shape == shape else self._shown(shape)

    def _shown(self, shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape)
        assert self._tensor is not None
        flat = self._tensor.reshape(-1)
        if self._shared and self._host is not None:
            flat = torch.from_numpy(self._host)
        elif len(flat) < size:
            flat = torch.cat([flat, flat.new_zeros(size - len(flat))])
        shown = flat[:size].view(shape)
        # The last values stay, for a blob that grows again, where the host has none of them.
        if len(flat) == size or (self._shared and self._host is not None):
            self._tensor = shown
        return shown

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """The first values on the host, writable; what is written is what the device gets."""
        if self._host is None:
            try:
                self._host = np.zeros(self._capacity, np.float32)
            except MemoryError as error:
                tell_lack(f"a blob of {self._capacity} values", error)
                raise
            self._download()
        elif not self._shared:
            self._download()
        # The caller may write to it now, so the host's side is the newest from here on.
        self._tensor = None
        return self._host[: math.prod(shape)].reshape(shape)

    def _download(self) -> None:
        if self._tensor is not None:
            values = self._tensor.detach().reshape(-1)
            torch.from_numpy(self._host)[: len(values)].copy_(values)

    def set(self, tensor: Tensor) -> None:
        """Take the values of ``tensor`` as the newest of the first ones."""
        if not self._shared or self._host is None:
            self._tensor = tensor.detach()
            return
        own = torch.from_numpy(self._host)[: tensor.numel()].view(tensor.shape)
        # It is that memory itself where a layer shows its bottom's values in another shape.
        if tensor.data_ptr() != own.data_ptr() or not tensor.is_contiguous():
            own.copy_(tensor.detach())

    def clear(self) -> None:
        """Make all values zero."""
        if self._host is None:
            self._tensor = None
        else:
            self.set(torch.zeros((), device=self._device).expand(len(self._host)))

    def release(self) -> None:
        """Let go of the values, which are zero then, unless somebody may hold a view of them."""
        if not self.handed_out:
            self._tensor = None


class Blob:
    """An N-dimensional array of float32, ``data``, and its gradient of the same shape, ``diff``.

    Args:
        shape: the axes' lengths; an empty one is a scalar.
        device: where layers compute; by default the context's.
    """

    def __init__(self, shape: Sequence[int] = (), device: torch.device | None = None) -> None:
        self.device = context.device if device is None else device
        self._data, self._diff = SyncedMemory(self.device), SyncedMemory(self.device)
        self._shape: tuple[int, ...] = ()
        self.reshape(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self._shape)

    @property
    def data(self) -> np.ndarray:
        """The values, as a NumPy view that stays this blob's memory and may be written to."""
        return self._data.array(self._shape)

    @property
    def diff(self) -> np.ndarray:
        """The gradient, as a NumPy view that stays this blob's memory and may be written to."""
        return self._diff.array(self._shape)

    @property
    def data_handed_out(self) -> bool:
        """Whether somebody may hold a view of :attr:`data`."""
        return self._data.handed_out

    @property
    def diff_handed_out(self) -> bool:
        """Whether somebody may hold a view of :attr:`diff`."""
        return self._diff.handed_out

    @property
    def data_tensor(self) -> Tensor:
        return self._data.tensor(self._shape)

    @property
    def diff_tensor(self) -> Tensor:
        return self._diff.tensor(self._shape)

    def set_data(self, tensor: Tensor) -> None:
        """Take ``tensor`` as data; the blob takes its shape."""
        self.reshape(tensor.shape)
        self._data.set(tensor)

    @property
    def owner(self) -> Blob:
        """The blob whose memory this one shows: itself, for most."""
        return self

    def release(self) -> None:
        """Let go of data and diff, which are zero then, unless somebody may hold a view of them."""
        self._data.release()
        self._diff.release()

    @property
    def memory(self) -> SyncedMemory:
        """Where data is kept; blobs may have it in common."""
        return self._data

    def share_data(self, other: Blob) -> None:
        """Let data be ``other``'s own memory from now on; diff stays this blob's."""
        self._data = other._data

    def share_diff(self, other: Blob) -> None:
        """Let diff be ``other``'s own memory from now on."""
        self._diff = other._diff

    def set_diff(self, tensor: Tensor) -> None:
        """Take ``tensor``, of the blob's shape, as diff."""
        self._diff.set(tensor.reshape(self._shape))

    def add_diff(self, tensor: Tensor) -> None:
        """Add ``tensor`` to diff."""
        # The first gradient after a clear is taken as it is: no zeros written and read back.
        self.set_diff(tensor if self._diff.is_untouched else self.diff_tensor + tensor)

    def clear_diff(self) -> None:
        """Make diff zero."""
        self._diff.clear()

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Change the shape: ``reshape(1, 3, 227, 227)`` or ``reshape((1, 3, 227, 227))``.

        Values stay in memory order; a blob larger than it ever was starts with zeros.
        """
        axes = shape[0] if len(shape) == 1 and isinstance(shape[0], Iterable) else shape
        new = tuple(int(dim) for dim in axes)  # type: ignore[arg-type]
        if new != self._shape:
            if problem := why_impossible(new):
                raise ShapeMismatchError(problem)
            self._shape = new
        count = self.count
        self._data.grow(count)
        self._diff.grow(count)

    def _legacy_dim(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ShapeMismatchError(
                "num, channels, height and width are for blobs of up to four axes; "
                f"this one has the shape {list(self.shape)}"
            )
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        return self._legacy_dim(0)

    @property
    def channels(self) -> int:
        return self._legacy_dim(1)

    @property
    def height(self) -> int:
        return self._legacy_dim(2)

    @property
    def width(self) -> int:
        return self._legacy_dim(3)


class ReshapedBlob(Blob):
    """Another blob's data and diff in a shape of its own, of the same count.

    So a parameter is shared between layers with ``share_mode: PERMISSIVE``.
    """

    def __init__(self, owner: Blob, shape: Sequence[int]) -> None:
        super().__init__(shape, owner.device)
        self._owner = owner
        self.share_data(owner)
        self.share_diff(owner)

    @property
    def owner(self) -> Blob:
        return self._owner
