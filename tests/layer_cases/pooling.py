"""Pooling, SPP."""

from __future__ import annotations

from functools import partial

import numpy as np

from layer_cases.case import Case, apart, normal, places


def pooling(bottoms, params, *, kernel, stride, pad, out, average=False, mask=False):
    """``out`` is stated, since how it rounds is what the case is about."""
    (bottom,) = bottoms
    height, width = bottom.shape[2:]
    top = np.zeros((*bottom.shape[:2], *out))
    where = np.full(top.shape, -1.0)
    for n, c, i, j in places(top.shape):
        y, x = i * stride[0] - pad[0], j * stride[1] - pad[1]
        inside = [
            (bottom[n, c, v, u], v * width + u)
            for v in range(max(y, 0), min(y + kernel[0], height))
            for u in range(max(x, 0), min(x + kernel[1], width))
        ]
        if average:
            rows = min(y + kernel[0], height + pad[0]) - y
            columns = min(x + kernel[1], width + pad[1]) - x
            total = sum(value for value, _ in inside)
            top[n, c, i, j] = total / (rows * columns) if rows * columns else np.nan
        else:
            largest = -float(np.finfo("f4").max)
            for value, _ in inside:
                largest = value if value > largest else largest
            top[n, c, i, j] = largest
            where[n, c, i, j] = next((at for value, at in inside if value == largest), -1)
    return [top, where] if mask else [top]


def spp(bottoms, params, *, levels, average=False):
    """``levels`` states kernel and pad of each, whose windows do not overlap."""
    (bottom,) = bottoms
    tops = []
    for level, (kernel, pad) in enumerate(levels):
        out = (2**level,) * 2
        tops += pooling(bottoms, [], kernel=kernel, stride=kernel, pad=pad, out=out,
                        average=average)  # fmt: skip
    if len(tops) == 1:
        return tops
    return [np.concatenate([top.reshape(len(bottom), -1) for top in tops], 1)]


def _spoilt(value: float) -> np.ndarray:
    """An image with ``value`` for half a window, and for all of another."""
    image = apart(1, 1, 4, 4)
    image[0, 0, 0, :2] = image[0, 0, 2:, 2:] = value
    return image


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
    _pooling("lone kernel_w", apart(1, 2, 4, 6), "kernel_size: 2 kernel_w: 3 stride: 2", (2, 3),
             (2, 2), (2, 2)),
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
    # padding along one axis drops windows along the other
    _pooling(
        "last window dropped without padding", apart(1, 2, 4, 5),
        "kernel_h: 1 kernel_w: 3 stride_h: 7 stride_w: 3 pad_h: 0 pad_w: 2", (1, 3), (1, 3),
        (7, 3), (0, 2),
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
        "ceil mode false", apart(1, 2, 6, 7), "kernel_size: 3 stride: 2 ceil_mode: false", (2, 3),
        (3, 3), (2, 2), bvlc=False,
    ),
    _pooling(
        "ceil mode true", apart(1, 2, 6, 7), "kernel_size: 3 stride: 2 ceil_mode: true", (3, 3),
        (3, 3), (2, 2), bvlc=False,
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
    # A NaN is never the largest; where there is nothing else the lowest float is.
    _pooling(
        "not a number", _spoilt(np.nan), "kernel_size: 2 stride: 2", (2, 2), (2, 2), (2, 2),
        mask=True, differentiable=False, bvlc_backward=False,
    ),
    _pooling(
        "nothing but -inf", _spoilt(-np.inf), "kernel_size: 2 stride: 2", (2, 2), (2, 2), (2, 2),
        mask=True, differentiable=False, bvlc_backward=False,
    ),
    # as above, but no window is without a number, so that there is a gradient
    _pooling(
        "partly not a number", _spoilt(np.nan)[..., :2], "kernel_size: 2 stride: 2", (2, 1),
        (2, 2), (2, 2), differentiable=False,
    ),
]  # fmt: skip


def _spp(name: str, bottom, settings: str, levels, **more) -> Case:
    return Case(f"spp {name}", f'type: "SPP" spp_param {{ {settings} }}', (bottom,),
                partial(spp, levels=levels, **more))  # fmt: skip


SPPS = [
    _spp("max", apart(2, 2, 6, 9), "pyramid_height: 3",
         [((6, 9), (0, 0)), ((3, 5), (0, 1)), ((2, 3), (1, 2))]),
    _spp("average", normal(2, 3, 5, 6), "pyramid_height: 2 pool: AVE",
         [((5, 6), (0, 0)), ((3, 3), (1, 0))], average=True),
    # one level is left in four axes
    _spp("one level", apart(2, 3, 4, 3), "pyramid_height: 1 engine: CUDNN", [((4, 3), (0, 0))]),
]  # fmt: skip

CASES = [*POOLINGS, *SPPS]

IMAGE = (2, 3, 5, 5)
POOL = "pooling_param {{ {} }}".format
MISTAKES = [
    ("SPP", "spp_param { pool: MAX }", [IMAGE], 1, "pyramid_height must be at least 1"),
    ("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }", [IMAGE], 1, "stochastic"),
    ("SPP", "spp_param { pyramid_height: 3 }", [IMAGE], 1,
     r"\[2, 3, 5, 5\] is too small for 4 by 4 windows.* pyramid_height 3"),
    ("SPP", "spp_param { pyramid_height: 1 }", [(2, 3, 5)], 1, r"\(N, C, H, W\)"),
    ("SPP", "spp_param { pyramid_height: 1 }", [IMAGE], 2, "1 top blob.s., found 2"),
    ("Pooling", POOL("kernel_h: 2"), [IMAGE], 1, "both kernel_h and kernel_w, or kernel_size"),
    ("Pooling", POOL("kernel_size: 2 pad_h: 1"), [IMAGE], 1, "both pad_h and pad_w, or pad"),
    ("Pooling", POOL("kernel_size: 2 stride_h: 1 stride_w: 1 stride: 1"), [IMAGE], 1, "not both"),
    ("Pooling", POOL(""), [IMAGE], 1, "kernel_size is missing"),
    ("Pooling", POOL("kernel_size: 2 stride: 0"), [IMAGE], 1, "stride must be at least 1"),
    ("Pooling", POOL("kernel_size: 2 pad: 2"), [IMAGE], 1, "pad .* smaller than the kernel"),
    ("Pooling", POOL("kernel_size: 7"), [IMAGE], 1, r"\[7, 7\] is larger .*\[2, 3, 5, 5\]"),
    ("Pooling", POOL("kernel_size: 2"), [(2, 3, 5)], 1, r"\(N, C, H, W\)"),
    ("Pooling", POOL("kernel_size: 2 pool: AVE"), [IMAGE], 2, "only pool: MAX has a mask"),
    ("Pooling", POOL("kernel_size: 2 pool: STOCHASTIC"), [IMAGE], 1, "stochastic"),
    ("Pooling", POOL("kernel_size: 2 global_pooling: true"), [IMAGE], 1, "give no kernel_size"),
    ("Pooling", POOL("global_pooling: true stride: 2"), [IMAGE], 1, "stride 1 and pad 0"),
    ("Pooling", POOL("kernel_size: 2 round_mode: CEIL ceil_mode: true"), [IMAGE], 1, "not both"),
    ("Pooling", POOL("kernel_size: 2"), [IMAGE], 3, "1 to 2 top blob.s., found 3"),
]  # fmt: skip
