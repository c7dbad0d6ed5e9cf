"""What a user of pycaffe holds: blobs, the parameters of a layer, and layers of their own.

A user may set any attribute on these and derive classes with any names of their own. So they
have pycaffe's names and no others, and hold what the runtime works on instead of being it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

from recaffe.blob import Blob
from recaffe.errors import ArgumentError


class UserBlob:
    """A blob as users see it: ``caffe.Blob``."""

    def __init__(self, blob: Blob) -> None:
        self._runtime = blob

    @property
    def data(self) -> np.ndarray:
        """The values, as a view that stays the blob's memory and may be written to."""
        return self._runtime.data

    @property
    def diff(self) -> np.ndarray:
        """The gradient, as a view that stays the blob's memory and may be written to."""
        return self._runtime.diff

    @property
    def shape(self) -> tuple[int, ...]:
        return self._runtime.shape

    @property
    def count(self) -> int:
        """The number of elements."""
        return self._runtime.count

    @property
    def num(self) -> int:
        return self._runtime.num

    @property
    def channels(self) -> int:
        return self._runtime.channels

    @property
    def height(self) -> int:
        return self._runtime.height

    @property
    def width(self) -> int:
        return self._runtime.width

    def reshape(self, *shape: int | Sequence[int], **options: Any) -> None:
        """Change the shape: ``reshape(1, 3, 227, 227)`` or ``reshape((1, 3, 227, 227))``."""
        _refuse("reshape", options)
        self._runtime.reshape(*shape)


class UserBlobs(Sequence[UserBlob]):
    """The parameters of a layer as users see them; made anew at each look, as in pycaffe."""

    def __init__(self, blobs: list[Blob]) -> None:
        self._runtime = blobs

    def __len__(self) -> int:
        return len(self._runtime)

    @overload
    def __getitem__(self, index: int) -> UserBlob: ...

    @overload
    def __getitem__(self, index: slice) -> list[UserBlob]: ...

    def __getitem__(self, index: int | slice) -> UserBlob | list[UserBlob]:
        if isinstance(index, slice):
            return [UserBlob(blob) for blob in self._runtime[index]]
        return UserBlob(self._runtime[index])

    def add_blob(self, *shape: int, **options: Any) -> UserBlob:
        """Append a parameter of that shape, of zeros; for layers of a user's own."""
        _refuse("add_blob", options)
        self._runtime.append(Blob(shape))
        return self[-1]

    def append(self, blob: UserBlob) -> None:
        """Take a blob that is there as a further parameter, in ``setup`` of a user's own layer."""
        self._runtime.append(blob._runtime)

    def extend(self, blobs: Iterable[UserBlob]) -> None:
        """Take several, as :meth:`append` does."""
        self._runtime.extend(blob._runtime for blob in blobs)


class UserLayer:
    """What the class that a ``type: "Python"`` layer names is derived from: ``caffe.Layer``.

    The class has methods ``reshape(self, bottom, top)``, which reshapes the tops and is called
    after ``setup`` and before each forward; ``forward(self, bottom, top)``, which writes the
    tops' data; and, where gradients go through the layer,
    ``backward(self, top, propagate_down, bottom)``, which writes the diffs of those bottoms that
    ``propagate_down`` marks, and of the layer's own parameters. ``bottom`` and ``top`` are
    sequences of :class:`UserBlob`.

    Attributes:
        param_str: the text that the prototxt gives.
        phase: TRAIN or TEST.
    """

    param_str: str
    phase: int
    _runtime_blobs: list[Blob]

    def __new__(cls, *args: Any, **kwargs: Any) -> UserLayer:
        # Not in __init__, which a user's own may leave out.
        made = super().__new__(cls)
        made._runtime_blobs = []
        return made

    def __init__(self, param: Any) -> None:
        """``param`` is what the net makes the layer with."""

    @property
    def type(self) -> str:
        """The layer's type in the prototxt."""
        return "Python"

    @property
    def blobs(self) -> UserBlobs:
        """The layer's own parameters; ``self.blobs.add_blob(2, 3)`` in ``setup`` makes one.

        A solver updates them by what ``backward`` leaves in their diffs.
        """
        return UserBlobs(self._runtime_blobs)

    def setup(self, bottom: Sequence[UserBlob], top: Sequence[UserBlob]) -> None:
        """Check the bottoms and read ``param_str``; called once."""


def _refuse(method: str, options: dict[str, Any]) -> None:
    if options:
        raise ArgumentError(
            f"{method} takes the axes' lengths alone, found {', '.join(options)} by name"
        )
