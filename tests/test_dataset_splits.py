"""Splits that are given, groups that stay whole, folds, and limits on the classes' sizes."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffetools.cli import ToolError
from caffetools.dataset import limits, splits
from caffetools.dataset.entry import Entry
from caffetools.dataset.splits import Asked

RATIO = (Fraction("0.6"), Fraction("0.2"), None)


def images(count: int, classes: int = 2, **fields: str) -> list[Entry]:
    return [
        Entry(f"{label}/{i}.png", label, f"c{label}", **fields)
        for label in range(classes)
        for i in range(count)
    ]


def counts(entries: list[Entry]) -> dict[str, int]:
    return dict(Counter(entry.split for entry in entries))


# --- given ------------------------------------------------------------------------------


def test_given_splits_stay_as_they_are():
    entries = [
        *images(6, split="train"), *images(2, split="val"), *images(1, split="test"),
    ]  # fmt: skip
    assert splits.split(entries, Asked((10, 10, 10))) == entries


def test_what_is_not_given_is_taken_from_train():
    entries = [*images(10, split="train"), *images(3, split="test")]
    done = splits.split(entries, Asked((None, Fraction("0.2"), None)))
    assert counts(done) == {"train": 16, "val": 4, "test": 6}
    assert [entry._replace(split="") for entry in done] == [e._replace(split="") for e in entries]
    # By class, and by the seed alone.
    assert Counter(e.label for e in done if e.split == "val") == {0: 2, 1: 2}
    assert done != splits.split(entries, Asked((None, Fraction("0.2"), None), seed=1))


def test_a_split_that_nobody_asks_for_may_be_missing():
    entries = images(10, split="train")
    assert counts(splits.split(entries, Asked((None, 0, 0)))) == {"train": 20}


def test_images_without_a_split_beside_others_are_left_over():
    entries = [*images(4, split="train"), *images(1)]
    assert counts(splits.split(entries, Asked((None, 0, 0)))) == {"train": 8, "": 2}


@pytest.mark.parametrize(
    ("present", "asked", "message"),
    [
        ("train", Asked(RATIO), r"no image is in test; name some, or .*split\.test: 0\.1"),
        ("test", Asked(RATIO), "no image is in train; name those to train on"),
        ("train", Asked(RATIO, folds=3), r"splits are given \(train\), and folds are asked for"),
    ],
)
def test_given_splits_that_do_not_do(present, asked, message):
    with pytest.raises(ToolError, match=message):
        splits.split(images(10, split=present), asked)


# --- groups -----------------------------------------------------------------------------

grouped = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=30, max_size=80).map(
    lambda drawn: [Entry(f"{i}.png", c, f"c{c}", group=f"g{g}") for i, (c, g) in enumerate(drawn)]
)


@given(grouped, st.integers(0, 5))
def test_a_group_is_never_on_two_sides(entries, seed):
    try:
        done = splits.split(entries, Asked((Fraction("0.6"), Fraction("0.2"), None), seed))
    except ToolError:
        return  # a class too small for its shares, or too few groups
    sides = defaultdict(set)
    for entry in done:
        sides[entry.group].add(entry.split)
    assert all(len(each) == 1 for each in sides.values())
    backwards = splits.split(entries[::-1], Asked(RATIO, seed))[::-1]
    assert backwards == done


def test_groups_come_close_to_what_was_asked_of_each_class():
    entries = [
        Entry(f"{label}/{person}_{i}.png", label, f"c{label}", group=f"p{person}")
        for person in range(40)
        for label in range(3)
        for i in range(1 + (person * 7 + label) % 5)
    ]
    done = splits.split(entries, Asked(RATIO))
    for label in range(3):
        total = sum(entry.label == label for entry in entries)
        found = Counter(entry.split for entry in done if entry.label == label)
        for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert abs(found[name] - share * total) <= 5, (label, name)  # the largest group


def test_an_image_without_a_group_is_one_by_itself():
    entries = [*images(20), *[e._replace(group="g") for e in images(2)]]
    done = splits.split(entries, Asked(RATIO))
    assert len({entry.split for entry in done[:40]}) == 3
    assert len({entry.split for entry in done[40:]}) == 1


def test_what_no_split_takes_of_groups_is_left_over():
    entries = [e._replace(group=e.path) for e in images(10)]
    assert counts(splits.split(entries, Asked((5, 2, 1)))) == {
        "train": 10, "val": 4, "test": 2, "": 4,
    }  # fmt: skip


def test_too_few_groups():
    entries = [e._replace(group="all") for e in images(10)]
    with pytest.raises(ToolError, match=r"1 groups, each of which stays whole, leave none for"):
        splits.split(entries, Asked(RATIO))


# --- folds ------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [False, True])
def test_each_image_is_in_the_test_of_one_fold(group):
    entries = images(10)
    if group:
        entries = [e._replace(group=str(i // 2)) for i, e in enumerate(entries)]
    tests = []
    for fold in range(5):
        done = splits.split(entries, Asked((0, Fraction("0.25"), 0), 7, folds=5, fold=fold))
        assert counts(done) == {"train": 12, "val": 4, "test": 4}
        tests += [entry.path for entry in done if entry.split == "test"]
    assert sorted(tests) == sorted(entry.path for entry in entries)


def test_folds_are_spread_over_the_classes():
    done = splits.split(images(9, classes=3), Asked((0, 0, 0), folds=3, fold=1))
    assert Counter(e.label for e in done if e.split == "test") == {0: 3, 1: 3, 2: 3}


def test_more_folds_than_images():
    with pytest.raises(ToolError, match=r"class 'c0': .* leaves none for fold .*; found 2"):
        splits.split(images(2), Asked((0, 0, 0), folds=3))


def test_the_rest_is_no_share_of_val_beside_folds():
    with pytest.raises(ToolError, match="folds: expected val as a number or a fraction"):
        splits.split(images(10), Asked((0, None, 0), folds=3))


# --- limits -----------------------------------------------------------------------------


def test_a_class_below_the_minimum_is_left_out_and_labels_close_ranks():
    entries = [*images(5, classes=1), Entry("1/a", 1, "c1"), *images(5, classes=3)[10:]]
    kept, classes = limits.drop_small_classes(entries, ["c0", "c1", "c2"], 3, renumber=True)
    assert classes == ["c0", "c2"]
    assert Counter(e.label for e in kept) == {0: 5, 1: 5, -1: 1}
    assert [e.dropped for e in kept if e.label == -1] == ["its class has fewer than 3 images"]


def test_a_given_label_cannot_be_left_out():
    entries = [*images(5), Entry("2/a", 2, "c2")]
    with pytest.raises(ToolError, match=r"class 'c2' has 1 usable images, fewer than the 3"):
        limits.drop_small_classes(entries, ["c0", "c1", "c2"], 3, renumber=False)


def test_two_classes_have_to_be_left():
    with pytest.raises(ToolError, match="fewer than two classes have the 6"):
        limits.drop_small_classes(images(5), ["c0", "c1"], 6, renumber=True)


def test_the_maximum_counts_in_train_where_splits_are_given():
    entries = [*images(9, split="train"), *images(5, split="test")]
    kept = limits.chosen(entries, 3, seed=0)
    assert Counter(e.split for e, keep in zip(entries, kept, strict=True) if keep) == {
        "train": 6, "test": 10,
    }  # fmt: skip
    assert kept != limits.chosen(entries, 3, seed=1)
