"""Suppression: against loops, at the threshold, across blocks, and in chains."""

from __future__ import annotations

import math

import plain
import pytest
import torch

from recaffe.detection import nms as module
from recaffe.detection.nms import nms


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("block", [1, 7, 1024])
def test_what_is_kept_is_what_loops_keep(monkeypatch, threshold, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    boxes, scores = plain.random_boxes(80, 1, size=30), torch.rand(80, generator=plain.drawn())
    expected = plain.suppressed(boxes.tolist(), scores.tolist(), threshold)
    assert 1 < len(expected) < 80
    assert nms(boxes, scores, threshold).tolist() == expected
    assert nms(boxes, scores, threshold, 5).tolist() == expected[:5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_of_just_the_threshold_is_kept(dtype):
    # 30 of 100 pixels: 0.3 in the precision that is computed in.
    boxes = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 2]], dtype=dtype)
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.3).tolist() == [0, 1]
    assert nms(boxes, scores, 0.2999).tolist() == [0]


def test_what_was_suppressed_suppresses_nothing():
    # Each overlaps its neighbours alone, by 15 of 25 pixels: every second one stays.
    boxes = torch.tensor([[5.0 * step, 0, 5.0 * step + 19, 0] for step in range(9)])
    scores = torch.linspace(0.9, 0.1, 9)
    assert nms(boxes, scores, 0.5).tolist() == [0, 2, 4, 6, 8]
    assert nms(boxes.flip(0), scores.flip(0), 0.5).tolist() == [8, 6, 4, 2, 0]


def test_of_equal_scores_the_earlier_box_comes_first():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [30, 30, 39, 39]])
    assert nms(boxes, torch.full((3,), 0.5), 0.5).tolist() == [0, 2]


def test_there_may_be_no_boxes_and_none_may_be_wanted():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
    assert nms(torch.zeros(3, 4), torch.zeros(3), 0.5, 0).tolist() == []


def test_boxes_that_are_no_numbers_come_to_an_end():
    boxes = torch.tensor([[math.nan] * 4, [0, 0, math.inf, 9], [0.0, 0, 9, 9]])
    assert nms(boxes, torch.tensor([0.3, 0.2, 0.1]), 0.5).tolist() == [0, 1, 2]


def test_no_matrix_of_all_boxes_with_all_is_held(monkeypatch):
    largest, whole = 0, module.overlaps

    def watched(boxes, others):
        nonlocal largest
        largest = max(largest, len(boxes) * len(others))
        return whole(boxes, others)

    monkeypatch.setattr(module, "overlaps", watched)
    monkeypatch.setattr(module, "_BLOCK", 64)
    kept = nms(
        plain.random_boxes(1000, 2, 1000), torch.rand(1000, generator=plain.drawn()), 0.7, 100
    )
    assert len(kept) == 100
    assert 64 * 64 <= largest <= 64 * 164
