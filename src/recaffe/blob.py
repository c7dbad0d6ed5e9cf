"""Blobs: Caffe's unit of data, an array and its gradient, seen by host and device alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from recaffe.context import CPU, context
from recaffe.errors import ShapeMismatchError


class SyncedMemory:
    """One float32 array that the host sees through NumPy and the device through torch.

    A result of the device is kept by reference and copied to the host when somebody looks.
    Once a host array was handed out it stays this memory's array: on the CPU both sides
    share it and later results are copied into it, so that a kept view always shows the
    newest value; on a GPU the copy happens when the other side is touched, as in Caffe.

    Source: ``syncedmem.cpp``, whose four states are the two attributes here.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.shape = shape
        self._device = device
        self._shared = device.type == "cpu"
        self._tensor: Tensor | None = None
        self._host: np.ndarray | None = None

    @property
    def handed_out(self) -> bool:
        """Whether somebody may hold a view of the host's array."""
        return self._host is not None

    def tensor(self) -> Tensor:
        """The array on the device; what was never set is zero."""
        if self._tensor is None:
            if self._host is None:
                self._tensor = torch.zeros(self.shape, device=self._device)
            else:
                # Copied where the sides are two, even if both happen to be on the CPU.
                host = torch.from_numpy(self._host)
                self._tensor = host.to(self._device, copy=not self._shared)
        return self._tensor

    def array(self) -> np.ndarray:
        """The array on the host, writable; what is written to it is what the device gets."""
        if self._host is None:
            self._host = self.tensor().detach().to(CPU, copy=True).contiguous().numpy()
        elif self._tensor is not None and not self._shared:
            torch.from_numpy(self._host).copy_(self._tensor)
        # The caller may write to it now, so the host's side is the newest from here on.
        self._tensor = torch.from_numpy(self._host) if self._shared else None
        return self._host

    def set(self, tensor: Tensor) -> None:
        """Take ``tensor``, of this memory's shape, as the newest value."""
        if self._shared and self._host is not None:
            torch.from_numpy(self._host).copy_(tensor)
        else:
            self._tensor = tensor.detach()

    def release(self) -> None:
        """Let go of the array, which is zero then, unless somebody may hold a view of it."""
        if not self.handed_out:
            self._tensor = None

    def reshape(self, shape: tuple[int, ...]) -> None:
        """Change the shape; values stay in memory order, as far as there is room for them."""
        if shape == self.shape:
            return
        size, old_size = math.prod(shape), math.prod(self.shape)
        if size == old_size:
            self._tensor = None if self._tensor is None else self._tensor.reshape(shape)
            self._host = None if self._host is None else self._host.reshape(shape)
        elif self._tensor is not None or self._host is not None:
            kept = torch.zeros(size, device=self._device)
            kept[: min(size, old_size)] = self.tensor().reshape(-1)[:size]
            self._host, self._tensor = None, kept.reshape(shape)
        self.shape = shape


class Blob:
    """An N-dimensional array of float32, ``data``, and its gradient of the same shape, ``diff``.

    Args:
        shape: the axes' lengths; an empty one is a scalar.
        device: where layers compute; by default the context's.
    """

    def __init__(self, shape: Sequence[int] = (), device: torch.device | None = None) -> None:
        self.device = context.device if device is None else device
        shape = tuple(int(dim) for dim in shape)
        self._data = SyncedMemory(shape, self.device)
        self._diff = SyncedMemory(shape, self.device)
        self._diff_is_zero = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def data(self) -> np.ndarray:
        """The values, as a NumPy view that stays this blob's memory and may be written to."""
        return self._data.array()

    @property
    def diff(self) -> np.ndarray:
        """The gradient, as a NumPy view that stays this blob's memory and may be written to."""
        self._diff_is_zero = False
        return self._diff.array()

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
        return self._data.tensor()

    @property
    def diff_tensor(self) -> Tensor:
        return self._diff.tensor()

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
        if not self._diff.handed_out:
            self._diff.release()
            self._diff_is_zero = True

    def share_data(self, other: Blob) -> None:
        """Let data be ``other``'s own memory from now on; diff stays this blob's."""
        self._data = other._data

    def set_diff(self, tensor: Tensor) -> None:
        """Take ``tensor``, of the blob's shape, as diff."""
        self._diff_is_zero = False
        self._diff.set(tensor.reshape(self.shape))

    def add_diff(self, tensor: Tensor) -> None:
        """Add ``tensor`` to diff."""
        # The first gradient after a clear is taken as it is: no zeros written and read back.
        self.set_diff(tensor if self._diff_known_zero else self._diff.tensor() + tensor)

    def clear_diff(self) -> None:
        """Make diff zero."""
        if not self._diff_known_zero:
            self._diff.set(torch.zeros((), device=self.device).expand(self.shape))
            self._diff_is_zero = True

    @property
    def _diff_known_zero(self) -> bool:
        # Through a view that was handed out the user may write at any time.
        return self._diff_is_zero and not self._diff.handed_out

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Change the shape: ``reshape(1, 3, 227, 227)`` or ``reshape((1, 3, 227, 227))``."""
        axes = shape[0] if len(shape) == 1 and isinstance(shape[0], Iterable) else shape
        new = tuple(int(dim) for dim in axes)  # type: ignore[arg-type]
        if any(dim < 0 for dim in new):
            raise ShapeMismatchError(f"a blob cannot have the shape {list(new)}")
        # What was written through a view stays; the view's memory may not.
        self._diff_is_zero = self._diff_known_zero
        self._data.reshape(new)
        self._diff.reshape(new)

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

    @property
    def owner(self) -> Blob:
        return self._owner

    @property
    def data(self) -> np.ndarray:
        return self._owner.data.reshape(self.shape)

    @property
    def diff(self) -> np.ndarray:
        return self._owner.diff.reshape(self.shape)

    @property
    def data_handed_out(self) -> bool:
        return self._owner.data_handed_out

    @property
    def data_tensor(self) -> Tensor:
        return self._owner.data_tensor.view(self.shape)

    @property
    def diff_tensor(self) -> Tensor:
        return self._owner.diff_tensor.reshape(self.shape)

    def set_data(self, tensor: Tensor) -> None:
        self._owner.set_data(tensor.reshape(self._owner.shape))

    def share_data(self, other: Blob) -> None:
        self._owner.share_data(other)

    def set_diff(self, tensor: Tensor) -> None:
        self._owner.set_diff(tensor.reshape(self._owner.shape))

    def add_diff(self, tensor: Tensor) -> None:
        self._owner.add_diff(tensor.reshape(self._owner.shape))

    def clear_diff(self) -> None:
        self._owner.clear_diff()
