"""Images that lie in more than one split, which make a net look better than it is.

Two files of the same bytes are exact duplicates. Two images are near duplicates if their
thumbnails ``a`` and ``b``, 16 x 16 gray values from 0 to 255, differ by

    rms = sqrt(mean((a - b)^2))

of at most 3, and of at most a tenth of the first one's contrast (its standard deviation), so
that images of nothing but one shade are not taken for copies of each other. This finds the same
picture stored again, smaller or at another quality. It does not find crops, turned or mirrored
copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from caffetools.dataset.entry import SPLITS, Entry

HEADER = (
    *("path", "split", "class", "other_path", "other_split", "other_class"),
    *("kind", "rms"),
)
RMS = 3.0
SHARE_OF_CONTRAST = 0.1
# What is compared in one product, which takes 64 MiB.
_AT_ONCE, _OTHERS_AT_ONCE = 256, 1 << 16


class Pair(NamedTuple):
    """Two images that are the same picture, by their numbers, and their thumbnails' distance."""

    one: int
    other: int
    kind: str
    rms: float


def find(entries: Sequence[Entry], thumbnails: np.ndarray) -> list[Pair]:
    """The duplicates among ``entries``, all usable, by their ``thumbnails`` ``(N, 256)``, uint8.

    For each image of val the nearest in train, for each of test the nearest in train and val;
    and exact duplicates of different classes wherever they lie. Those of val and test that are
    one and the same file, named twice as of one class, are not told.
    """
    pairs = list(_exact(entries))
    told = {pair.one for pair in pairs if entries[pair.one].split != entries[pair.other].split}
    numbers = {name: [i for i, e in enumerate(entries) if e.split == name] for name in SPLITS}
    for mine, others in (("val", ("train",)), ("test", ("train", "val"))):
        asked = [i for i in numbers[mine] if i not in told]
        known = [i for name in others for i in numbers[name]]
        pairs += [
            pair
            for pair in _near(thumbnails, asked, known)
            if entries[pair.one].path != entries[pair.other].path
        ]
    return sorted(pairs)


def _exact(entries: Sequence[Entry]) -> Iterator[Pair]:
    """One pair for each image and each earlier split, or class, that has its bytes too."""
    firsts: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    for split in SPLITS:
        for i, one in enumerate(entries):
            if one.split != split:
                continue
            for (name, label), j in firsts[one.sha256].items():
                of_one_class = label == one.label
                named_twice = entries[j].path == one.path and name != "train" and of_one_class
                if (name, label) != (split, one.label) and not named_twice:
                    yield Pair(i, j, "exact", 0.0)
            firsts[one.sha256].setdefault((split, one.label), i)


def _near(thumbnails: np.ndarray, asked: Sequence[int], known: Sequence[int]) -> Iterator[Pair]:
    """For each of ``asked`` the nearest of ``known``, if the two are near."""
    if not asked or not known:
        return
    mean, contrast = thumbnails.mean(axis=1), thumbnails.std(axis=1)
    # Two images' means differ by their rms at most: only a band of the sorted images is looked at.
    sorted_asked = np.array(asked)[np.argsort(mean[asked], kind="stable")]
    sorted_known = np.array(known)[np.argsort(mean[known], kind="stable")]
    means = mean[sorted_known]
    for start in range(0, len(asked), _AT_ONCE):
        block = sorted_asked[start : start + _AT_ONCE]
        first = int(np.searchsorted(means, mean[block[0]] - RMS, "left"))
        last = int(np.searchsorted(means, mean[block[-1]] + RMS, "right"))
        nearest, squares = _nearest(thumbnails, block, sorted_known[first:last])
        rms = np.sqrt(squares)
        for k in np.flatnonzero(rms <= np.minimum(RMS, SHARE_OF_CONTRAST * contrast[block])):
            yield Pair(int(block[k]), int(nearest[k]), "near", float(rms[k]))


def _nearest(
    thumbnails: np.ndarray, some: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``some`` the nearest of ``others``, and the mean squared difference of both."""
    # The sums of the products are whole numbers below 2^24, which float32 holds exactly.
    a = thumbnails[some].astype(np.float32)
    nearest, least = np.zeros(len(some), int), np.full(len(some), np.inf, np.float32)
    for start in range(0, len(others), _OTHERS_AT_ONCE):
        part = others[start : start + _OTHERS_AT_ONCE]
        b = thumbnails[part].astype(np.float32)
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
        column = squares.argmin(axis=1)
        found = squares[np.arange(len(some)), column]
        closer = found < least
        nearest[closer], least[closer] = part[column[closer]], found[closer]
    return nearest, np.maximum(least, 0) / a.shape[1]


def rows(entries: Sequence[Entry], pairs: Iterable[Pair]) -> Iterator[tuple[object, ...]]:
    """A row of :data:`HEADER` for each pair."""
    for pair in pairs:
        one, other = entries[pair.one], entries[pair.other]
        yield (
            *(one.path, one.split, one.class_name),
            *(other.path, other.split, other.class_name),
            *(pair.kind, f"{pair.rms:.2f}"),
        )


def summary(entries: Sequence[Entry], pairs: Sequence[Pair]) -> dict[str, int]:
    """How many images of val and test lie in an earlier split too, and how many contradict."""
    crossing = [p for p in pairs if entries[p.one].split != entries[p.other].split]
    return {
        "across_splits": len({pair.one for pair in crossing}),
        "of_two_classes": len(
            {p.one for p in pairs if entries[p.one].label != entries[p.other].label}
        ),
    }
