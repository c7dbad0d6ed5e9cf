"""Convolution, Deconvolution, Im2col."""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import Case, normal, places


def _from_axis(one, bottom, axis, *arguments) -> np.ndarray:
    """``one`` of the bottom with all axes before ``axis`` as its batch."""
    top = one(bottom.reshape(-1, *bottom.shape[axis:]), *arguments)
    return top.reshape(*bottom.shape[:axis], *top.shape[1:])


def _convolve(bottom, weight, bias, stride, pad, dilation, group) -> np.ndarray:
    outputs, group_channels, *kernel = weight.shape
    sizes = [
        int((size + 2 * p - (d * (k - 1) + 1)) / s) + 1
        for size, p, d, k, s in zip(bottom.shape[2:], pad, dilation, kernel, stride, strict=True)
    ]
    top = np.zeros((len(bottom), outputs, *sizes))
    for n, o, *place in places(top.shape):
        total = float(bias[o]) if bias is not None else 0.0
        first = o // (outputs // group) * group_channels
        for c, *offset in places(weight.shape[1:]):
            source = [
                at * s - p + d * q
                for at, s, p, d, q in zip(place, stride, pad, dilation, offset, strict=True)
            ]
            if all(0 <= x < size for x, size in zip(source, bottom.shape[2:], strict=True)):
                total += weight[(o, c, *offset)] * bottom[(n, first + c, *source)]
        top[(n, o, *place)] = total
    return top


def convolution(bottoms, params, *, stride, pad, dilation, group=1, biased=True, axis=1):
    weight, bias = params if biased else (*params, None)
    return [
        _from_axis(_convolve, b, axis, weight, bias, stride, pad, dilation, group) for b in bottoms
    ]


def _spread(bottom, weight, bias, stride, pad, dilation, group) -> np.ndarray:
    channels, group_outputs, *kernel = weight.shape
    sizes = [
        s * (size - 1) + d * (k - 1) + 1 - 2 * p
        for size, p, d, k, s in zip(bottom.shape[2:], pad, dilation, kernel, stride, strict=True)
    ]
    top = np.zeros((len(bottom), group_outputs * group, *sizes))
    if bias is not None:
        top += bias.reshape(-1, *(1,) * len(sizes))
    for n, c, *place in places(bottom.shape):
        first = c // (channels // group) * group_outputs
        for o, *offset in places(weight.shape[1:]):
            target = [
                at * s - p + d * q
                for at, s, p, d, q in zip(place, stride, pad, dilation, offset, strict=True)
            ]
            if all(0 <= x < size for x, size in zip(target, sizes, strict=True)):
                top[(n, first + o, *target)] += weight[(c, o, *offset)] * bottom[(n, c, *place)]
    return top


def deconvolution(bottoms, params, *, stride, pad, dilation, group=1, biased=True, axis=1):
    weight, bias = params if biased else (*params, None)
    return [
        _from_axis(_spread, b, axis, weight, bias, stride, pad, dilation, group) for b in bottoms
    ]


def im2col(bottoms, params, *, kernel, stride, pad, dilation, axis=1):
    """A convolution whose every output picks one value of the window."""
    (bottom,) = bottoms
    channels = bottom.shape[axis]
    columns = channels * int(np.prod(kernel))
    weight = np.eye(columns).reshape(columns, channels, *kernel)
    return [_from_axis(_convolve, bottom, axis, weight, None, stride, pad, dilation, 1)]


def _windowed(type_: str, function, name: str, bottoms, settings: str, **reference) -> Case:
    axes = bottoms[0].ndim - 1 - reference.get("axis", 1)
    full = {"stride": (1,) * axes, "pad": (0,) * axes, "dilation": (1,) * axes} | reference
    return Case(
        f"{type_.lower()} {name}",
        f'type: "{type_}" convolution_param {{ {settings} }}',
        tuple(bottoms),
        partial(function, **full),
        tops=len(bottoms),
    )


