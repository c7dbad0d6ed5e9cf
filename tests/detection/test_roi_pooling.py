"""ROIPooling of many regions at once against loops over regions, bins and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from layer_cases.case import made_layer

CELLS = (3, 4)
SCALE = 0.25


def drawn(count: int, seed: int) -> np.ndarray:
    """Regions within, over the border, outside, inverted and of no size."""
    random = np.random.RandomState(seed)
    corners = np.sort(random.uniform(-20, 140, (count, 2, 2)), 1).reshape(count, 4)
    corners[::7] = corners[::7][:, [2, 3, 0, 1]]
    corners[3::11, 2:] = corners[3::11, :2]
    return np.concatenate([random.randint(0, 2, (count, 1)), corners], 1)


def rounded(value: np.float32) -> int:
    """Halves away from zero, as C's round."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def cut(first: int, last: int, cells: int, length: int) -> list[tuple[int, int]]:
    step = np.float32(max(last - first + 1, 1)) / np.float32(cells)
    return [
        tuple(
            min(max(int(edge) + first, 0), length)
            for edge in (np.floor(np.float32(i) * step), np.ceil(np.float32(i + 1) * step))
        )
        for i in range(cells)
    ]


def pooled(bottom: np.ndarray, regions: np.ndarray) -> np.ndarray:
    top = np.zeros((len(regions), bottom.shape[1], *CELLS), bottom.dtype)
    for number, region in enumerate(regions.astype(np.float32)):
        x1, y1, x2, y2 = (rounded(value * np.float32(SCALE)) for value in region[1:])
        rows = cut(y1, y2, CELLS[0], bottom.shape[2])
        columns = cut(x1, x2, CELLS[1], bottom.shape[3])
        for i, (top_row, end_row) in enumerate(rows):
            for j, (left, end) in enumerate(columns):
                window = bottom[int(region[0]), :, top_row:end_row, left:end]
                if window.size:
                    top[number, :, i, j] = window.max((1, 2))
    return top


@pytest.mark.parametrize("seed", range(3))
def test_many_regions_are_pooled_as_by_loops(seed: int):
    layer = made_layer(
        "ROIPooling",
        f"roi_pooling_param {{ pooled_h: {CELLS[0]} pooled_w: {CELLS[1]} spatial_scale: {SCALE} }}",
        (2, 5, 31, 27),
        (200, 5),
    )
    bottom = np.random.RandomState(seed).randn(2, 5, 31, 27)
    regions = drawn(200, seed)
    (found,) = layer.forward([torch.from_numpy(bottom), torch.from_numpy(regions).float()], [])
    np.testing.assert_array_equal(found.numpy(), pooled(bottom, regions))


def test_the_gradient_is_that_of_the_values_in_double_precision():
    layer = made_layer(
        "ROIPooling",
        f"roi_pooling_param {{ pooled_h: {CELLS[0]} pooled_w: {CELLS[1]} spatial_scale: {SCALE} }}",
        (2, 2, 9, 8),
        (12, 5),
    )
    # No two values are as near as the step of the differences.
    values = np.random.RandomState(0).permutation(2 * 2 * 9 * 8) * 0.1
    bottom = torch.from_numpy(values.reshape(2, 2, 9, 8)).requires_grad_()
    regions = torch.from_numpy(drawn(12, 5) * [1, 0.25, 0.25, 0.25, 0.25]).float()
    assert torch.autograd.gradcheck(lambda x: layer.forward([x, regions], [])[0], [bottom])
