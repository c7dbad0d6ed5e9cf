"""Each layer of a fork, and a net of BVLC's layers that computes the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from layer_cases import TEST, TRAIN, apart, normal

# What the blob of one of BVLC's layers holds, and whose diff it has: (layer, index) of theirs.
Place = tuple[str, int]


@dataclass(frozen=True)
class Pair:
    """One layer ``it`` of a fork, and the layers of BVLC's that do its work.

    Both take the bottoms b0, b1 ... and give ``top``.

    Attributes:
        params: what our blobs hold.
        places: where BVLC's net has each of our blobs.
        constants: what other blobs of BVLC's net hold.
        smooth: how many of the first bottoms have a gradient; None for all.
    """

    name: str
    ours: str
    theirs: str
    bottoms: tuple[np.ndarray, ...]
    params: tuple[np.ndarray, ...] = ()
    places: dict[int, Place] = field(default_factory=dict)
    constants: dict[Place, np.ndarray] = field(default_factory=dict)
    smooth: int | None = None
    phase: int = TRAIN

    def net(self, layers: str) -> str:
        inputs = "".join(
            f'layer {{ name: "b{i}" type: "Input" top: "b{i}" input_param {{ shape {{ '
            + " ".join(f"dim: {size}" for size in bottom.shape)
            + " } } }\n"
            for i, bottom in enumerate(self.bottoms)
        )
        return f"force_backward: true\n{inputs}{layers}"

    @property
    def our_net(self) -> str:
        bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(self.bottoms)))
        return self.net(f'layer {{ name: "it" {bottoms} top: "top" {self.ours} }}')


def layer(name: str, type_: str, bottoms: str, tops: str = "", settings: str = "") -> str:
    ends = "".join(f' bottom: "{b}"' for b in bottoms.split())
    ends += "".join(f' top: "{t}"' for t in (tops or name).split())
    return f'layer {{ name: "{name}" type: "{type_}"{ends} {settings} }}\n'


def scale_layer(bottom: str, settings: str = "") -> str:
    return layer("scale", "Scale", bottom, "top", f"scale_param {{ {settings} }}")


# -- the pairs ----------------------------------------------------------------------------

DEPTHWISE = "num_output: 3 group: 3 kernel_size: 3 pad: 1 stride: 2 dilation: 1"
CONVOLUTIONS = [
    Pair(
        type_,
        f'type: "{type_}" convolution_param {{ {DEPTHWISE} }}',
        layer("conv", "Convolution", "b0", "top", f"convolution_param {{ {DEPTHWISE} }}"),
        (normal(2, 3, 7, 6),),
        (normal(3, 1, 3, 3, seed=1), normal(3, seed=2)),
        {0: ("conv", 0), 1: ("conv", 1)},
    )
    for type_ in ("DepthwiseConvolution", "ConvolutionDepthwise")
]

RELU6 = [
    Pair(
        f"ReLU6 with slope {slope}",
        f'type: "ReLU6" relu6_param {{ negative_slope: {slope} }}',
        layer("relu", "ReLU", "b0", "", f"relu_param {{ negative_slope: {slope} }}")
        + layer("clip", "Clip", "relu", "top", "clip_param { min: -1e9 max: 6 }"),
        (2 * apart(4, 3, 5),),
    )
    for slope in (0, 0.25)
]

# x / sqrt(eps + sum x^2) is what LRN over all channels computes.
LENGTH = "lrn_param {{ local_size: {0} alpha: {0} beta: 0.5 k: 0.5 }}".format
NORMALIZE = [
    Pair(
        "Normalize",
        'type: "Normalize" norm_param { across_spatial: false channel_shared: false eps: 0.5 }',
        layer("lrn", "LRN", "b0", "", LENGTH(11)) + scale_layer("lrn"),
        (normal(2, 5, 3, 4),),
        (normal(5, seed=1),),
        {0: ("scale", 0)},
    ),
    Pair(
        "Normalize across all",
        'type: "Normalize" norm_param { eps: 0.5 }',
        layer("flat", "Reshape", "b0", "",
              "reshape_param { shape { dim: 2 dim: 24 dim: 1 dim: 1 } }")
        + layer("lrn", "LRN", "flat", "", LENGTH(49))
        + layer("back", "Reshape", "lrn", "",
                "reshape_param { shape { dim: 2 dim: 2 dim: 3 dim: 4 } }")
        + scale_layer("back", "num_axes: 0"),
        (normal(2, 2, 3, 4),),
        (np.array(1.5, "f4"),),
        {0: ("scale", 0)},
    ),
]  # fmt: skip

CHANNELS = [f"c{i}" for i in range(6)]
SLICED = layer("slice", "Slice", "b0", " ".join(CHANNELS))
MOVED = [
    Pair(
        "Permute",
        'type: "Permute" permute_param { order: [0, 2, 3, 1] }',
        SLICED
        + "".join(
            layer(f"{c}r", "Reshape", c, "",
                  "reshape_param { shape { dim: 2 dim: 3 dim: 4 dim: 1 } }")
            for c in CHANNELS
        )
        + layer("all", "Concat", " ".join(f"{c}r" for c in CHANNELS), "top",
                "concat_param { axis: 3 }"),
        (normal(2, 6, 3, 4),),
    ),
    Pair(
        "ShuffleChannel",
        'type: "ShuffleChannel" shuffle_channel_param { group: 2 }',
        SLICED + layer("all", "Concat", "c0 c3 c1 c4 c2 c5", "top"),
        (normal(2, 6, 3, 4),),
    ),
    Pair(
        "Axpy",
        'type: "Axpy"',
        layer("a", "Reshape", "b0", "", "reshape_param { shape { dim: 2 dim: 3 } }")
        + layer("ax", "Scale", "b1 a", "", "scale_param { axis: 0 }")
        + layer("sum", "Eltwise", "ax b2", "top"),
        (normal(2, 3, 1, 1), normal(2, 3, 4, 2, seed=1), normal(2, 3, 4, 2, seed=2)),
    ),
]  # fmt: skip

# With a = |x| and m = min(a, t), t = 1 / sigma^2, the loss is sigma^2 (m a - m^2 / 2).
HUBER = (
    layer("difference", "Eltwise", "b0 b1", "", "eltwise_param { coeff: 1 coeff: -1 }")
    + layer("x", "Eltwise", "difference b2", "", "eltwise_param { operation: PROD }")
    + layer("a", "AbsVal", "x")
    + layer("m", "Clip", "a", "", "clip_param { min: 0 max: 0.25 }")
    + layer("ma", "Eltwise", "m a", "", "eltwise_param { operation: PROD }")
    + layer("mm", "Power", "m", "", "power_param { power: 2 }")
    + layer("each", "Eltwise", "ma mm", "", "eltwise_param { coeff: 4 coeff: -2 }")
    + layer("weighted", "Eltwise", "each b3", "", "eltwise_param { operation: PROD }")
    + layer("loss", "Reduction", "weighted", "top", "reduction_param { coeff: 0.5 }")
)
LOSSES = [
    Pair(
        "SmoothL1Loss",
        'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 2 }',
        HUBER,
        (0.3 * apart(2, 6), np.zeros((2, 6), "f4"), 0.1 + np.abs(normal(2, 6)),
         normal(2, 6, seed=3)),
        smooth=2,
    ),
]  # fmt: skip

STATISTICS = (normal(3, seed=3), np.abs(normal(3, seed=4)) + 0.1)
SLOPES = (normal(3, seed=1), normal(3, seed=2))


def _bn(name: str, ours: str, theirs: str, phase: int, statistics=(), extra=None) -> Pair:
    return Pair(
        name,
        f'type: "BN" bn_param {{ {ours} }}',
        theirs + scale_layer("norm" if theirs else "b0", "bias_term: true"),
        (2 + normal(4, 3, 2, 5),),
        tuple(blob.reshape(1, -1, 1, 1) for blob in (*SLOPES, *statistics)),
        {0: ("scale", 0), 1: ("scale", 1)},
        extra or {},
        phase=phase,
    )


GLOBAL = {
    ("norm", 0): 2 * STATISTICS[0], ("norm", 1): 2 * STATISTICS[1], ("norm", 2): np.array([2], "f4")
}  # fmt: skip
BNS = [
    _bn("BN of PSPNet", "eps: 0.25",
        layer("norm", "BatchNorm", "b0", "", "batch_norm_param { eps: 0.25 }"), TRAIN, STATISTICS),
    _bn("BN of PSPNet at test", "eps: 0.25",
        layer("norm", "BatchNorm", "b0", "", "batch_norm_param { eps: 0.25 }"), TEST, STATISTICS,
        GLOBAL),
    _bn("BN of SegNet", "bn_mode: LEARN",
        layer("norm", "BatchNorm", "b0", "",
              "batch_norm_param { eps: 1e-9 use_global_stats: false }"), TEST),
    _bn("BN of SegNet at inference", "bn_mode: INFERENCE", "", TEST),
]  # fmt: skip
FROZEN = _bn(
    "BN of PSPNet frozen", "frozen: true eps: 0.25",
    layer("norm", "BatchNorm", "b0", "",
          "batch_norm_param { eps: 0.25 use_global_stats: true }"), TRAIN, STATISTICS, GLOBAL,
)  # fmt: skip


def tent(zoom: int) -> np.ndarray:
    """Bilinear weights of a Deconvolution with the stride ``zoom``."""
    line = 1 - np.abs(np.arange(2 * zoom - 1) - (zoom - 1)) / zoom
    return np.outer(line, line).astype(np.float32)


def spread(name: str, ours: str, kernel: np.ndarray, stride: int, pad: int, before="") -> Pair:
    channels = np.broadcast_to(kernel, (2, 1, *kernel.shape)).copy()
    settings = (
        f"num_output: 2 group: 2 bias_term: false kernel_size: {len(kernel)} "
        f"stride: {stride} pad: {pad}"
    )
    bottom = "cut" if before else "b0"
    return Pair(
        name,
        ours,
        before + layer("up", "Deconvolution", bottom, "top", f"convolution_param {{ {settings} }}"),
        (normal(2, 2, 6, 5),),
        constants={("up", 0): channels},
    )


CUT = (
    layer("size", "DummyData", "", "size",
          "dummy_data_param { shape { dim: 1 dim: 1 dim: 3 dim: 2 } }")
    + layer("cut", "Crop", "b0 size", "cut", "crop_param { axis: 2 offset: 1 }")
)  # fmt: skip
SIZES = [
    spread("Interp zoomed", 'type: "Interp" interp_param { zoom_factor: 3 }', tent(3), 3, 2),
    spread("Interp cut and zoomed",
           'type: "Interp" interp_param { zoom_factor: 4 pad_beg: -1 pad_end: -2 }', tent(4), 4, 3,
           CUT),
    Pair(
        "Interp shrunk",
        'type: "Interp" interp_param { shrink_factor: 2 }',
        layer("pool", "Pooling", "b0", "top", "pooling_param { kernel_size: 1 stride: 2 }"),
        (normal(2, 2, 5, 7),),
    ),
    spread("Upsample", 'type: "Upsample" upsample_param { scale: 3 }', np.ones((3, 3), "f4"), 3, 0),
]  # fmt: skip


def region(name: str, item: int, y: int, x: int, height: int, width: int, pool: str) -> str:
    """The maxima of a region of an item, as a Crop and a Pooling."""
    sizes = f"dim: 1 dim: 1 dim: {height} dim: {width}"
    return (
        layer(f"{name}s", "DummyData", "", "", f"dummy_data_param {{ shape {{ {sizes} }} }}")
        + layer(f"{name}c", "Crop", f"i{item} {name}s", "",
                f"crop_param {{ axis: 2 offset: {y} offset: {x} }}")
        + layer(name, "Pooling", f"{name}c", "", f"pooling_param {{ {pool} }}")
    )  # fmt: skip


REGIONS = [
    Pair(
        "ROIPooling",
        'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }',
        layer("items", "Slice", "b0", "i0 i1", "slice_param { axis: 0 }")
        # 4 by 4 in bins of 2 by 2; 5 by 3 in bins of 3 by 2 that overlap; 1 by 2, repeated
        + region("r0", 0, 1, 2, 4, 4, "kernel_size: 2 stride: 2")
        + region("r1", 1, 0, 1, 5, 3, "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1")
        + region("r2", 1, 3, 3, 2, 2, "kernel_size: 1 stride: 1")
        + layer("all", "Concat", "r0 r1 r2", "top", "concat_param { axis: 0 }"),
        (apart(2, 3, 6, 7), np.array([[0, 4, 2, 10, 7], [1, 2, 0, 6, 8], [1, 6, 6, 8, 8]], "f4")),
        smooth=1,
    ),
]

PAIRS = [*CONVOLUTIONS, *RELU6, *NORMALIZE, *MOVED, *LOSSES, *BNS, FROZEN, *SIZES, *REGIONS]
