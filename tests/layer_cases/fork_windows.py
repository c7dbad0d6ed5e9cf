"""Layers of Caffe's forks that move over images: Interp, Upsample, ROIPooling."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from layer_cases.case import Case, apart, normal, places

LOWEST = -float(np.finfo("f4").max)


def _case(name: str, settings: str, bottoms, reference, **more) -> Case:
    return Case(name, settings, tuple(bottoms), reference, bvlc=False, **more)


# -- Interp -----------------------------------------------------------------------------


def interp(bottoms, params, *, size, cut=(0, 0)):
    """``size`` is stated, since how it follows is what the case is about."""
    bottom = bottoms[0]
    begin, end = cut
    bottom = bottom[:, :, begin : bottom.shape[2] - end, begin : bottom.shape[3] - end]
    height, width = bottom.shape[2:]
    top = np.zeros((*bottom.shape[:2], *size))
    for n, c, i, j in places(top.shape):
        y = i * (height - 1) / (size[0] - 1) if size[0] > 1 else 0.0
        x = j * (width - 1) / (size[1] - 1) if size[1] > 1 else 0.0
        for v in range(height):
            for u in range(width):
                near = max(0.0, 1 - abs(v - y)) * max(0.0, 1 - abs(u - x))
                top[n, c, i, j] += near * bottom[n, c, v, u]
    return [top]


def _interp(name: str, settings: str, bottoms, labels=0, **reference) -> Case:
    settings = f'type: "Interp" interp_param {{ {settings} }}'
    return _case(f"interp {name}", settings, bottoms, partial(interp, **reference), labels=labels)


INTERPS = [
    _interp("zoomed", "zoom_factor: 3", [normal(2, 2, 3, 4)], size=(7, 10)),
    _interp("zoomed by 1", "zoom_factor: 1", [normal(1, 2, 3, 4)], size=(3, 4)),
    _interp("shrunk", "shrink_factor: 2", [normal(1, 2, 6, 5)], size=(3, 3)),
    _interp("shrunk and zoomed", "shrink_factor: 3 zoom_factor: 2", [normal(1, 1, 8, 7)],
            size=(5, 5)),
    _interp("to a size", "height: 5 width: 2", [normal(2, 1, 3, 5)], size=(5, 2)),
    _interp("to one value", "height: 1 width: 1", [normal(1, 2, 3, 3)], size=(1, 1)),
    _interp("of one value", "height: 2 width: 3", [normal(1, 2, 1, 1)], size=(2, 3)),
    _interp("cut", "height: 5 width: 4 pad_beg: -1 pad_end: -2", [normal(1, 2, 6, 7)],
            size=(5, 4), cut=(1, 2)),
    _interp("cut and zoomed", "zoom_factor: 2 pad_end: -1", [normal(1, 1, 4, 3)], size=(5, 3),
            cut=(0, 1)),
    _interp("to another's size", "pad_beg: -1", [normal(2, 2, 3, 4), np.zeros((1, 5, 4, 6), "f4")],
            size=(4, 6), cut=(1, 0), labels=1),
]  # fmt: skip


# -- Upsample ---------------------------------------------------------------------------


def put_back(bottoms, params, *, size):
    values, mask = bottoms
    top = np.zeros((*values.shape[:2], *size))
    for n, c, i, j in places(values.shape):
        where = int(mask[n, c, i, j])
        top[n, c, where // size[1], where % size[1]] = values[n, c, i, j]
    return [top]


def repeated(bottoms, params, *, scale):
    (bottom,) = bottoms
    height, width = bottom.shape[2] * scale[0], bottom.shape[3] * scale[1]
    top = np.zeros((*bottom.shape[:2], height, width))
    for n, c, i, j in places(top.shape):
        top[n, c, i, j] = bottom[n, c, i // scale[0], j // scale[1]]
    return [top]


def _mask(shape, size, seed=0) -> np.ndarray:
    """A place of its own for each value of a plane."""
    random = np.random.default_rng(seed)
    count = shape[2] * shape[3]
    planes = [random.permutation(size[0] * size[1])[:count] for _ in range(shape[0] * shape[1])]
    return np.array(planes, "f4").reshape(shape)


def _upsample(name: str, settings: str, shape, size, **more) -> Case:
    settings = f'type: "Upsample" upsample_param {{ {settings} }}'
    return _case(f"upsample {name}", settings, [normal(*shape), _mask(shape, size)],
                 partial(put_back, size=size), labels=1, **more)  # fmt: skip


def _repeat(name: str, settings: str, scale) -> Case:
    settings = f'type: "Upsample" upsample_param {{ {settings} }}'
    return _case(f"upsample without mask {name}", settings, [normal(2, 2, 2, 3)],
                 partial(repeated, scale=scale))  # fmt: skip


UPSAMPLES = [
    _upsample("by 2", "", (2, 3, 2, 3), (4, 6)),
    _upsample("by 3", "scale: 3", (1, 2, 2, 1), (6, 3)),
    _upsample("h and w", "scale_h: 2 scale_w: 3", (1, 2, 2, 2), (4, 6)),
    _upsample("less one row", "scale: 2 pad_out_h: true", (2, 1, 3, 2), (5, 4)),
    _upsample("less one column", "pad_out_w: true", (1, 2, 2, 3), (4, 5)),
    _upsample("to a size", "upsample_h: 5 upsample_w: 4", (1, 2, 3, 2), (5, 4)),
    _repeat("by 2", "scale: 2", (2, 2)),
    _repeat("by 1", "scale: 1", (1, 1)),
    _repeat("h and w", "scale_h: 1 scale_w: 3", (1, 3)),
]


# -- ROIPooling ---------------------------------------------------------------------------


def _half_up(x: float) -> int:
    """As C's round: halves go away from zero."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def roi_pooling(bottoms, params, *, size, scale=1.0):
    bottom, regions = bottoms
    single = np.float32
    top = np.zeros((len(regions), bottom.shape[1], *size))
    for r, c, i, j in places(top.shape):
        item, *corners = regions[r].ravel()
        x1, y1, x2, y2 = (_half_up(float(single(at) * single(scale))) for at in corners)
        spans = []
        for first, last, bins, index, length in (
            (y1, y2, size[0], i, bottom.shape[2]),
            (x1, x2, size[1], j, bottom.shape[3]),
        ):
            step = single(max(last - first + 1, 1)) / single(bins)
            start = math.floor(single(index) * step) + first
            end = math.ceil(single(index + 1) * step) + first
            spans.append(range(min(max(start, 0), length), min(max(end, 0), length)))
        inside = [bottom[int(item), c, v, u] for v in spans[0] for u in spans[1]]
        finite = [x for x in inside if x > LOWEST]
        top[r, c, i, j] = (max(finite) if finite else LOWEST) if inside else 0
    return [top]


