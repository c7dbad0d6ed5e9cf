"""What anchors learn: by hand, against loops, and how many of them are examples."""

from __future__ import annotations

import plain
import pytest
import torch
from torch import Tensor

from recaffe.detection.anchor_targets import AnchorTargets, anchor_targets
from recaffe.detection.anchors import base_anchors, shifted_anchors
from recaffe.errors import LayerError

# Of 16 by 16 and of 32 by 16 pixels.
BASE = torch.tensor([[0.0, 0, 15, 15], [-8, 0, 23, 15]])


def found(truths: list[list[float]], size=(4, 5), image=(64.0, 80.0), **options) -> AnchorTargets:
    info = torch.tensor([[*image, 1.0]])
    boxes = torch.tensor(truths).reshape(-1, 5)
    options.setdefault("base", BASE)
    generator = options.pop("generator", plain.drawn())
    return anchor_targets(
        options.pop("base"), *size, boxes, info, 16, generator, **options
    )  # fmt: skip


def by_anchor(values: Tensor, anchors: int) -> Tensor:
    """Labels (1, 1, A H, W), or maps (1, 4 A, H, W), as rows of anchors, cell by cell."""
    width = values.shape[3]
    if values.shape[1] == 1:
        return values.reshape(anchors, -1, width).permute(1, 2, 0).flatten()
    return values.reshape(anchors, 4, -1, width).permute(2, 3, 0, 1).reshape(-1, 4)


def test_one_ground_truth_worked_by_hand():
    # The truth is the first anchor of row 1, column 2; the second one there is twice as wide, so
    # its overlap is a half: neither positive nor negative. Those beside overlap by 8 of 40.
    targets = found([[32, 16, 47, 31, 7]])
    labels = targets.labels.reshape(2, 4, 5)
    assert targets.labels.shape == (1, 1, 8, 5)
    expected = torch.zeros(2, 4, 5)
    expected[0, 1, 2] = 1
    expected[1, 1, 2] = -1
    expected[1, :, [0, 4]] = -1  # not within the image
    assert torch.equal(labels, expected)
    assert targets.targets.shape == (1, 8, 4, 5)
    assert torch.equal(targets.targets[0, :4, 1, 2], torch.zeros(4))
    # From the anchor of row 3, column 0, to the truth: 32 to the right, 32 up, of its 16 pixels.
    assert targets.targets[0, :4, 3, 0].tolist() == [2, -2, 0, 0]
    torch.testing.assert_close(
        targets.targets[0, 4:, 1, 3], torch.tensor([-16 / 32, 0, -torch.tensor(2.0).log(), 0])
    )
    assert (targets.targets[0, 4:, :, [0, 4]] == 0).all()
    inside = torch.zeros(8, 4, 5)
    inside[:4, 1, 2] = 1
    assert torch.equal(targets.inside_weights[0], inside)
    examples = int((expected >= 0).sum())
    outside = (expected >= 0).float().repeat_interleave(4, 0) / examples
    torch.testing.assert_close(targets.outside_weights[0], outside)


def test_a_border_lets_anchors_that_reach_over_it_be_examples():
    inner, outer = (found([[32, 16, 47, 31, 7]], allowed_border=width) for width in (7, 8))
    assert (inner.labels.reshape(2, 4, 5)[1, :, [0, 4]] == -1).all()
    assert (outer.labels.reshape(2, 4, 5)[1, :, [0, 4]] == 0).all()


def test_an_anchor_that_ends_with_the_image_is_within_and_one_further_is_not():
    just, short = (found([[0, 0, 15, 15, 1]], image=image) for image in ((64.0, 80), (63.0, 79)))
    assert (just.labels.reshape(2, 4, 5)[0] >= 0).all()
    assert (short.labels.reshape(2, 4, 5)[0, 3] == -1).all()
    assert (short.labels.reshape(2, 4, 5)[0, :, 4] == -1).all()


def test_just_07_is_positive_and_just_03_is_not_negative():
    # The second is the truth, of 70 pixels; the others overlap it by 70 of 100, 70 of 110, 21 of 70
    # and 18 of 70.
    last = [[9.0, 9], [9, 6], [10, 9], [2, 6], [2, 5]]
    base = torch.tensor([[0.0, 0, *corner] for corner in last])
    targets = found([[16, 16, 25, 22, 1]], base=base)
    assert targets.labels.reshape(5, 4, 5)[:, 1, 1].tolist() == [1, 1, -1, -1, 0]


