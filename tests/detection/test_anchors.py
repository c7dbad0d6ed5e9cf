"""Anchors: those that were published, and where they stand."""

from __future__ import annotations

import torch

from recaffe.detection.anchors import base_anchors, shifted_anchors

PUBLISHED = [
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]


def test_the_nine_anchors_are_those_that_were_published():
    assert base_anchors().tolist() == PUBLISHED


def test_anchors_of_other_scales_and_sizes_worked_by_hand():
    # sqrt(64 / 4) = 4 wide, 16 high, doubled; around 3.5.
    assert base_anchors([2], [4], 8).tolist() == [[0, -12, 7, 19]]
    # sqrt(256 / 3) = 9.24 becomes 9, and 27 high.
    assert base_anchors([1, 3], [3]).tolist() == [
        [3.5, -5.5, 11.5, 20.5],
        [-5.5, -32.5, 20.5, 47.5],
    ]
    # sqrt(64 / 0.32) = 14.1 becomes 14, and 14 * 0.32 = 4.48 becomes 4.
    assert base_anchors([1], [0.32], 8).tolist() == [[-3, 2, 10, 5]]


def test_a_half_is_rounded_to_the_even_number():
    # sqrt(25 / 0.25) = 10 wide, and 10 * 0.25 = 2.5 becomes 2.
    assert base_anchors([1], [0.25], 5).tolist() == [[-2.5, 1.5, 6.5, 2.5]]


def test_all_anchors_of_a_cell_stand_together_and_cells_row_by_row():
    base = base_anchors()[:2]
    found = shifted_anchors(base, 3, 4, 16)
    assert found.shape == (24, 4)
    expected = []
    for row in range(3):
        for column in range(4):
            for x1, y1, x2, y2 in base.tolist():
                x, y = 16 * column, 16 * row
                expected.append([x1 + x, y1 + y, x2 + x, y2 + y])
    assert found.tolist() == expected


def test_a_map_may_have_no_cells():
    assert shifted_anchors(torch.zeros(9, 4), 0, 5, 16).shape == (0, 4)
