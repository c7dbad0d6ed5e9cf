"""What a case of a layer is, and what the cases of all families are made of."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from recaffe.blob import Blob
from recaffe.layers import BlobLayer, Layer, make_layer

TRAIN, TEST = 0, 1
Reference = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Case:
    """One layer with inputs.

    Attributes:
        layer: its prototxt without name, bottoms and tops.
        reference: ``(bottoms, params) -> tops``.
        labels: how many of the last bottoms are labels, which have no gradient.
        fixed: the indices of other bottoms without one.
        learnt: whether the parameters have a gradient; statistics do not.
        files: writes the files that the layer reads into the folder it is given, which is the
            working folder when the layer is made and run, and where modules are found.
        arrays: what a MemoryData layer is given, data and labels.
        differentiable: whether finite differences give the gradient that Caffe gives.
        bvlc: whether BVLC's build knows the layer and the settings.
        bvlc_backward: whether BVLC's build survives its backward.
    """

    name: str
    layer: str
    bottoms: tuple[np.ndarray, ...]
    reference: Reference
    labels: int = 0
    fixed: tuple[int, ...] = ()
    learnt: bool = True
    tops: int = 1
    phase: int = TRAIN
    files: Callable[[Path], None] | None = None
    arrays: tuple[np.ndarray, ...] = ()
    differentiable: bool = True
    bvlc: bool = True
    bvlc_backward: bool = True

    @property
    def type(self) -> str:
        return self.message().type

    @property
    def smooth(self) -> list[int]:
        """The indices of the bottoms that have a gradient."""
        return [i for i in range(len(self.bottoms) - self.labels) if i not in self.fixed]

    def message(self, more: str = ""):
        """The LayerParameter, with bottoms b0, b1 ... and tops t0, t1 ..."""
        return text_format.Parse(self._body(more), caffe_pb2.LayerParameter())

    def top_names(self, in_place: bool = False) -> list[str]:
        """t0, t1 ...; in place the first top is the first bottom."""
        return ["b0" if in_place and not i else f"t{i}" for i in range(self.tops)]

    @property
    def may_be_in_place(self) -> bool:
        """Whether the top may be the first bottom; of Python layers their own code decides."""
        if self.tops != 1 or not self.bottoms or self.type == "Python":
            return False
        return make_layer(self.message(), self.phase).in_place

    def _body(self, more: str, in_place: bool = False) -> str:
        bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(self.bottoms)))
        tops = " ".join(f'top: "{name}"' for name in self.top_names(in_place))
        return f'name: "it" {self.layer} {bottoms} {tops} {more}'

    def net(self, more: str = "", force_backward: bool = True, in_place: bool = False) -> str:
        """A net of Input layers and this one; ``more`` goes into the layer."""
        inputs = "".join(
            f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ '
            + " ".join(f"dim: {size}" for size in bottom.shape)
            + " } } }\n"
            for i, bottom in enumerate(self.bottoms)
        )
        force = "force_backward: true\n" if force_backward else ""
        return f"{force}{inputs}layer {{ {self._body(more, in_place)} }}\n"

    def made(self) -> Layer:
        """The layer, set up, with random parameters."""
        layer = make_layer(self.message(), self.phase)
        attach(layer, [bottom.shape for bottom in self.bottoms])
        layer.setup([bottom.shape for bottom in self.bottoms])
        if self.arrays:
            layer.reset(*self.arrays)
        for blob, values in zip(layer.blobs, self.params(layer), strict=True):
            blob.data[...] = values
        return layer

    def params(self, layer: Layer) -> list[np.ndarray]:
        """Random values for the parameters of ``layer``."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [random.normal(size=blob.shape).astype(np.float32) for blob in layer.blobs]

    def top_diffs(self, tops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Random gradients of the tops."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()) + 1)
        return [random.normal(size=top.shape).astype(np.float32) for top in tops]


def attach(layer: Layer, shapes: Sequence[Sequence[int]]) -> None:
    """Give blobs to a layer that works on blobs."""
    if isinstance(layer, BlobLayer):
        layer.attach([Blob(shape) for shape in shapes], [Blob() for _ in range(layer.top_count)])


def made_layer(
    type_: str, settings: str, *shapes: Sequence[int], tops: int = 1, phase: int = TRAIN
):
    """A layer ``it`` of that type, set up for bottoms of those shapes."""
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(shapes)))
    top = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'name: "it" type: "{type_}" {bottoms} {top} {settings}'
    layer = make_layer(text_format.Parse(text, caffe_pb2.LayerParameter()), phase)
    attach(layer, shapes)
    layer.setup([tuple(shape) for shape in shapes])
    layer.top_shapes([tuple(shape) for shape in shapes])
    return layer


# -- inputs -------------------------------------------------------------------------------


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apart(*shape: int, seed: int = 0) -> np.ndarray:
    """Values at least 0.25 apart from each other, and 0.125 from zero: no kink is near."""
    count = math.prod(shape)
    values = (np.arange(count) - count // 2 + 0.5) / 4
    return np.random.default_rng(seed).permutation(values).reshape(shape).astype(np.float32)


def labels(*values: int) -> np.ndarray:
    return np.array(values, np.float32)


# -- for references -----------------------------------------------------------------------


def places(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in shape))


def same(bottoms, params, *, times=1):
    return [bottoms[0]] * times