def test_all_best_anchors_of_a_ground_truth_are_positive():
    # Half-way between two cells: both overlap by 8 of 24, more than any, less than 0.7; the
    # ground truth of one pixel has its best where all others call the anchor negative.
    targets = found([[24, 16, 39, 31, 1], [0, 48, 0, 48, 2]], base=BASE[:1])
    positive = (targets.labels[0, 0] == 1).nonzero().tolist()
    assert positive == [[1, 1], [1, 2], [3, 0]]


def test_a_truth_that_no_anchor_overlaps_makes_all_its_best_as_published():
    targets = found([[70, 70, 75, 75, 1]], base=BASE[:1], image=(64, 80))
    assert (targets.labels == 1).sum() == 20


def test_without_ground_truth_all_are_negative():
    targets = found([])
    assert (targets.labels == 0).sum() == 4 * 5 + 4 * 3
    assert (targets.targets == 0).all()
    assert (targets.inside_weights == 0).all()
    assert targets.outside_weights.sum() == pytest.approx(4)


def test_without_an_anchor_within_the_image_there_is_no_example():
    targets = found([[0, 0, 7, 7, 1]], image=(8.0, 8.0))
    assert (targets.labels == -1).all()
    assert (targets.outside_weights == 0).all()


def labelled_by_loops(anchors, truths, image) -> list[float]:
    height, width = image
    labels = []
    inside = [b[0] >= 0 and b[1] >= 0 and b[2] < width and b[3] < height for b in anchors]
    best = [
        max(plain.iou(box, truth) for box, within in zip(anchors, inside, strict=True) if within)
        for truth in truths
    ]
    for box, within in zip(anchors, inside, strict=True):
        own = [plain.iou(box, truth) for truth in truths]
        if not within:
            labels.append(-1.0)
        elif max(own) >= 0.7 or any(a == b for a, b in zip(own, best, strict=True)):
            labels.append(1.0)
        else:
            labels.append(0.0 if max(own) < 0.3 else -1.0)
    return labels


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_published_anchors_are_labelled_as_loops_do(seed):
    base = base_anchors([2, 4])
    truths = torch.cat([plain.random_boxes(6, seed, 180), torch.ones(6, 1)], 1)
    truths[0, :4] = torch.tensor([36, 52, 96, 110])
    image = (190.0, 180.0)
    targets = found(truths.tolist(), (12, 11), image, base=base, batch_size=10**6)
    anchors = shifted_anchors(base, 12, 11, 16).tolist()
    expected = labelled_by_loops(anchors, truths[:, :4].tolist(), image)
    assert {-1.0, 0.0, 1.0} == set(expected)
    labels = by_anchor(targets.labels, len(base)).tolist()
    assert labels == expected
    own = by_anchor(targets.targets, len(base)).tolist()
    for box, label, target in zip(anchors, labels, own, strict=True):
        if label == 1:
            nearest = max(truths[:, :4].tolist(), key=lambda truth, box=box: plain.iou(box, truth))
            assert target == pytest.approx(plain.way(box, nearest), abs=1e-6)


def test_a_batch_is_256_examples_of_which_half_are_positive_at_most():
    many = found([[0, 0, 15, 15, 1]], (40, 40), (640.0, 640.0), base=BASE[:1])
    assert ((many.labels == 1).sum(), (many.labels == 0).sum()) == (1, 255)
    assert set(many.outside_weights.unique().tolist()) == {0, 1 / 256}
    # Each of 200 truths is an anchor itself.
    truths = [[x, y, x + 15, y + 15, 1.0] for x in range(0, 320, 16) for y in range(0, 160, 16)]
    half = found(truths, (40, 40), (640.0, 640.0), base=BASE[:1])
    assert ((half.labels == 1).sum(), (half.labels == 0).sum()) == (128, 128)
    assert half.inside_weights.sum() == 128 * 4
    other = found(truths, (40, 40), (640.0, 640.0), base=BASE[:1], generator=plain.drawn(1))
    assert not torch.equal(half.labels, other.labels)
    few = found(truths, (40, 40), (640.0, 640.0), base=BASE[:1], batch_size=8)
    assert ((few.labels == 1).sum(), (few.labels == 0).sum()) == (4, 4)
    quarter = found(truths, (40, 40), (640.0, 640.0), base=BASE[:1], positive_fraction=0.25)
    assert ((quarter.labels == 1).sum(), (quarter.labels == 0).sum()) == (64, 192)


def test_ground_truth_that_is_no_boxes_is_refused():
    with pytest.raises(LayerError, match="ground truth box 0"):
        found([[10, 10, 5, 20, 1]])