def _roi(name: str, settings: str, bottom, regions, size, scale=1.0, **more) -> Case:
    settings = f'type: "ROIPooling" roi_pooling_param {{ {settings} }}'
    return _case(f"roi pooling {name}", settings, [bottom, np.array(regions, "f4")],
                 partial(roi_pooling, size=size, scale=scale), labels=1, **more)  # fmt: skip


ROIS = [
    _roi("plain", "pooled_h: 2 pooled_w: 3", apart(2, 3, 6, 7),
         [[0, 0, 0, 6, 5], [1, 1, 2, 5, 4], [0, 3, 1, 3, 1], [1, 2, 0, 5, 3]], (2, 3)),
    # 0.5, 1.5 and 2.5 are rounded up, to even numbers they would not be; -1.5 becomes -2
    _roi("scaled", "pooled_h: 2 pooled_w: 2 spatial_scale: 0.5", apart(1, 2, 6, 6),
         [[0, 1, 1, 5, 5], [0, 3, 5, 9, 7], [0, -3, 2, 4, 5], [0, 2.75, 0, 8.9, 9.1]], (2, 2), 0.5),
    _roi("beyond the bottom", "pooled_h: 3 pooled_w: 3", apart(1, 2, 4, 5),
         [[0, -2, -3, 3, 2], [0, 2, 1, 9, 8], [0, 7, 7, 9, 9], [0, -9, -9, -8, -7]], (3, 3)),
    _roi("turned around", "pooled_h: 2 pooled_w: 2", apart(1, 1, 4, 4), [[0, 3, 3, 1, 1]], (2, 2)),
    _roi("more bins than places", "pooled_h: 5 pooled_w: 4", apart(1, 2, 3, 3),
         [[0, 0, 0, 1, 2], [0, 1, 1, 1, 1]], (5, 4)),
    _roi("legacy axes", "pooled_h: 1 pooled_w: 1", apart(2, 2, 3, 3),
         [[[[1]], [[0]], [[1]], [[2]], [[2]]]], (1, 1)),
    # 57 columns in 7 bins: 7 * (57 / 7) is above 57 in single precision, so the last bin
    # reaches one column further
    _roi("single precision", "pooled_h: 1 pooled_w: 7", apart(1, 1, 2, 60), [[0, 1, 0, 57, 1]],
         (1, 7)),
    _roi("ties", "pooled_h: 1 pooled_w: 2", np.round(normal(1, 2, 6, 6)), [[0, 0, 0, 5, 5]],
         (1, 2), differentiable=False),
    _roi("nothing finite", "pooled_h: 1 pooled_w: 2",
         np.array([[[[-np.inf, np.nan, np.nan, 2], [np.nan, -np.inf, 1, -np.inf]]]], "f4"),
         [[0, 0, 0, 3, 1]], (1, 2), differentiable=False),
]  # fmt: skip

