"""Proposals: against loops, their order, what is left out, and shapes that do not fit."""

from __future__ import annotations

import math

import plain
import pytest
import torch

from recaffe.detection.anchors import base_anchors, shifted_anchors
from recaffe.detection.proposals import TEST_LIMITS, TRAIN_LIMITS, Limits, check_maps, propose
from recaffe.errors import LayerError

BASE = torch.tensor([[0.0, 0, 15, 15], [-8, 0, 23, 15]])
INFO = torch.tensor([[48.0, 64.0, 1.0]])


def maps(height: int = 3, width: int = 4, anchors: int = 2):
    """Scores from 0 on, later the greater, and moves that leave boxes as they are."""
    scores = torch.zeros(1, 2 * anchors, height, width)
    # The order of anchors is: rows, columns, then anchors.
    ranks = torch.arange(height * width * anchors).reshape(height, width, anchors)
    scores[0, anchors:] = ranks.permute(2, 0, 1) / 100
    scores[0, :anchors] = 1 - scores[0, anchors:]
    return scores, torch.zeros(1, 4 * anchors, height, width)


def test_the_limits_are_those_that_were_published():
    assert TRAIN_LIMITS == (12000, 2000)
    assert TEST_LIMITS == (6000, 300)


def test_the_best_anchor_comes_first_and_boxes_are_cut_to_the_image():
    scores, moves = maps()
    rois, values = propose(BASE, scores, moves, INFO, 16, Limits(3, 10), threshold=1)
    # The last cell, row 2 and column 3, has both anchors; then comes the second of column 2. Their
    # second corner is a pixel further than the anchor's, up to the last pixel.
    expected = [[0, 40, 32, 63, 47], [0, 48, 32, 63, 47], [0, 24, 32, 56, 47]]
    assert rois.tolist() == expected
    torch.testing.assert_close(values, torch.tensor([[0.23], [0.22], [0.21]]))


@pytest.mark.parametrize("limits", [Limits(10**6, 10**6), Limits(60, 10**6), Limits(10**6, 9)])
def test_proposals_are_those_of_loops(limits):
    base, info = base_anchors([1, 2]), torch.tensor([[90.0, 130.0, 1.25]])
    generator = plain.drawn(3)
    scores = torch.rand(1, 12, 5, 8, generator=generator)
    moves = torch.randn(1, 24, 5, 8, generator=generator) * 0.4
    kept = []
    anchors = shifted_anchors(base, 5, 8, 16).tolist()
    for index, anchor in enumerate(anchors):
        cell, number = divmod(index, 6)
        row, column = divmod(cell, 8)
        move = moves[0, 4 * number : 4 * number + 4, row, column].tolist()
        x1, y1, x2, y2 = plain.moved(anchor, move)
        x1, x2 = (min(max(x, 0), 129) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), 89) for y in (y1, y2))
        if x2 - x1 + 1 >= 20 and y2 - y1 + 1 >= 20:
            kept.append((float(scores[0, 6 + number, row, column]), [x1, y1, x2, y2]))
    assert 60 < len(kept) < len(anchors)
    kept.sort(key=lambda item: -item[0])
    kept = kept[: limits.before]
    values, boxes = zip(*kept, strict=True)
    chosen = plain.suppressed(boxes, values, 0.7)[: limits.after]
    assert len(chosen) < len(kept)
    rois, found = propose(base, scores, moves, info, 16, limits)
    torch.testing.assert_close(found[:, 0], torch.tensor([values[index] for index in chosen]))
    expected = torch.tensor([[0.0, *boxes[index]] for index in chosen])
    torch.testing.assert_close(rois, expected, rtol=1e-5, atol=1e-4)


def test_a_box_of_just_the_least_size_is_kept():
    scores, moves = maps(1, 1, 1)
    # 15 by 15 pixels and one for the second corner, which is published as one further.
    base = torch.tensor([[8.0, 8, 22, 22]])
    sizes = {scale: len(propose(base, scores, moves, info, 16, TEST_LIMITS)[0])
             for scale in (1.0, 1.01, 2.0)
             for info in [torch.tensor([[48.0, 64.0, scale]])]}  # fmt: skip
    assert sizes == {1.0: 1, 1.01: 0, 2.0: 0}
    narrow, low = torch.tensor([[8.0, 8, 21, 30]]), torch.tensor([[8.0, 8, 30, 21]])
    for box in (narrow, low):
        rois, values = propose(box, scores, moves, INFO, 16, TEST_LIMITS)
        assert rois.shape == (0, 5)
        assert values.shape == (0, 1)


def test_moves_that_are_no_numbers_or_too_large_give_no_box_or_the_whole_image():
    scores, moves = maps(1, 1, 1)
    moves[0, 2:] = 1000
    assert propose(BASE[:1], scores, moves, INFO, 16, TEST_LIMITS)[0].tolist() == [
        [0, 0, 0, 63, 47]
    ]
    moves[0, 0] = math.nan
    assert len(propose(BASE[:1], scores, moves, INFO, 16, TEST_LIMITS)[0]) == 0


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 18, 3, 4), (2, 36, 3, 4), (1, 3)], "one image at a time, found 2"),
        ([(1, 18, 3, 4), (2, 36, 3, 4), (1, 3)], "one image at a time, found 2"),
        ([(1, 12, 3, 4), (1, 36, 3, 4), (1, 3)], r"9 anchors a cell need scores \(1, 18"),
        ([(1, 18, 3, 4), (1, 24, 3, 4), (1, 3)], r"9 anchors a cell need.*moves \(1, 36"),
        ([(1, 18, 3, 4), (1, 36, 4, 3), (1, 3)], "9 anchors a cell need"),
        ([(1, 18, 12), (1, 36, 3, 4), (1, 3)], r"expected scores \(1, 2 A, H, W\)"),
        ([(1, 18, 3, 4), (1, 36, 3, 4), (1, 4)], r"im_info \(1, 3\).*found \[1, 4\]"),
        ([(1, 18, 3, 4), (1, 36, 3, 4), (2, 3)], r"im_info \(1, 3\).*found \[2, 3\]"),
        ([(1, 18, 3, 4), (1, 36, 3, 4), (1, 3, 2)], r"im_info \(1, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message):
    with pytest.raises(LayerError, match=message):
        check_maps(9, *shapes)
    scores, moves, info = map(torch.zeros, shapes)
    with pytest.raises(LayerError, match=message):
        propose(base_anchors(), scores, moves, info, 16, TEST_LIMITS)


def test_shapes_that_fit():
    check_maps(9, (1, 18, 3, 4), (1, 36, 3, 4), (1, 3))
    check_maps(9, (1, 18, 3, 4), (1, 36, 3, 4), (1, 3, 1, 1))
