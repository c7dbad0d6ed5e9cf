"""What the detector learns: by hand, against loops, and how many regions of which kind."""

from __future__ import annotations

import plain
import pytest
import torch

from recaffe.detection.proposal_targets import ProposalTargets, proposal_targets
from recaffe.errors import LayerError


def with_item(boxes: torch.Tensor, item: float = 0) -> torch.Tensor:
    return torch.cat([torch.full((len(boxes), 1), item), boxes], 1)


def found(rois, truths, classes: int = 4, seed: int = 0, **options) -> ProposalTargets:
    regions, boxes = torch.as_tensor(rois), torch.as_tensor(truths).reshape(-1, 5)
    return proposal_targets(with_item(regions), boxes, classes, plain.drawn(seed), **options)


def test_regions_worked_by_hand():
    truths = [[0.0, 0, 9, 9, 2], [40, 40, 59, 59, 3]]
    rois = [
        [0.0, 0, 9, 4],  # a half of the first, and so just foreground
        [0, 0, 9, 3],  # 0.4: background
        [40, 40, 59, 41],  # a tenth of the second, and so just background
        [40, 40, 59, 40],  # 0.05: neither
        [40, 40, 49, 59],  # a half of the second
    ]
    targets = found(rois, truths)
    # The foreground first, to which the ground truth itself belongs, then the background.
    assert targets.rois[:, 1:].tolist() == [
        rois[0], rois[4], truths[0][:4], truths[1][:4], rois[1], rois[2]
    ]  # fmt: skip
    assert (targets.rois[:, 0] == 0).all()
    assert targets.labels.tolist() == [2, 3, 2, 3, 0, 0]
    expected = torch.zeros(6, 4, 4)
    log2 = float(torch.tensor(2.0).log())
    expected[0, 2] = torch.tensor([0, 2.5 / 5 / 0.1, 0, log2 / 0.2])
    expected[1, 3] = torch.tensor([5 / 10 / 0.1, 0, log2 / 0.2, 0])
    torch.testing.assert_close(targets.targets, expected.flatten(1))
    weights = torch.zeros(6, 4, 4)
    weights[[0, 1, 2, 3], [2, 3, 2, 3]] = 1
    assert torch.equal(targets.inside_weights, weights.flatten(1))
    assert torch.equal(targets.outside_weights, weights.flatten(1))
    assert {values.dtype for values in targets} == {torch.float32}


def test_where_the_background_begins_can_be_told():
    rois, truths = [[40.0, 40, 59, 40], [0, 0, 3, 3]], [[40.0, 40, 59, 59, 3]]
    assert found(rois, truths).labels.tolist() == [3]
    assert found(rois, truths, background_overlaps=(0.0, 0.5)).labels.tolist() == [3, 0, 0]
    assert found(rois, truths, background_overlaps=(0.0, 0.05)).labels.tolist() == [3, 0]


def test_means_and_deviations_normalise():
    truths = [[0.0, 0, 9, 9, 1]]
    options = {"means": (0.5, 0.25, 1, 2), "stds": (0.5, 1, 2, 4)}
    targets = found([[0.0, 0, 9, 4]], truths, **options).targets[0, 4:8]
    log2 = float(torch.tensor(2.0).log())
    expected = [-0.5 / 0.5, (0.5 - 0.25) / 1, -1 / 2, (log2 - 2) / 4]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_regions_are_labelled_as_loops_do():
    rois = plain.random_boxes(150, 1, 100)
    truths = torch.cat(
        [plain.random_boxes(5, 2, 100), torch.tensor([[1.0], [2], [3], [3], [1]])], 1
    )
    targets = found(rois, truths, batch_size=4000)
    foreground, background = [], []
    for box in [*rois.tolist(), *truths[:, :4].tolist()]:
        own = [plain.iou(box, truth) for truth in truths[:, :4].tolist()]
        best = own.index(max(own))
        if max(own) >= 0.5:
            way = plain.way(box, truths[best, :4].tolist())
            normalised = [value / by for value, by in zip(way, (0.1, 0.1, 0.2, 0.2), strict=True)]
            foreground.append((box, int(truths[best, 4]), normalised))
        elif max(own) >= 0.1:
            background.append(box)
    assert len(foreground) > 8
    assert 20 < len(background) < 130
    assert targets.rois[:, 1:].tolist() == [box for box, _, _ in foreground] + background
    assert targets.labels.tolist() == [label for _, label, _ in foreground] + [0] * len(background)
    expected = torch.zeros(len(targets.rois), 4, 4)
    for row, (_, label, normalised) in enumerate(foreground):
        expected[row, label] = torch.tensor(normalised)
    torch.testing.assert_close(targets.targets, expected.flatten(1), rtol=1e-5, atol=1e-5)


def test_a_batch_is_128_regions_of_which_a_quarter_is_foreground_at_most():
    truth = [[10.0, 10, 49, 49, 1]]
    same, apart = torch.tensor([[10.0, 10, 49, 48]] * 50), torch.tensor([[10.0, 10, 49, 20]] * 200)
    targets = found(torch.cat([same, apart]), truth)
    assert targets.labels.tolist() == [1] * 32 + [0] * 96
    few = found(torch.cat([same[:9], apart]), truth)
    assert few.labels.tolist() == [1] * 10 + [0] * 118
    none = found(same, truth)  # no background to fill the batch with
    assert none.labels.tolist() == [1] * 32
    small = found(torch.cat([same, apart]), truth, batch_size=10, foreground_fraction=0.3)
    assert small.labels.tolist() == [1] * 3 + [0] * 7


def test_the_generator_says_which_regions():
    rois, truths = plain.random_boxes(600, 3), [[10.0, 10, 49, 49, 1]]
    first, again, other = (found(rois, truths, seed=seed).rois for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_ground_truth_all_is_background_that_begins_at_0():
    rois = plain.random_boxes(5, 4)
    targets = found(rois, [], background_overlaps=(0.0, 0.5))
    assert torch.equal(targets.rois[:, 1:], rois)
    assert targets.labels.tolist() == [0] * 5
    assert (targets.inside_weights == 0).all()
    assert [list(values.shape) for values in found(rois, [])] == [[0, 5], [0], *[[0, 16]] * 3]


@pytest.mark.parametrize("label", [4, -1, 1.5])
def test_a_class_that_the_net_does_not_have(label):
    with pytest.raises(LayerError, match=f"class {label}; expected a whole number from 0 to 3"):
        found([[0.0, 0, 9, 9]], [[0.0, 0, 9, 9, label]])


def test_regions_of_another_image_are_refused():
    rois = torch.cat([with_item(plain.random_boxes(2, 5)), with_item(plain.random_boxes(1, 6), 1)])
    with pytest.raises(LayerError, match=r"a region is of item 1; .*one image at a time"):
        proposal_targets(rois, torch.zeros(0, 5), 4, plain.drawn())


def test_ground_truth_that_is_no_boxes_is_refused():
    with pytest.raises(LayerError, match="ground truth box 0"):
        found([[0.0, 0, 9, 9]], [[10.0, 10, 5, 20, 1]])
