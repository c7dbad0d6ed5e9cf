"""What a layer's export is made of: its surroundings, the nodes it adds, and the registry.

An exporting function takes a :class:`Layer`, adds nodes to its graph and returns the names of
the tensors that the layer's tops are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy as np

from caffetools.cli import ToolError

# The newest that both packages of requirements.lock, onnx and onnxruntime, have.
OPSET = 28

# The axes of a blob; None is one whose length follows the batch.
Shape = tuple[Optional[int], ...]


class NotExportedError(ToolError):
    """A layer, or a setting of one, has no form in ONNX; or the package onnx is absent."""


class FollowsBatchError(NotExportedError):
    """The layer works along an axis whose length follows the batch, so that must be fixed."""


@dataclass
class Graph:
    """Nodes in the order of computation, and the constants that they read."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Layer:
    """One layer of a net as its exporting function sees it.

    Attributes:
        message: its LayerParameter.
        bottoms: the tensors of its bottoms, of the shapes ``shapes``.
        top_shapes: the shapes of its tops.
        params: its learned arrays, as in ``net.params``.
    """

    graph: Graph
    message: Any
    bottoms: Sequence[str]
    shapes: Sequence[Shape]
    top_shapes: Sequence[Shape]
    params: Sequence[np.ndarray]

    def error(
        self, reason: str, kind: type[NotExportedError] = NotExportedError
    ) -> NotExportedError:
        """What to raise where this layer cannot be exported."""
        return kind(
            f"layer {self.message.name!r} ({self.message.type}) cannot be exported to ONNX: "
            f"{reason}"
        )

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; its name."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node; the names of its outputs."""
        from onnx import helper

        place = f"{self.message.name}/{kind}_{len(self.graph.nodes)}"
        names = [f"{place}.{index}" if outputs > 1 else place for index in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, name=place, **attributes)
        self.graph.nodes.append(node)
        return names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A tensor of constant values; its name."""
        name = f"{self.message.name}/constant_{len(self.graph.constants)}"
        self.graph.constants[name] = np.array(value, dtype, order="C")
        return name

    def whole_numbers(self, values: Union[int, Sequence[int]]) -> str:
        """A constant of int64, as ONNX takes axes and sizes."""
        return self.constant(values, np.int64)

    def reshaped(self, tensor: str, shape: Shape) -> str:
        """The tensor's values in another shape, of which one axis may follow the batch."""
        if sum(length is None for length in shape) > 1:
            raise self.error(f"several axes of {shape} follow the batch", FollowsBatchError)
        target = [-1 if length is None else length for length in shape]
        return self.op("Reshape", tensor, self.whole_numbers(target))

    def axis(self, axis: int, of: int = 0) -> int:
        """An axis of a bottom, counted from the front."""
        return axis % len(self.shapes[of])

    def sizes(self, axes: Sequence[int]) -> list[int]:
        """Lengths of the first bottom's axes.

        Raises :class:`FollowsBatchError` where one of them follows the batch.
        """
        lengths = [self.shapes[0][axis] for axis in axes]
        fixed = [length for length in lengths if length is not None]
        if len(fixed) < len(lengths):
            raise self.error("it works along the batch", FollowsBatchError)
        return fixed


Exporting = Callable[[Layer], list[str]]
_EXPORTING: dict[str, Exporting] = {}


def exports(*types: str) -> Callable[[Exporting], Exporting]:
    """Register a function for layers of these types. Raises ValueError for a second one."""

    def register(function: Exporting) -> Exporting:
        for name in types:
            if name in _EXPORTING:
                raise ValueError(f"two functions export layers of type {name}")
            _EXPORTING[name] = function
        return function

    return register


def exportable() -> list[str]:
    """The layer types that can be exported, sorted."""
    return sorted(_EXPORTING)


def exporting(layer: Any) -> Exporting:
    """The function for a LayerParameter. Raises :class:`NotExportedError` where there is none."""
    if layer.type not in _EXPORTING:
        raise NotExportedError(
            f"layer {layer.name!r} is of type {layer.type}, which cannot be exported to ONNX; "
            f"those that can: {', '.join(exportable())}"
        )
    return _EXPORTING[layer.type]