CASES = [*INTERPS, *UPSAMPLES, *ROIS]

IMAGE = (2, 3, 5, 5)
INTERP = "interp_param {{ {} }}".format
UP = "upsample_param {{ {} }}".format
ROI = "roi_pooling_param {{ {} }}".format
MISTAKES = [
    ("Interp", "", [IMAGE], 1, "in one way: height and width, or zoom_factor"),
    ("Interp", INTERP("zoom_factor: 2 height: 3 width: 3"), [IMAGE], 1, "in one way"),
    ("Interp", INTERP("zoom_factor: 2"), [IMAGE, IMAGE], 1, "in one way"),
    ("Interp", INTERP("height: 3"), [IMAGE], 1, "both height and width"),
    ("Interp", INTERP("height: 3 width: 0"), [IMAGE], 1, r"at least 1, found \[3, 0\]"),
    ("Interp", INTERP("zoom_factor: 2 pad_end: 1"), [IMAGE], 1, "0 or negative, found 0 and 1"),
    ("Interp", INTERP("zoom_factor: 0"), [IMAGE], 1, "zoom_factor must be at least 1, found 0"),
    ("Interp", INTERP("shrink_factor: 0"), [IMAGE], 1, "shrink_factor must be at least 1"),
    ("Interp", INTERP("zoom_factor: 2 pad_beg: -5"), [IMAGE], 1, "leave nothing of"),
    ("Interp", INTERP("zoom_factor: 2"), [(2, 3, 5)], 1, r"\(N, C, H, W\)"),
    ("Upsample", "", [IMAGE], 1, "without a mask give scale"),
    ("Upsample", UP("upsample_h: 9 upsample_w: 9"), [IMAGE], 1, "not upsample_h and upsample_w"),
    ("Upsample", UP("upsample_h: 9"), [IMAGE, IMAGE], 1, r"above 1, found \[9, 0\]"),
    ("Upsample", UP("scale: 2 scale_h: 2 scale_w: 2"), [IMAGE, IMAGE], 1, "either scale, or"),
    ("Upsample", UP("scale_h: 2"), [IMAGE, IMAGE], 1, "either scale, or scale_h and scale_w"),
    ("Upsample", UP("scale: 1"), [IMAGE, IMAGE], 1, r"at least 2, found \[1, 1\]"),
    ("Upsample", UP("scale: 0"), [IMAGE], 1, r"at least 1, found \[0, 0\]"),
    ("Upsample", UP("scale: 2 pad_out_h: true"), [IMAGE], 1, "with a mask only"),
    ("Upsample", UP("scale: 3 pad_out_w: true"), [IMAGE, IMAGE], 1, "a scale of 2 only"),
    ("Upsample", "", [IMAGE, (2, 3, 5, 4)], 1, r"shape of the values, .*\[2, 3, 5, 4\]"),
    ("Upsample", UP("scale: 2"), [(2, 3, 5)], 1, r"\(N, C, H, W\)"),
    ("ROIPooling", "", [IMAGE, (4, 5)], 1, r"above 0, found \[0, 0\]"),
    ("ROIPooling", ROI("pooled_h: 2 pooled_w: 2"), [IMAGE, (4, 4)], 1, r"\(R, 5\) .* \[4, 4\]"),
    ("ROIPooling", ROI("pooled_h: 2 pooled_w: 2"), [(2, 3), (4, 5)], 1, r"\(N, C, H, W\)"),
    ("ROIPooling", ROI("pooled_h: 2 pooled_w: 2"), [IMAGE], 1, "2 bottom blob.s., found 1"),
]  # fmt: skip
