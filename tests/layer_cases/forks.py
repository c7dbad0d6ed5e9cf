"""Layers of Caffe's forks: depthwise convolution, ReLU6, Normalize, Permute, ShuffleChannel,
Axpy, SmoothL1Loss, BN. BVLC's build has none of them; tests/test_forks_bvlc.py asks it
for nets of its own layers that compute the same.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import TEST, TRAIN, Case, apart, normal, places
from layer_cases.windows import convolution


def _case(name: str, type_: str, settings: str, bottoms, reference, **more) -> Case:
    return Case(name, f'type: "{type_}" {settings}', tuple(bottoms), reference, bvlc=False, **more)


# -- depthwise convolution ----------------------------------------------------------------


def _depthwise(name: str, type_: str, bottoms, settings: str, **reference) -> Case:
    full = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1)} | reference
    return _case(
        f"depthwise {name}", type_, f"convolution_param {{ {settings} }}", bottoms,
        partial(convolution, group=bottoms[0].shape[1], **full), tops=len(bottoms),
    )  # fmt: skip


DEPTHWISE = [
    _depthwise("plain", "DepthwiseConvolution", [normal(2, 3, 5, 4)],
               "num_output: 3 group: 3 kernel_size: 3"),
    _depthwise("two kernels a channel", "DepthwiseConvolution", [normal(1, 2, 4, 5)],
               "num_output: 4 group: 2 kernel_h: 2 kernel_w: 3 bias_term: false stride: 2 pad: 1",
               stride=(2, 2), pad=(1, 1), biased=False),
    _depthwise("two bottoms", "DepthwiseConvolution",
               [normal(1, 2, 4, 4), normal(1, 2, 4, 4, seed=1)],
               "num_output: 2 group: 2 kernel_size: 3"),
    _depthwise("without group", "ConvolutionDepthwise", [normal(2, 3, 6, 5)],
               "num_output: 3 kernel_size: 3 pad: 1 stride: 2 dilation: 2",
               pad=(1, 1), stride=(2, 2), dilation=(2, 2)),
    _depthwise("without num_output", "ConvolutionDepthwise", [normal(1, 2, 4, 6)],
               "kernel_h: 1 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0 group: 2 "
               "bias_term: false", stride=(1, 2), pad=(1, 0), biased=False),
]  # fmt: skip


# -- element by element -------------------------------------------------------------------


def relu6(bottoms, params, *, slope=0.0):
    return [np.vectorize(lambda x: min(x if x > 0 else slope * x, 6.0))(bottoms[0].astype(float))]


RELU6 = [
    _case("relu6", "ReLU6", "", [2 * apart(4, 3, 5)], relu6),
    _case("relu6 with slope", "ReLU6", "relu6_param { negative_slope: 0.25 }",
          [2 * apart(4, 3, 5)], partial(relu6, slope=0.25)),
]  # fmt: skip


# -- Normalize, Permute, ShuffleChannel, Axpy -----------------------------------------------


def normalize(bottoms, params, *, across, eps=1e-10):
    (bottom,), (scale,) = bottoms, params
    top = np.zeros(bottom.shape)
    for n, c, *place in places(bottom.shape):
        vector = bottom[n] if across else bottom[(n, slice(None), *place)]
        length = np.sqrt(sum(float(x) ** 2 for x in vector.flat) + eps)
        factor = scale[c] if scale.ndim else scale
        top[(n, c, *place)] = bottom[(n, c, *place)] / length * factor
    return [top]


def permute(bottoms, params, *, order):
    (bottom,) = bottoms
    top = np.zeros([bottom.shape[axis] for axis in order])
    for place in places(top.shape):
        source = [0] * len(place)
        for axis, index in zip(order, place, strict=True):
            source[axis] = index
        top[place] = bottom[tuple(source)]
    return [top]


def shuffled(bottoms, params, *, group):
    (bottom,) = bottoms
    of_group = bottom.shape[1] // group
    top = np.zeros(bottom.shape)
    for i in range(group):
        for j in range(of_group):
            top[:, j * group + i] = bottom[:, i * of_group + j]
    return [top]


def axpy(bottoms, params):
    factors, x, y = bottoms
    top = np.zeros(x.shape)
    for n, c, *place in places(x.shape):
        at = (n, c, *place)
        top[at] = float(factors[n, c].item()) * x[at] + y[at]
    return [top]


def _normalize(name: str, settings: str, bottom, across: bool, eps: float = 1e-10) -> Case:
    return _case(f"normalize {name}", "Normalize", f"norm_param {{ {settings} }}", [bottom],
                 partial(normalize, across=across, eps=eps))  # fmt: skip


def _permute(name: str, settings: str, bottom, order) -> Case:
    return _case(f"permute {name}", "Permute", f"permute_param {{ {settings} }}", [bottom],
                 partial(permute, order=order))  # fmt: skip


SHAPED = [
    _normalize("across all", "", normal(2, 3, 2, 4), True),
    _normalize("across all, a scale a channel", "channel_shared: false", normal(2, 3, 4), True),
    _normalize("eps", "eps: 2", normal(2, 3, 2, 2), True, 2),
    _normalize("channels", "across_spatial: false", normal(2, 3, 2, 3), False),
    _normalize("channels, a scale a channel",
               "across_spatial: false channel_shared: false eps: 0.5", normal(2, 3, 2, 3), False,
               0.5),
    _normalize("without spatial axes", "across_spatial: false channel_shared: false",
               normal(3, 4), False),
    _permute("SSD's", "order: [0, 2, 3, 1]", normal(2, 3, 4, 5), (0, 2, 3, 1)),
    _permute("one axis named", "order: 2", normal(2, 3, 4), (2, 0, 1)),
    _permute("nothing", "", normal(2, 3), (0, 1)),
    _permute("five axes", "order: 4 order: 0", normal(1, 2, 3, 2, 2), (4, 0, 1, 2, 3)),
    _case("shuffle channel", "ShuffleChannel", "shuffle_channel_param { group: 3 }",
          [normal(2, 6, 2, 3)], partial(shuffled, group=3)),
    _case("shuffle channel one group", "ShuffleChannel", "", [normal(2, 3, 2)],
          partial(shuffled, group=1)),
    _case("shuffle channel groups of one", "ShuffleChannel", "shuffle_channel_param { group: 4 }",
          [normal(2, 4)], partial(shuffled, group=4)),
    _case("axpy", "Axpy", "",
          [normal(2, 3, 1, 1), normal(2, 3, 2, 4, seed=1), normal(2, 3, 2, 4, seed=2)], axpy),
    _case("axpy without ones", "Axpy", "",
          [normal(2, 3), normal(2, 3, 5, seed=1), normal(2, 3, 5, seed=2)], axpy),
]  # fmt: skip


# -- SmoothL1Loss ---------------------------------------------------------------------------


def smooth_l1(bottoms, params, *, sigma=1.0):
    first, second, *weights = (bottom.astype(float) for bottom in bottoms)
    inside, outside = (w.reshape(first.shape) for w in weights) if weights else (1.0, 1.0)
    inside, outside = (np.broadcast_to(w, first.shape) for w in (inside, outside))
    total = 0.0
    for at in places(first.shape):
        x = inside[at] * (first[at] - second.reshape(first.shape)[at])
        small = abs(x) < 1 / sigma**2
        total += outside[at] * (0.5 * (sigma * x) ** 2 if small else abs(x) - 0.5 / sigma**2)
    return [np.array(total / len(first))]


def _smooth_l1(name: str, settings: str, bottoms, **more) -> Case:
    reference = {"sigma": more.pop("sigma")} if "sigma" in more else {}
    return _case(f"smooth L1 loss {name}", "SmoothL1Loss", settings, bottoms,
                 partial(smooth_l1, **reference), **more)  # fmt: skip


WEIGHTS = [np.array([[1, 0, 2], [0.5, 1, 3]], "f4"), np.array([[0.5, 1, 2], [1.5, 0, 1]], "f4")]
LOSSES = [
    _smooth_l1("plain", "", [apart(4, 3), 0.5 * apart(4, 3, seed=1)]),
    _smooth_l1("sigma", "smooth_l1_loss_param { sigma: 3 }",
               [0.1 * apart(3, 2, 2, 1), np.zeros((3, 2, 2, 1), "f4")], sigma=3),
    _smooth_l1("weights", "smooth_l1_loss_param { sigma: 0.5 }",
               [2 * apart(2, 3), apart(2, 3, seed=1), *WEIGHTS], sigma=0.5, labels=2),
    _smooth_l1("legacy axes", "", [normal(2, 3, 1, 1), normal(2, 3, seed=1),
                                   *(w.reshape(2, 3, 1) for w in WEIGHTS)], labels=2),
]  # fmt: skip


# -- BN -------------------------------------------------------------------------------------


def _statistics(bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = [[float(x) for x in bottom[:, c].flat] for c in range(bottom.shape[1])]
    means = [sum(channel) / len(channel) for channel in values]
    squares = [
        sum((x - mean) ** 2 for x in channel) / len(channel)
        for channel, mean in zip(values, means, strict=True)
    ]
    return np.array(means), np.array(squares)


def bn(bottoms, params, *, eps=1e-5, of_batch=True, further=0):
    (bottom,) = bottoms
    slope, bias, *kept = (blob.ravel() for blob in params)
    mean, variance = _statistics(bottom) if of_batch else kept
    top = np.zeros(bottom.shape)
    for n, c, *place in places(bottom.shape):
        normalised = (bottom[(n, c, *place)] - mean[c]) / np.sqrt(variance[c] + eps)
        top[(n, c, *place)] = slope[c] * normalised + bias[c]
    return [top, mean.reshape(1, -1, 1, 1), variance.reshape(1, -1, 1, 1)][: 1 + further]


def scaled(bottoms, params):
    (bottom,) = bottoms
    scale, shift = (blob.ravel() for blob in params)
    top = np.zeros(bottom.shape)
    for n, c, *place in places(bottom.shape):
        top[(n, c, *place)] = scale[c] * bottom[(n, c, *place)] + shift[c]
    return [top]


def _bn(name: str, settings: str, bottom, reference, **more) -> Case:
    return _case(f"bn {name}", "BN", f"bn_param {{ {settings} }}", [bottom], reference, **more)


BNS = [
    # Of PSPNet's blobs two are statistics; tests/test_forks.py checks the other two's gradients.
    _bn("PSPNet's", "", normal(3, 2, 2, 4), bn, differentiable=False),
    _bn("PSPNet's eps", "eps: 0.5 momentum: 0.75", normal(4, 3), partial(bn, eps=0.5),
        differentiable=False),
    _bn("of one value", "", normal(1, 2, 1, 1), bn, differentiable=False),
    _bn("SegNet's", "bn_mode: LEARN", normal(3, 2, 2, 4), partial(bn, eps=1e-9)),
    _bn("SegNet's at test", "scale_filler { type: 'constant' value: 1 }", normal(3, 2, 5),
        partial(bn, eps=1e-9), phase=TEST),
    _bn("SegNet's with statistics", "shift_filler { type: 'constant' value: 0.001 }",
        normal(3, 2, 2, 3, seed=1), partial(bn, eps=1e-9, further=2), tops=3),
    _bn("SegNet's inference", "bn_mode: INFERENCE", normal(3, 2, 2, 4), scaled, phase=TRAIN),
]  # fmt: skip

CASES = [*DEPTHWISE, *RELU6, *SHAPED, *LOSSES, *BNS]

IMAGE = (2, 3, 5, 5)
CONV = "convolution_param {{ kernel_size: 3 {} }}".format
MISTAKES = [
    ("DepthwiseConvolution", CONV("num_output: 3"), [IMAGE], 1, "channels, 3, found 1"),
    ("DepthwiseConvolution", CONV("num_output: 4 group: 3"), [IMAGE], 1, "group 3 .* num_output 4"),
    ("ConvolutionDepthwise", CONV("num_output: 4"), [IMAGE], 1, "num_output is .* 3, found 4"),
    ("ConvolutionDepthwise", CONV("group: 2"), [IMAGE], 1, "group is .* 3, found 2; leave it out"),
    ("ConvolutionDepthwise", CONV(""), [IMAGE, IMAGE], 2, "1 bottom blob.s., found 2"),
    ("Normalize", "", [(3,)], 1, r"\(N, C, ...\), found \[3\]"),
    ("Normalize", 'norm_param { scale_filler { type: "one" } }', [IMAGE], 1, "filler type 'one'"),
    ("Permute", "permute_param { order: [0, 2, 0] }", [IMAGE], 1, r"once at most, found \[0, 2, 0"),
    ("Permute", "permute_param { order: 4 }", [IMAGE], 1, r"\[4\] has an axis .*\[2, 3, 5, 5\]"),
    ("ShuffleChannel", "shuffle_channel_param { group: 2 }", [IMAGE], 1, "2 must divide the 3"),
    ("ShuffleChannel", "shuffle_channel_param { group: 0 }", [IMAGE], 1, "at least 1"),
    ("ShuffleChannel", "", [(3,)], 1, r"\(N, C, ...\)"),
    ("Axpy", "", [(2, 4, 1, 1), IMAGE, IMAGE], 1, r"belongs \[2, 3, 1, 1\], found \[2, 4, 1, 1\]"),
    ("Axpy", "", [IMAGE, IMAGE, IMAGE], 1, r"belongs \[2, 3, 1, 1\]"),
    ("Axpy", "", [(2, 3), IMAGE, (2, 3, 5, 1)], 1, r"one shape, found .*\[2, 3, 5, 1\]"),
    ("Axpy", "", [IMAGE, IMAGE], 1, "3 bottom blob.s., found 2"),
    ("SmoothL1Loss", "", [(2, 3)] * 3, 1, "both inside and outside weights"),
    ("SmoothL1Loss", "", [(2, 3), (2, 4)], 1, r"one shape, found \[\[2, 3\], \[2, 4\]\]"),
    ("SmoothL1Loss", "", [(2, 3), (2, 3), (2, 3), (2, 1)], 1, "one shape"),
    ("SmoothL1Loss", "smooth_l1_loss_param { sigma: 0 }", [(2, 3)] * 2, 1, "sigma must not be 0"),
    ("BN", "bn_param { momentum: 0.5 bn_mode: LEARN }", [IMAGE], 1,
     "bn_mode belong to SegNet's BN, momentum to PSPNet's"),
    ("BN", "bn_param { frozen: true }", [IMAGE], 2, "only SegNet's BN .* more than one top"),
    ("BN", "bn_param { bn_mode: INFERENCE }", [IMAGE], 2, "no statistics for further tops"),
    ("BN", "", [(3,)], 1, r"\(N, C, ...\)"),
]  # fmt: skip
