"""What a layer is, and how its type finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from recaffe import fillers
from recaffe.blob import Blob
from recaffe.context import context
from recaffe.errors import LayerError, ShapeMismatchError, UnknownLayerError
from recaffe.proto.schema import TRAIN
from recaffe.shapes import MAX_COUNT, why_impossible

Shape = tuple[int, ...]


class Layer:
    """One layer: how shapes follow, and its tops as a function of bottoms and parameters.

    A subclass is a file of this package, registered by :func:`register`. It reads its
    parameters from ``self.param``, whose defaults stand in ``caffe.proto``, and writes the
    forward computation with torch operations; autograd gives the backward one.

    Attributes:
        bottoms, tops: how many a layer of this type takes, as ``(least, most)``;
            ``None`` means no limit.
        as_many: whether each bottom has a top.
        in_place: whether a top may overwrite the bottom of the same index.
        shares_data, shares_diff: whether data, and diff, of the tops are the first bottom's memory.
        puts_aside: whether Caffe's forward puts aside all that its backward needs. Else that
            reads bottoms and parameters as they are by then.
        reads_top: whether Caffe's backward reads the top; see :meth:`gradient_of_blobs`.
        is_loss: whether the first top is a loss, which has ``loss_weight: 1`` by default.
            Tops that a loss layer needs and the prototxt leaves out are added without a name.
        blobs: the parameters, in Caffe's order (weights, then bias).
    """

    type: ClassVar[str]
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    as_many: ClassVar[bool] = False
    in_place: ClassVar[bool] = False
    shares_data: bool = False
    shares_diff: bool = False
    puts_aside: ClassVar[bool] = False
    reads_top: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False

    def __init__(self, param: Any, phase: int) -> None:
        self.param = param
        self.name: str = param.name
        self.phase = phase
        self.blobs: list[Blob] = []
        self._check_count("bottom", len(param.bottom), self.bottoms)
        self._check_count("top", self.top_count, self.tops)
        if self.as_many and self.top_count != len(param.bottom):
            raise self.error(
                f"expected one top for each bottom, found {len(param.bottom)} bottom(s) and "
                f"{self.top_count} top(s)"
            )
        self._check_in_place()
        self._check_sizes(param)

    @classmethod
    def class_for(cls, param: Any) -> LayerClass:
        """The class that computes the layer; another one where the type alone does not tell."""
        return cls

    @property
    def top_count(self) -> int:
        """How many tops there are, those without a name included."""
        named = len(self.param.top)
        return max(named, self.tops[0]) if self.is_loss else named

    @property
    def top_names(self) -> list[str]:
        """The tops' names; Caffe calls those that the prototxt leaves out ``(automatic)``."""
        named = list(self.param.top)
        return named + ["(automatic)"] * (self.top_count - len(named))

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        """Check the parameters and make :attr:`blobs`; called once."""

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        """The tops' shapes; by default those of the bottoms.

        Raises:
            LayerError: the bottoms' shapes do not fit the layer.
        """
        return list(bottom_shapes)

    def possible_top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        """:meth:`top_shapes`, which a blob may have.

        Raises:
            LayerError: also where a top would be larger than blobs may be.
        """
        shapes = self.top_shapes(bottom_shapes)
        for name, shape in zip(self.top_names, shapes, strict=False):
            if problem := why_impossible(shape):
                raise self.error(f"top '{name}': {problem}")
        return shapes

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        """The tops, computed from the bottoms and the parameters."""
        raise NotImplementedError

    def run_state(self) -> dict[str, Any]:
        """What forward passes have changed and the next ones follow from, as JSON's values.

        With it in a snapshot a run that goes on gives the numbers of one that never stopped.
        """
        return {}

    def set_run_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`run_state` gave.

        Raises:
            DataError: no such state.
        """

    def reads_bottom(self, bottom_index: int) -> bool:
        """Whether Caffe's backward reads that bottom as it is by then.

        Else what a user writes into it after the forward counts for nothing.
        """
        return not self.puts_aside

    @property
    def is_in_place(self) -> bool:
        """Whether the first top overwrites the first bottom."""
        return list(self.param.bottom[:1]) == list(self.param.top[:1])

    def gradient_of_blobs(self, bottom: Tensor, top: Tensor, diff: Tensor) -> Tensor:
        """The bottom's gradient by Caffe's formula, where a user has written to one of both.

        Only for layers that say :attr:`reads_top`.
        """
        raise NotImplementedError

    def propagates_to(self, bottom_index: int) -> bool:
        """Whether a gradient for that bottom exists: not for labels, say."""
        return True

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        """Whether it is a mistake to want that bottom's gradient, where none exists.

        It is one for labels that a learnt layer makes; for what merely lends its shape it is
        none, and the gradient is zero.
        """
        return not self.propagates_to(bottom_index)

    @property
    def is_training(self) -> bool:
        return self.phase == TRAIN

    def add_blob(self, shape: Shape, filler: Any) -> None:
        """Append a parameter of ``shape``, filled as the FillerParameter says."""
        try:
            blob = Blob(shape)
            values = torch.empty(shape)
            fillers.fill(values, filler, context.generator(values.device))
        except (LayerError, ShapeMismatchError) as error:
            raise self.error(f"parameter {len(self.blobs)}: {error}") from None
        blob.set_data(values.to(blob.device))
        self.blobs.append(blob)

    @property
    def place(self) -> str:
        """What errors call this layer."""
        return f"layer '{self.name}' ({self.type})"

    def error(self, message: str) -> LayerError:
        """A LayerError that names this layer."""
        return LayerError(f"{self.place}: {message}")

    def canonical_axis(self, axis: int, shape: Shape) -> int:
        """``axis`` as an index from the front; negative ones count from the back."""
        if not -len(shape) <= axis < len(shape):
            raise self.error(f"axis {axis} is not in a bottom of shape {list(shape)}")
        return axis % len(shape)

    def _check_in_place(self) -> None:
        bottoms = list(self.param.bottom)
        for index, top in enumerate(self.param.top):
            if top in bottoms and not (self.in_place and bottoms[index : index + 1] == [top]):
                raise self.error(
                    f"top '{top}' is a bottom as well: this layer cannot work in place; "
                    "give the top a name of its own"
                )

    def _check_sizes(self, message: Any) -> None:
        """Refuse numbers that Caffe stores as an int, where they would be negative."""
        for field, value in message.ListFields():
            if field.cpp_type == field.CPPTYPE_UINT32:
                largest = max(value) if field.is_repeated else value
                if largest > MAX_COUNT:
                    raise self.error(f"{field.name} is {largest}; the most is {MAX_COUNT}")
            elif field.message_type and field.name.endswith("_param") and not field.is_repeated:
                self._check_sizes(value)

    def _check_count(self, what: str, found: int, allowed: tuple[int, int | None]) -> None:
        least, most = allowed
        if found < least or (most is not None and found > most):
            expected = f"{least}" if least == most else f"{least} to {most or 'any number of'}"
            raise self.error(f"expected {expected} {what} blob(s), found {found}")


class BlobLayer(Layer):
    """A layer that works on blobs themselves, outside autograd: it calls foreign code, say.

    The net calls :meth:`attach` once and :meth:`setup` and :meth:`top_shapes` after it; then
    :meth:`forward_blobs` and :meth:`backward_blobs` in the place of :meth:`forward`.

    Attributes:
        bottom_blobs, top_blobs: what it reads and writes.
    """

    def attach(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> None:
        """Take the blobs, before setup."""
        self.bottom_blobs, self.top_blobs = list(bottoms), list(tops)

    def forward_blobs(self) -> None:
        """Write the tops' shapes and data."""
        raise NotImplementedError

    def backward_blobs(self, propagate_down: Sequence[bool]) -> None:
        """Write the diffs of those bottoms that ``propagate_down`` marks; add to the parameters'.

        By default there is none.
        """


AnyLayer = TypeVar("AnyLayer", bound=type[Layer])
LayerClass = type[Layer]
_LAYERS: dict[str, type[Layer]] = {}


def register(name: str) -> Callable[[AnyLayer], AnyLayer]:
    """Register a class as the layer of ``type: "name"``."""

    def add(cls: AnyLayer) -> AnyLayer:
        if name in _LAYERS:
            raise ValueError(f"two layers are registered as '{name}'")
        cls.type = name
        _LAYERS[name] = cls
        return cls

    return add


def layer_types() -> list[str]:
    """The registered types, sorted."""
    return sorted(_LAYERS)


def layer_class(name: str) -> type[Layer]:
    """The class that is registered for ``name``, one of :func:`layer_types`."""
    return _LAYERS[name]


def make_layer(param: Any, phase: int) -> Layer:
    """The layer that the LayerParameter describes.

    Raises:
        UnknownLayerError: no file registers its type.
        LayerError: a wrong number of bottoms or tops.
    """
    if param.type not in _LAYERS:
        raise UnknownLayerError(
            f"layer '{param.name}': unknown layer type '{param.type}'; "
            f"known: {', '.join(layer_types())}"
        )
    return _LAYERS[param.type].class_for(param)(param, phase)