_convolution = partial(_windowed, "Convolution", convolution)
_deconvolution = partial(_windowed, "Deconvolution", deconvolution)
_im2col = partial(_windowed, "Im2col", im2col)


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
    _convolution("no spatial axes", [normal(2, 3)], "num_output: 4"),
    _convolution(
        "no spatial axes, group", [normal(2, 4)],
        "num_output: 2 kernel_size: 3 stride: 2 pad: 1 group: 2 bias_term: false", group=2,
        biased=False,
    ),
    _convolution(
        "4-D", [normal(1, 2, 3, 3, 2, 3)],
        "num_output: 2 kernel_size: 2 kernel_size: 1 kernel_size: 2 kernel_size: 2 "
        "stride: 2 stride: 1 stride: 1 stride: 2 pad: 1 pad: 0 pad: 1 pad: 0",
        stride=(2, 1, 1, 2), pad=(1, 0, 1, 0),
    ),
    _convolution(
        "5-D, group, dilation", [normal(1, 2, 3, 2, 2, 2, 2)],
        "num_output: 2 kernel_size: 2 kernel_size: 2 kernel_size: 1 kernel_size: 2 kernel_size: 1 "
        "dilation: 2 dilation: 1 dilation: 1 dilation: 1 dilation: 1 group: 2 bias_term: false",
        dilation=(2, 1, 1, 1, 1), group=2, biased=False,
    ),
    _convolution(
        "axis 0", [normal(2, 3, 4)], "num_output: 3 kernel_size: 2 axis: 0", axis=0,
    ),
    _convolution(
        "axis 2", [normal(2, 2, 3, 4, 5)], "num_output: 2 kernel_size: 2 axis: 2 pad: 1",
        axis=2, pad=(1, 1),
    ),
    _convolution(
        "axis -1", [normal(2, 2, 3)], "num_output: 2 axis: -1", axis=2,
    ),
    _convolution(
        "force_nd_im2col", [normal(1, 2, 4, 3)],
        "num_output: 2 kernel_size: 2 pad: 1 stride: 2 force_nd_im2col: true engine: CAFFE",
        pad=(1, 1), stride=(2, 2),
    ),
    # the quotient that gives the size is rounded towards zero, not down
    _convolution(
        "window sticks out", [normal(2, 2, 2, 5)], "num_output: 2 kernel_size: 3 stride: 2",
        stride=(2, 2),
    ),
    _convolution(
        "padded window sticks out", [normal(2, 2, 2)],
        "num_output: 2 kernel_size: 3 dilation: 2 stride: 3 pad: 1", stride=(3,), pad=(1,),
        dilation=(2,),
    ),
    _convolution("one channel", [normal(2, 1, 4, 4)], "num_output: 2 kernel_size: 2"),
]  # fmt: skip

DECONVOLUTIONS = [
    _deconvolution("plain", [normal(2, 3, 3, 4)], "num_output: 2 kernel_size: 2"),
    _deconvolution(
        "stride, pad", [normal(2, 2, 3, 4)],
        "num_output: 3 kernel_size: 4 stride: 2 stride: 3 pad: 1 pad: 2",
        stride=(2, 3), pad=(1, 2),
    ),
    _deconvolution(
        "group, dilation, no bias", [normal(1, 4, 3, 3)],
        "num_output: 6 kernel_size: 3 dilation: 2 group: 2 bias_term: false force_nd_im2col: true",
        dilation=(2, 2), group=2, biased=False,
    ),
    _deconvolution(
        "h and w", [normal(1, 2, 3, 2)],
        "num_output: 2 kernel_h: 1 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 1",
        stride=(2, 1), pad=(0, 1),
    ),
    _deconvolution(
        "1-D", [normal(2, 3, 4)], "num_output: 2 kernel_size: 3 stride: 2", stride=(2,),
    ),
    _deconvolution(
        "3-D", [normal(1, 2, 2, 3, 2)], "num_output: 2 kernel_size: 2 stride: 2 pad: 1",
        stride=(2, 2, 2), pad=(1, 1, 1),
    ),
    _deconvolution(
        "4-D", [normal(1, 2, 3, 2, 2, 2)],
        "num_output: 2 kernel_size: 3 kernel_size: 1 kernel_size: 2 kernel_size: 1 "
        "stride: 2 stride: 1 stride: 1 stride: 2 pad: 1 pad: 0 pad: 0 pad: 0 "
        "dilation: 2 dilation: 1 dilation: 1 dilation: 1",
        stride=(2, 1, 1, 2), pad=(1, 0, 0, 0), dilation=(2, 1, 1, 1),
    ),
    _deconvolution("no spatial axes", [normal(2, 3)], "num_output: 4"),
    _deconvolution(
        "axis 2", [normal(2, 2, 3, 4, 2)], "num_output: 2 kernel_size: 2 axis: 2 pad: 1",
        axis=2, pad=(1, 1),
    ),
    _deconvolution(
        "two bottoms", [normal(2, 2, 3, 3), normal(2, 2, 3, 3, seed=1)],
        "num_output: 2 kernel_size: 3 stride: 2", stride=(2, 2),
    ),
]  # fmt: skip

IM2COLS = [
    _im2col("plain", [normal(2, 3, 4, 5)], "kernel_size: 2", kernel=(2, 2)),
    _im2col(
        "all settings", [normal(1, 2, 5, 6)],
        "kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0 pad_w: 2 dilation: 2 dilation: 1",
        kernel=(2, 3), stride=(2, 1), pad=(0, 2), dilation=(2, 1),
    ),
    _im2col(
        "force_nd_im2col", [normal(1, 2, 5, 4)],
        "kernel_size: 3 pad: 1 stride: 2 dilation: 2 force_nd_im2col: true",
        kernel=(3, 3), pad=(1, 1), stride=(2, 2), dilation=(2, 2),
    ),
    _im2col(
        "1-D", [normal(2, 2, 6)], "kernel_size: 3 stride: 2 pad: 1", kernel=(3,), stride=(2,),
        pad=(1,),
    ),
    _im2col(
        "3-D", [normal(1, 2, 3, 2, 4)],
        "kernel_size: 2 kernel_size: 1 kernel_size: 2 dilation: 1 dilation: 1 dilation: 2",
        kernel=(2, 1, 2), dilation=(1, 1, 2),
    ),
    _im2col("4-D", [normal(1, 1, 2, 3, 2, 2)], "kernel_size: 2", kernel=(2, 2, 2, 2)),
    _im2col("axis 2", [normal(2, 2, 3, 4)], "kernel_size: 2 axis: 2", kernel=(2,), axis=2),
    _im2col("axis -2", [normal(2, 2, 3, 4)], "kernel_size: 3 axis: -2", kernel=(3,), axis=2),
    _im2col("single pixels", [normal(2, 2, 3, 3)], "kernel_size: 1", kernel=(1, 1)),
    _im2col(
        "window sticks out", [normal(1, 2, 2, 3)], "kernel_size: 3 stride: 2", kernel=(3, 3),
        stride=(2, 2),
    ),
]  # fmt: skip


