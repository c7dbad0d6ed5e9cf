"""Boxes: overlaps and differences, by hand and against loops."""

from __future__ import annotations

import math

import plain
import pytest
import torch

from recaffe.detection.boxes import apply_deltas, check_truths, clip, closest, deltas, overlaps
from recaffe.errors import LayerError

BOXES = torch.tensor([[0.0, 0, 9, 9], [5, 5, 14, 14], [10, 0, 19, 9], [2, 2, 2, 2]])


def test_overlaps_worked_by_hand():
    others = torch.tensor([[0.0, 0, 9, 9], [9, 9, 9, 9]])
    # 5 by 5 pixels of 100 + 100 - 25; side by side they share none; one pixel of 100.
    expected = [[1, 1 / 100], [25 / 175, 1 / 100], [0, 0], [1 / 100, 0]]
    torch.testing.assert_close(overlaps(BOXES, others), torch.tensor(expected))


def test_overlaps_are_those_of_loops():
    first, second = plain.random_boxes(30, 1), plain.random_boxes(20, 2)
    expected = [[plain.iou(a, b) for b in second.tolist()] for a in first.tolist()]
    found = overlaps(first.double(), second.double())
    assert 0 < (found > 0).float().mean() < 1
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_boxes_without_pixels_overlap_with_none():
    turned = torch.tensor([[9.0, 9, 0, 0], [5, 5, 4, 4]])
    assert (overlaps(turned, torch.cat([BOXES, turned])) == 0).all()


def test_there_may_be_no_boxes():
    assert overlaps(BOXES, BOXES[:0]).shape == (4, 0)
    assert overlaps(BOXES[:0], BOXES).shape == (0, 4)
    assert deltas(BOXES[:0], BOXES[:0]).shape == (0, 4)
    assert apply_deltas(BOXES[:0], torch.zeros(0, 8)).shape == (0, 8)


def test_deltas_worked_by_hand():
    # 10 by 20 at (5, 10); 20 by 10 at (12, 25).
    found = deltas(torch.tensor([[0.0, 0, 9, 19]]), torch.tensor([[2.0, 20, 21, 29]]))
    expected = [[7 / 10, 15 / 20, math.log(2), -math.log(2)]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_deltas_are_those_of_loops():
    first, second = plain.random_boxes(30, 3).double(), plain.random_boxes(30, 4).double()
    expected = [plain.way(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    torch.testing.assert_close(deltas(first, second), torch.tensor(expected, dtype=torch.float64))


def test_moves_are_undone_but_for_the_pixel_that_was_published():
    first, second = plain.random_boxes(30, 5).double(), plain.random_boxes(30, 6).double()
    found = apply_deltas(first, deltas(first, second))
    torch.testing.assert_close(found, second + torch.tensor([0, 0, 1, 1]))


def test_moves_of_several_classes_are_those_of_loops():
    boxes = plain.random_boxes(12, 7).double()
    moves = torch.randn(12, 3, 4, generator=plain.drawn(), dtype=torch.float64)
    expected = [
        [plain.moved(box, move) for move in own]
        for box, own in zip(boxes.tolist(), moves.tolist(), strict=True)
    ]
    found = apply_deltas(boxes, moves.flatten(1))
    assert found.shape == (12, 12)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).flatten(1))


def test_boxes_are_cut_to_the_last_row_and_column():
    boxes = torch.tensor([[-3.0, -4, 50, 60, 2, 3, 19, 9], [25, 15, 30, -1, 0, 0, 18.5, 9.5]])
    expected = torch.tensor([[0.0, 0, 19, 9, 2, 3, 19, 9], [19, 9, 19, 0, 0, 0, 18.5, 9]])
    torch.testing.assert_close(clip(boxes, 10, 20), expected)


def test_the_first_of_equal_overlaps_is_the_closest():
    greatest, index = closest(torch.tensor([[0.2, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(greatest, torch.tensor([0.5, 0.0]))
    assert index.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("truths", "message"),
    [
        ([[0.0, 0, 5, 5]], r"\(G, 5\).*found \[1, 4\]"),
        ([[0.0, 0, 5, 5, 1], [6, 0, 5, 5, 2]], r"box 1 is \(6, 0, 5, 5, 2\)"),
        ([[0.0, 8, 5, 5, 1]], r"box 0 is \(0, 8, 5, 5, 1\)"),
        ([[0.0, 0, 5, math.inf, 1]], "box 0 is .*inf"),
        ([[0.0, 0, 5, 5, math.nan]], "box 0 is .*nan"),
    ],
)
def test_ground_truth_that_is_no_boxes(truths, message):
    with pytest.raises(LayerError, match=message):
        check_truths(torch.tensor(truths))


def test_ground_truth_of_one_pixel_is_a_box():
    check_truths(torch.tensor([[3.0, 4, 3, 4, 1]]))
    check_truths(torch.zeros(0, 5))
