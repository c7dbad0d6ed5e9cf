"""Cases of every layer: prototxt, inputs, and the tops that plain loops give.

The references (layer_references) read nothing of the layer's message: each case states its
own settings, so a setting that is read wrongly shows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from google.protobuf import text_format
from layer_references import (
    accuracy,
    convolution,
    inner_product,
    lrn_across,
    lrn_within,
    pooling,
    relu,
    same,
    softmax,
    softmax_loss,
)

from caffe.proto import caffe_pb2
from recaffe.layers import Layer, make_layer

TRAIN, TEST = 0, 1
Reference = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Case:
    """One layer with inputs.

    Attributes:
        layer: its prototxt without name, bottoms and tops.
        reference: ``(bottoms, params) -> tops``.
        labels: how many of the last bottoms are labels, which have no gradient.
        lmdb: images and labels of the LMDB that the layer reads as ``source: "lmdb"``.
        differentiable: whether finite differences give the gradient that Caffe gives.
        bvlc_backward: whether BVLC's build survives its backward.
    """

    name: str
    layer: str
    bottoms: tuple[np.ndarray, ...]
    reference: Reference
    labels: int = 0
    tops: int = 1
    phase: int = TRAIN
    lmdb: tuple[np.ndarray, np.ndarray] | None = None
    differentiable: bool = True
    bvlc_backward: bool = True

    @property
    def type(self) -> str:
        return self.message().type

    def message(self, more: str = ""):
        """The LayerParameter, with bottoms b0, b1 ... and tops t0, t1 ..."""
        return text_format.Parse(self._body(more), caffe_pb2.LayerParameter())

    def _body(self, more: str) -> str:
        bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(self.bottoms)))
        tops = " ".join(f'top: "t{i}"' for i in range(self.tops))
        return f'name: "it" {self.layer} {bottoms} {tops} {more}'

    def net(self, more: str = "", force_backward: bool = True) -> str:
        """A net of Input layers and this one; ``more`` goes into the layer."""
        inputs = "".join(
            f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ '
            + " ".join(f"dim: {size}" for size in bottom.shape)
            + " } } }\n"
            for i, bottom in enumerate(self.bottoms)
        )
        force = "force_backward: true\n" if force_backward else ""
        return f"{force}{inputs}layer {{ {self._body(more)} }}\n"

    def made(self) -> Layer:
        """The layer, set up, with random parameters."""
        layer = make_layer(self.message(), self.phase)
        layer.setup([bottom.shape for bottom in self.bottoms])
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


def made_layer(
    type_: str, settings: str, *shapes: Sequence[int], tops: int = 1, phase: int = TRAIN
):
    """A layer ``it`` of that type, set up for bottoms of those shapes."""
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(shapes)))
    top = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'name: "it" type: "{type_}" {bottoms} {top} {settings}'
    layer = make_layer(text_format.Parse(text, caffe_pb2.LayerParameter()), phase)
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


# -- cases --------------------------------------------------------------------------------


def _convolution(name: str, bottoms, settings: str, **reference) -> Case:
    axes = bottoms[0].ndim - 2
    full = {"stride": (1,) * axes, "pad": (0,) * axes, "dilation": (1,) * axes} | reference
    return Case(
        f"convolution {name}",
        f'type: "Convolution" convolution_param {{ {settings} }}',
        tuple(bottoms),
        partial(convolution, **full),
        tops=len(bottoms),
    )


CONVOLUTIONS = [
    _convolution("plain", [normal(2, 3, 5, 4)], "num_output: 4 kernel_size: 3"),
    _convolution(
        "pad, stride", [normal(2, 3, 6, 5)], "num_output: 2 kernel_size: 3 pad: 2 stride: 2",
        pad=(2, 2), stride=(2, 2),
    ),
    _convolution(
        "group, no bias", [normal(2, 4, 4, 4)],
        "num_output: 6 kernel_size: 3 pad: 1 group: 2 bias_term: false",
        pad=(1, 1), group=2, biased=False,
    ),
    _convolution(
        "dilation", [normal(1, 2, 7, 8)], "num_output: 2 kernel_size: 3 dilation: 2 pad: 1",
        dilation=(2, 2), pad=(1, 1),
    ),
    _convolution(
        "h and w", [normal(1, 2, 6, 7)],
        "num_output: 2 kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 2",
        stride=(2, 1), pad=(0, 2),
    ),
    _convolution(
        "axis by axis", [normal(1, 2, 6, 7)],
        "num_output: 2 kernel_size: 3 kernel_size: 2 stride: 1 stride: 3 pad: 1 pad: 0 "
        "dilation: 1 dilation: 2",
        stride=(1, 3), pad=(1, 0), dilation=(1, 2),
    ),
    _convolution(
        "1-D", [normal(2, 3, 9)], "num_output: 2 kernel_size: 3 stride: 2 pad: 1",
        stride=(2,), pad=(1,),
    ),
    _convolution(
        "3-D", [normal(1, 2, 3, 4, 5)], "num_output: 2 kernel_size: 2 stride: 1 pad: 1 group: 2",
        pad=(1, 1, 1), group=2,
    ),
    _convolution(
        "two bottoms", [normal(2, 2, 4, 4), normal(2, 2, 4, 4, seed=1)],
        "num_output: 3 kernel_size: 2",
    ),
]  # fmt: skip


def _pooling(name: str, bottom, settings: str, out, kernel, stride=(1, 1), pad=(0, 0), **more):
    reference = {key: more.pop(key) for key in ("average", "mask") if key in more}
    return Case(
        f"pooling {name}",
        f'type: "Pooling" pooling_param {{ {settings} }}',
        (bottom,),
        partial(pooling, kernel=kernel, stride=stride, pad=pad, out=out, **reference),
        tops=2 if reference.get("mask") else 1,
        **more,
    )


POOLINGS = [
    _pooling("max", apart(2, 2, 4, 6), "kernel_size: 2 stride: 2", (2, 3), (2, 2), (2, 2)),
    _pooling("odd sizes", apart(1, 2, 7, 6), "kernel_size: 3 stride: 2", (3, 3), (3, 3), (2, 2)),
    _pooling(
        "padded", apart(1, 2, 4, 6), "kernel_size: 3 stride: 2 pad: 1", (3, 4), (3, 3), (2, 2),
        (1, 1),
    ),
    _pooling(
        "last window dropped", apart(1, 1, 5, 2), "kernel_size: 2 stride: 2 pad: 1", (3, 2),
        (2, 2), (2, 2), (1, 1),
    ),
    _pooling(
        "average, last window dropped", apart(1, 1, 2, 3),
        "pool: AVE kernel_size: 3 stride: 3 pad: 1", (1, 2), (3, 3), (3, 3), (1, 1), average=True,
    ),
    _pooling(
        "floor", apart(1, 2, 6, 7), "kernel_size: 3 stride: 2 round_mode: FLOOR", (2, 3), (3, 3),
        (2, 2),
    ),
    _pooling(
        "average, floor", normal(1, 2, 6, 7),
        "pool: AVE kernel_size: 3 stride: 2 round_mode: FLOOR", (2, 3), (3, 3), (2, 2),
        average=True,
    ),
    _pooling(
        "h and w", apart(1, 2, 5, 7),
        "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 0 pad_w: 1", (4, 4), (2, 3),
        (1, 2), (0, 1),
    ),
    _pooling(
        "average, padded", normal(2, 2, 4, 5), "pool: AVE kernel_size: 3 stride: 2 pad: 1",
        (3, 3), (3, 3), (2, 2), (1, 1), average=True,
    ),
    _pooling(
        "average, odd sizes", normal(1, 1, 5, 8), "pool: AVE kernel_size: 3 stride: 2", (2, 4),
        (3, 3), (2, 2), average=True,
    ),
    _pooling("global", apart(2, 3, 3, 5), "global_pooling: true", (1, 1), (3, 5)),
    _pooling(
        "average, global", normal(2, 3, 3, 5), "pool: AVE global_pooling: true", (1, 1), (3, 5),
        average=True,
    ),
    _pooling(
        "mask", apart(2, 2, 5, 6), "kernel_size: 3 stride: 2 pad: 1", (3, 4), (3, 3), (2, 2),
        (1, 1), mask=True,
    ),
    _pooling(
        "ties", np.round(normal(1, 2, 5, 5)), "kernel_size: 3 stride: 2", (2, 2), (3, 3),
        (2, 2), mask=True, differentiable=False,
    ),
    _pooling(
        "kernel beyond the bottom", apart(1, 1, 2, 2), "kernel_size: 3 stride: 2", (1, 1),
        (3, 3), (2, 2),
    ),
    # BVLC's backward writes outside the bottom here, to the mask's -1.
    _pooling(
        "empty windows", apart(1, 1, 5, 5), "kernel_size: 2 stride: 5", (2, 2), (2, 2), (5, 5),
        mask=True, differentiable=False, bvlc_backward=False,
    ),
    _pooling(
        "average, empty windows", apart(1, 1, 5, 6), "pool: AVE kernel_size: 2 stride: 5", (2, 2),
        (2, 2), (5, 5), average=True, differentiable=False,
    ),
]  # fmt: skip


def _lrn(name: str, settings: str, reference: Reference) -> Case:
    return Case(f"lrn {name}", f'type: "LRN" lrn_param {{ {settings} }}', (normal(2, 5, 3, 4),),
                reference)  # fmt: skip


NORMALISATIONS = [
    _lrn("across", "local_size: 3 alpha: 1 beta: 0.75 k: 2",
         partial(lrn_across, size=3, alpha=1, beta=0.75, k=2)),
    _lrn("across all", "local_size: 11 alpha: 2 beta: 0.5 k: 1",
         partial(lrn_across, size=11, alpha=2, beta=0.5, k=1)),
    _lrn("across one", "local_size: 1 alpha: 2 beta: 0.5 k: 1.5",
         partial(lrn_across, size=1, alpha=2, beta=0.5, k=1.5)),
    # k has no meaning within a channel
    _lrn("within", "local_size: 3 alpha: 1 beta: 0.75 k: 2 norm_region: WITHIN_CHANNEL",
         partial(lrn_within, size=3, alpha=1, beta=0.75)),
    _lrn("within wide", "local_size: 5 alpha: 2 beta: 0.5 norm_region: WITHIN_CHANNEL",
         partial(lrn_within, size=5, alpha=2, beta=0.5)),
]  # fmt: skip


def _inner(name: str, bottom, settings: str, **reference) -> Case:
    return Case(f"inner product {name}",
                f'type: "InnerProduct" inner_product_param {{ {settings} }}', (bottom,),
                partial(inner_product, **reference))  # fmt: skip


INNER_PRODUCTS = [
    _inner("plain", normal(3, 2, 2, 3), "num_output: 4", axis=1),
    _inner("one item", normal(1, 5), "num_output: 2", axis=1),
    _inner("axis 2", normal(2, 3, 4), "num_output: 5 axis: 2", axis=2),
    _inner("axis 0", normal(2, 3), "num_output: 2 axis: 0", axis=0),
    _inner("last axis", normal(2, 3, 4), "num_output: 2 axis: -1", axis=2),
    _inner("transpose", normal(3, 4), "num_output: 2 transpose: true", axis=1, transpose=True),
    _inner("no bias", normal(3, 4), "num_output: 2 bias_term: false", axis=1, biased=False),
]


def _loss(name: str, bottoms, settings: str, **more) -> Case:
    reference = {key: more.pop(key) for key in ("divisor", "axis", "ignore") if key in more}
    return Case(f"softmax loss {name}", f'type: "SoftmaxWithLoss" {settings}', bottoms,
                partial(softmax_loss, **reference), labels=1, **more)  # fmt: skip


_ITEMS = (normal(4, 3), labels(0, 2, 1, 2))
_SPATIAL = (normal(2, 3, 2, 2), labels(0, 2, 1, 2, 1, 1, 0, 2).reshape(2, 2, 2))
_IGNORED = (normal(2, 3, 2, 2), labels(0, 9, 1, 9, 1, 9, 0, 2).reshape(2, 1, 2, 2))

LOSSES = [
    _loss("plain", _ITEMS, "", divisor=4),
    _loss("spatial", _SPATIAL, "", divisor=8),
    _loss("valid", _IGNORED, "loss_param { ignore_label: 9 }", divisor=5, ignore=9),
    _loss("full", _IGNORED, "loss_param { ignore_label: 9 normalization: FULL }", divisor=8,
          ignore=9),
    _loss("batch size", _IGNORED, "loss_param { ignore_label: 9 normalization: BATCH_SIZE }",
          divisor=2, ignore=9),
    _loss("none", _IGNORED, "loss_param { ignore_label: 9 normalization: NONE }", divisor=1,
          ignore=9),
    _loss("normalize", _IGNORED, "loss_param { ignore_label: 9 normalize: true }", divisor=5,
          ignore=9),
    _loss("do not normalize", _IGNORED, "loss_param { ignore_label: 9 normalize: false }",
          divisor=2, ignore=9),
    _loss("normalization wins", _IGNORED,
          "loss_param { ignore_label: 9 normalize: false normalization: FULL }", divisor=8,
          ignore=9),
    _loss("all ignored", (normal(2, 3), labels(9, 9)), "loss_param { ignore_label: 9 }",
          divisor=1, ignore=9),
    _loss("negative ignore_label", (normal(3, 2), labels(1, -1, 0)),
          "loss_param { ignore_label: -1 }", divisor=2, ignore=-1),
    _loss("axis 2", (normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4)),
          "softmax_param { axis: 2 }", divisor=8, axis=2),
    # the batch of BATCH_SIZE is all that comes before the axis
    _loss("axis 2, batch size", (normal(2, 4, 3, 2), np.ones((2, 4, 2), np.float32)),
          "softmax_param { axis: 2 } loss_param { normalization: BATCH_SIZE }", divisor=8, axis=2),
    # BVLC wants as many labels along the first axis as scores, whatever that axis is.
    _loss("axis 0", (normal(2, 4), labels(0, 1, 1, 0).reshape(2, 2)),
          "softmax_param { axis: 0 } loss_param { normalization: BATCH_SIZE }", divisor=1, axis=0),
    # Caffe bounds the value of the loss and not the gradient.
    _loss("vanishing probability", (labels(0, 200, 300, 0).reshape(2, 2), labels(0, 0)), "",
          divisor=2, differentiable=False),
]  # fmt: skip


def _accuracy(name: str, bottoms, settings: str = "", tops: int = 1, **reference) -> Case:
    return Case(f"accuracy {name}", f'type: "Accuracy" accuracy_param {{ {settings} }}', bottoms,
                partial(accuracy, by_class=tops == 2, **reference), labels=1, tops=tops,
                differentiable=False, bvlc_backward=False)  # fmt: skip


_SCORES = np.array([[3, 1, 2], [1, 3, 2], [2, 1, 3], [1, 2, 3]], np.float32)
ACCURACIES = [
    _accuracy("plain", (_SCORES, labels(0, 1, 1, 0))),
    _accuracy("top 2", (_SCORES, labels(2, 0, 0, 0)), "top_k: 2", top_k=2),
    _accuracy("ties", (np.ones((3, 3), np.float32), labels(0, 1, 2))),
    _accuracy("ties, top 3", (np.ones((3, 3), np.float32), labels(0, 1, 2)), "top_k: 3", top_k=3),
    _accuracy("ignore", (_SCORES, labels(0, 9, 1, 9)), "ignore_label: 9", ignore=9),
    _accuracy("all ignored", (_SCORES, labels(9, 9, 9, 9)), "ignore_label: 9", ignore=9),
    _accuracy("by class", (_SCORES, labels(0, 1, 1, 1)), tops=2),
    _accuracy("by class, ignore", (_SCORES, labels(0, 9, 1, 1)), "ignore_label: 9", tops=2,
              ignore=9),
    _accuracy("spatial", _SPATIAL, tops=2),
    _accuracy("axis 2", (normal(2, 4, 3), labels(0, 1, 2, 0, 2, 1, 0, 0).reshape(2, 4)),
              "axis: 2", axis=2),
]  # fmt: skip

_IMAGES = np.random.default_rng(5).integers(0, 256, (5, 2, 3, 4), dtype=np.uint8)
_IMAGE_LABELS = np.array([4, 0, 3, 1, 2])

OTHERS = [
    Case("relu", 'type: "ReLU"', (apart(2, 3, 2),), relu),
    Case("relu with slope", 'type: "ReLU" relu_param { negative_slope: 0.25 }',
         (apart(2, 3, 2),), partial(relu, slope=0.25)),
    Case("softmax", 'type: "Softmax"', (normal(3, 4),), partial(softmax, axis=1)),
    Case("softmax spatial", 'type: "Softmax"', (normal(2, 3, 2, 2),), partial(softmax, axis=1)),
    Case("softmax axis 2", 'type: "Softmax" softmax_param { axis: 2 }', (normal(2, 3, 4),),
         partial(softmax, axis=2)),
    Case("softmax axis -2", 'type: "Softmax" softmax_param { axis: -2 }', (normal(2, 3, 4),),
         partial(softmax, axis=1)),
    Case("softmax of large scores", 'type: "Softmax"', (1000 * normal(3, 4),),
         partial(softmax, axis=1), differentiable=False),
    Case("dropout at test", 'type: "Dropout" dropout_param { dropout_ratio: 0.75 }',
         (normal(3, 4),), same, phase=TEST),
    Case("split", 'type: "Split"', (normal(2, 3),), partial(same, times=3), tops=3),
    Case("input", 'type: "Input" input_param { shape { dim: 2 dim: 3 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros((2, 3))], tops=2),
    Case("inputs", 'type: "Input" input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros(4)], tops=2),
    Case("data", 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 3 }', (),
         lambda bottoms, params: [_IMAGES[:3], _IMAGE_LABELS[:3]], tops=2,
         lmdb=(_IMAGES, _IMAGE_LABELS)),
    Case("data without labels",
         'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 7 } '
         "transform_param { scale: 0.5 mean_value: 10 mean_value: 20 }", (),
         lambda bottoms, params: [
             (np.concatenate([_IMAGES, _IMAGES[:2]]) - np.array([[[10]], [[20]]])) * 0.5],
         lmdb=(_IMAGES, _IMAGE_LABELS)),
]  # fmt: skip

CASES = [
    *CONVOLUTIONS,
    *POOLINGS,
    *NORMALISATIONS,
    *INNER_PRODUCTS,
    *LOSSES,
    *ACCURACIES,
    *OTHERS,
]
