"""What layers compute, as plain loops in float64, written from the formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np


def _places(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in shape))


def _convolve(bottom, weight, bias, stride, pad, dilation, group) -> np.ndarray:
    outputs, group_channels, *kernel = weight.shape
    sizes = [
        (size + 2 * p - (d * (k - 1) + 1)) // s + 1
        for size, p, d, k, s in zip(bottom.shape[2:], pad, dilation, kernel, stride, strict=True)
    ]
    top = np.zeros((len(bottom), outputs, *sizes))
    for n, o, *place in _places(top.shape):
        total = float(bias[o]) if bias is not None else 0.0
        first = o // (outputs // group) * group_channels
        for c, *offset in _places(weight.shape[1:]):
            source = [
                at * s - p + d * q
                for at, s, p, d, q in zip(place, stride, pad, dilation, offset, strict=True)
            ]
            if all(0 <= x < size for x, size in zip(source, bottom.shape[2:], strict=True)):
                total += weight[(o, c, *offset)] * bottom[(n, first + c, *source)]
        top[(n, o, *place)] = total
    return top


def convolution(bottoms, params, *, stride, pad, dilation, group=1, biased=True):
    weight, bias = params if biased else (*params, None)
    return [_convolve(b, weight, bias, stride, pad, dilation, group) for b in bottoms]


def pooling(bottoms, params, *, kernel, stride, pad, out, average=False, mask=False):
    """``out`` is stated, since how it rounds is what the case is about."""
    (bottom,) = bottoms
    height, width = bottom.shape[2:]
    top = np.zeros((*bottom.shape[:2], *out))
    where = np.full(top.shape, -1.0)
    for n, c, i, j in _places(top.shape):
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
            largest = max((value for value, _ in inside), default=-float(np.finfo("f4").max))
            top[n, c, i, j] = largest
            where[n, c, i, j] = next((at for value, at in inside if value == largest), -1)
    return [top, where] if mask else [top]


def lrn_across(bottoms, params, *, size, alpha, beta, k):
    (bottom,) = bottoms
    top = np.zeros(bottom.shape)
    for n, c, i, j in _places(bottom.shape):
        around = range(max(0, c - size // 2), min(bottom.shape[1], c + size // 2 + 1))
        squares = sum(float(bottom[n, d, i, j]) ** 2 for d in around)
        top[n, c, i, j] = bottom[n, c, i, j] / (k + alpha / size * squares) ** beta
    return [top]


def lrn_within(bottoms, params, *, size, alpha, beta):
    (bottom,) = bottoms
    height, width = bottom.shape[2:]
    top = np.zeros(bottom.shape)
    for n, c, i, j in _places(bottom.shape):
        squares = sum(
            float(bottom[n, c, v, u]) ** 2
            for v in range(max(0, i - size // 2), min(height, i + size // 2 + 1))
            for u in range(max(0, j - size // 2), min(width, j + size // 2 + 1))
        )
        top[n, c, i, j] = bottom[n, c, i, j] / (1 + alpha / size**2 * squares) ** beta
    return [top]


def inner_product(bottoms, params, *, axis, transpose=False, biased=True):
    (bottom,) = bottoms
    weight, bias = params if biased else (*params, None)
    weight = weight.T if transpose else weight
    rows = bottom.reshape(math.prod(bottom.shape[:axis]), -1)
    top = np.zeros((len(rows), len(weight)))
    for i, o in _places(top.shape):
        top[i, o] = sum(float(a) * float(b) for a, b in zip(rows[i], weight[o], strict=True))
        top[i, o] += bias[o] if biased else 0
    return [top.reshape(*bottom.shape[:axis], len(weight))]


def relu(bottoms, params, *, slope=0.0):
    return [np.vectorize(lambda x: x if x > 0 else slope * x)(bottoms[0].astype(float))]


def softmax(bottoms, params, *, axis):
    rows = np.moveaxis(bottoms[0].astype(float), axis, -1)
    top = np.zeros(rows.shape)
    for place in _places(rows.shape[:-1]):
        weights = [math.exp(value - max(rows[place])) for value in rows[place]]
        top[place] = [weight / sum(weights) for weight in weights]
    return [np.moveaxis(top, -1, axis)]


def _items(scores, label, axis):
    """Each item's scores and label."""
    rows = np.moveaxis(scores.astype(float), axis, -1)
    given = label.reshape(rows.shape[:-1])
    return [(rows[place], int(given[place])) for place in _places(given.shape)]


def softmax_loss(bottoms, params, *, divisor, axis=1, ignore=None):
    total = 0.0
    for scores, label in _items(*bottoms, axis):
        if label != ignore:
            weights = [math.exp(score - max(scores)) for score in scores]
            probability = weights[label] / sum(weights)
            total -= math.log(max(probability, float(np.finfo(np.float32).tiny)))
    return [np.array(total / divisor)]


def accuracy(bottoms, params, *, axis=1, top_k=1, ignore=None, by_class=False):
    classes = bottoms[0].shape[axis]
    right, seen = [0] * classes, [0] * classes
    for scores, label in _items(*bottoms, axis):
        if label != ignore:
            rivals = sum(scores[c] >= scores[label] for c in range(classes) if c != label)
            right[label] += int(rivals < top_k)
            seen[label] += 1
    share = np.array(sum(right) / max(1, sum(seen)))
    by = np.array([r / max(1, s) for r, s in zip(right, seen, strict=True)])
    return [share, by] if by_class else [share]


def same(bottoms, params, *, times=1):
    return [bottoms[0]] * times