CASES = [*CONVOLUTIONS, *DECONVOLUTIONS, *IM2COLS]

IMAGE = (2, 3, 5, 5)
CONV = "convolution_param {{ num_output: 4 {} }}".format
MISTAKES = [
    ("Convolution", CONV(""), [IMAGE], 1, "kernel_size is missing"),
    ("Convolution", CONV("kernel_size: 0"), [IMAGE], 1, "kernel must be at least 1"),
    ("Convolution", CONV("kernel_size: 3 stride: 0"), [IMAGE], 1, "stride must be at least 1"),
    ("Convolution", CONV("kernel_size: 6"), [IMAGE], 1, r"\[6, 6\] does not fit .*\[2, 3, 5, 5\]"),
    ("Convolution", CONV("kernel_size: 3 dilation: 3"), [IMAGE], 1, "does not fit"),
    ("Convolution", CONV("kernel_size: 3 group: 2"), [IMAGE], 1, "group 2 .* 3 input channels"),
    ("Convolution", CONV("kernel_size: 3 group: 3"), [IMAGE], 1, "group 3 .* num_output 4"),
    ("Convolution", CONV("kernel_size: 6 axis: 2"), [IMAGE], 1, r"\[6\] does not fit"),
    ("Convolution", CONV("kernel_size: 3 axis: 4"), [IMAGE], 1, "axis 4 is not in"),
    ("Convolution", CONV("kernel_size: 3 kernel_h: 3"), [IMAGE], 1, "not both"),
    ("Convolution", CONV("kernel_h: 3"), [IMAGE], 1, r"at least 1, found \[3, 0\]"),
    ("Convolution", CONV("kernel_h: 3 kernel_w: 3"), [(2, 3, 5)], 1, "two spatial axes, found 1"),
    ("Convolution", CONV("kernel_size: [1, 2, 3]"), [IMAGE], 1, "3 times for 2 spatial axes"),
    ("Convolution", CONV("stride: [1, 2]"), [(2, 3)], 1, "2 times for 0 spatial axes"),
    ("Convolution", CONV("kernel_size: 5 stride: 2"), [(2, 3, 2, 2)], 1, "does not fit"),
    ("Convolution", CONV("kernel_size: 1 dilation: 0"), [IMAGE], 1, "dilation must be at least 1"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE, (1, 3, 5, 5)], 2,
     r"same shape, found \[2, 3, 5, 5\] and \[1, 3, 5, 5\]"),
    ("Convolution", "convolution_param { kernel_size: 1 }", [IMAGE], 1, "num_output must be"),
    ("Convolution", CONV("kernel_size: 1"), [], 1, "bottom blob.s., found 0"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE], 2, "1 bottom.*2 top"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE, IMAGE], 1, "2 bottom.*1 top"),
    ("Convolution", CONV("kernel_size: 1"), [IMAGE, (2, 4, 5, 5)], 2, "need .* 3 channels"),
    ("Convolution", CONV('kernel_size: 1 weight_filler { type: "xaver" }'), [IMAGE], 1,
     "unknown filler type 'xaver'; known: .*xavier"),
    ("Deconvolution", CONV(""), [IMAGE], 1, "kernel_size is missing"),
    ("Deconvolution", CONV("kernel_size: 2 group: 2"), [IMAGE], 1, "group 2 .* 3 input channels"),
    ("Deconvolution", CONV("kernel_size: 1 pad: 3"), [IMAGE], 1, r"pad \[3, 3\] .* \[-1, -1\]"),
    ("Deconvolution", CONV("kernel_size: 1"), [IMAGE, (2, 3, 5, 4)], 2, "the same shape"),
    ("Im2col", CONV(""), [IMAGE], 1, "kernel_size is missing"),
    ("Im2col", CONV("kernel_size: 0"), [IMAGE], 1, "kernel must be at least 1"),
    ("Im2col", CONV("kernel_size: 2"), [(2, 3)], 1, "spatial axes behind the channels, axis 1"),
    ("Im2col", CONV("kernel_size: 6"), [IMAGE], 1, "does not fit"),
    ("Im2col", CONV("kernel_size: 2"), [IMAGE, IMAGE], 2, "1 bottom blob.s., found 2"),
]  # fmt: skip
