"""Which images are trained on, which are looked at meanwhile, and which are kept for the test.

An image's place hangs on the seed and on its own path (or its group's name), so that neither
the order of the files nor a class or an image more shuffles the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple, Optional, Union

from caffetools.cli import ToolError
from caffetools.dataset.entry import SPLITS, Entry

# A number of images, a fraction of a class' images, or None for the rest.
Share = Optional[Union[int, Fraction]]


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
        shares: of train, val and test, by class.
        seed: which images fall where.
        folds: 0, or into how many parts all is divided, of which one is the test.
        fold: which one, from 0.
    """

    shares: Sequence[Share]
    seed: int = 0
    folds: int = 0
    fold: int = 0


def parse_share(option: str, text: str) -> Share:
    """``"10"`` as 10 images a class, ``"0.2"`` as a fraction of each class, ``"rest"`` as None."""
    if text == "rest":
        return None
    try:
        share = int(text) if text.isdecimal() else Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = -1
    if share < 0 or (isinstance(share, Fraction) and not 0 < share <= 1):
        raise ToolError(
            f"{option}: expected a number of images a class (10), a fraction of each class "
            f"(0.2) or 'rest', found {text!r}"
        )
    return share


def split(entries: Sequence[Entry], asked: Asked) -> list[Entry]:
    """The ``entries``, all usable, in their order, each with its split.

    Splits that are given stay; of those that are not, val and test are taken from train.
    Raises :class:`ToolError` where there are too few images, or groups, for what is asked.
    """
    if any(entry.split for entry in entries):
        return _completed(entries, asked)
    if asked.folds:
        return _folded(entries, asked)
    return _divided(entries, asked.shares, asked.seed)


def _completed(entries: Sequence[Entry], asked: Asked) -> list[Entry]:
    given = {entry.split for entry in entries}
    missing = [name for name in SPLITS if name not in given]
    shares = dict(zip(SPLITS, asked.shares))
    wanted = [name for name in missing if shares[name] != 0]
    if asked.folds:
        raise ToolError(
            f"the images' splits are given ({', '.join(sorted(given - {''}))}), and folds are "
            "asked for; leave one of them out"
        )
    if "train" in missing:
        raise ToolError("splits are given, and no image is in train; name those to train on")
    for name in wanted:
        if shares[name] is None:
            raise ToolError(
                f"splits are given, and no image is in {name}; name some, or ask for a number or "
                f"a fraction of them (split.{name}: 0.1), which is taken from train; the images "
                "of another split may be named a second time"
            )
    from_train = [None, *(shares[name] if name in wanted else 0 for name in SPLITS[1:])]
    train = [i for i, entry in enumerate(entries) if entry.split == "train"]
    taken = _divided([entries[i]._replace(split="") for i in train], from_train, asked.seed)
    done = list(entries)
    for i, entry in zip(train, taken):
        done[i] = entry
    return done


def _folded(entries: Sequence[Entry], asked: Asked) -> list[Entry]:
    """The part ``asked.fold`` is the test; the rest is divided into val and train."""
    val = asked.shares[SPLITS.index("val")]
    if val is None:
        raise ToolError("folds: expected val as a number or a fraction of the other folds, or 0")
    parts = [f"fold {number}" for number in range(asked.folds)]
    whole = [Fraction(1, asked.folds)] * asked.folds
    named = _named(entries, whole, asked.seed, parts)
    test = {i for i, name in enumerate(named) if name == parts[asked.fold]}
    others = [entry for i, entry in enumerate(entries) if i not in test]
    divided = iter(_divided(others, [None, val, 0], asked.seed))
    return [
        entry._replace(split="test") if i in test else next(divided)
        for i, entry in enumerate(entries)
    ]


def _divided(entries: Sequence[Entry], shares: Sequence[Share], seed: int) -> list[Entry]:
    names = _named(entries, shares, seed, SPLITS)
    return [entry._replace(split=name) for entry, name in zip(entries, names)]


def _named(
    entries: Sequence[Entry], shares: Sequence[Share], seed: int, names: Sequence[str]
) -> list[str]:
    """The name of the part that each entry falls into, of ``shares``; empty if into none."""
    classes: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        classes[entry.label].append(i)
    sizes = {}
    for label, members in classes.items():
        sizes[label] = split_sizes(shares, len(members))
        of = f"class {entries[members[0]].class_name!r}" if len(classes) > 1 else "all images"
        _check_sizes(of, len(members), shares, sizes[label], names)
    if any(entry.group for entry in entries):
        return _by_group(entries, sizes, seed, names)
    found = [""] * len(entries)
    for label, members in classes.items():
        # Ranked by digest: no generator whose stream could change from version to version.
        ranked = sorted(members, key=lambda i: rank(seed, entries[i].path))
        of_rank = (name for name, size in zip(names, sizes[label]) for _ in range(size))
        for i, name in zip(ranked, of_rank):
            found[i] = name
    return found


def rank(seed: int, name: str) -> bytes:
    """What images, or groups, are ordered by where chance shall decide."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def split_sizes(shares: Sequence[Share], images: int) -> list[int]:
    """How many of a class' ``images`` each split gets, and none more than there are.

    Fractions are rounded where one split ends and the next begins, so that fractions which
    add up to 1 use every image. The rest may come out negative: then too many were asked for.
    """
    total, end, sizes = Fraction(0), 0, []
    for share in shares:
        total += share * images if isinstance(share, Fraction) else share or 0
        sizes.append(floor(total + Fraction(1, 2)) - end)
        end += sizes[-1]
    return [images - end if share is None else size for share, size in zip(shares, sizes)]


def _check_sizes(
    of: str,
    images: int,
    shares: Sequence[Share],
    sizes: Sequence[int],
    names: Sequence[str],
) -> None:
    taken = sum(size for size, share in zip(sizes, shares) if share is not None)
    short = [name for name, size, share in zip(names, sizes, shares) if share != 0 and size < 1]
    if taken <= images and not short:
        return
    asked = ", ".join(
        f"{name} {'the rest' if share is None else size}"
        for name, size, share in zip(names, sizes, shares)
    )
    lack = f"which leaves none for {short[0]}" if taken <= images else f"{taken} in all"
    raise ToolError(
        f"{of}: asked for {asked}, {lack}; found {images} "
        "readable images; add images or ask for fewer"
    )


# --- groups -----------------------------------------------------------------------------


def grouped(entries: Sequence[Entry], pattern: Optional[str]) -> list[Entry]:
    """The entries, each in the group that ``pattern`` finds in its path."""
    if pattern is None:
        return list(entries)
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ToolError(f"--group {pattern!r}: is no regular expression: {error}") from error
    done = []
    for entry in entries:
        match = search(entry.path)
        group = match and (match.group(1) if match.re.groups else match.group())
        if not group:
            raise ToolError(
                f"--group {pattern!r}: finds no group in the path {entry.path!r}; expected one in "
                "each, such as the first digits of the name by '([0-9]+)[^/]*$'"
            )
        done.append(entry._replace(group=group))
    return done


def _by_group(
    entries: Sequence[Entry], sizes: Mapping[int, Sequence[int]], seed: int, names: Sequence[str]
) -> list[str]:
    """Each group as a whole to one part, the largest first, to where it is wanted most.

    What a part lacks of a class counts by the share of what it shall have of it. An image
    without a group is one by itself.
    """
    groups: dict[str, Counter[int]] = defaultdict(Counter)
    keys = [entry.group or f"/{entry.path}" for entry in entries]
    for key, entry in zip(keys, entries):
        groups[key][entry.label] += 1
    totals = Counter(entry.label for entry in entries)
    parts = (*names, "")
    wanted = [
        {label: size[number] for label, size in sizes.items()} for number in range(len(names))
    ]
    wanted.append({label: totals[label] - sum(size) for label, size in sizes.items()})
    lacking = [dict(part) for part in wanted]
    place = {}
    for key in sorted(groups, key=lambda key: (-sum(groups[key].values()), rank(seed, key))):
        number = max(range(len(parts)), key=lambda n: _need(groups[key], lacking[n], wanted[n]))
        place[key] = parts[number]
        for label, count in groups[key].items():
            lacking[number][label] -= count
    found = [place[key] for key in keys]
    _check_groups(len(groups), found, wanted, parts)
    return found


def _need(group: Mapping[int, int], lacking: Mapping[int, int], wanted: Mapping[int, int]) -> float:
    if not any(wanted.values()):
        return float("-inf")
    return sum(
        count * lacking[label] / wanted[label] if wanted[label] else -count
        for label, count in sorted(group.items())  # in one order, so that sums round alike
    )


def _check_groups(
    groups: int, found: Iterable[str], wanted: Sequence[Mapping[int, int]], parts: Sequence[str]
) -> None:
    counts = Counter(found)
    for part, sizes in zip(parts, wanted):
        if part and any(sizes.values()) and not counts[part]:
            raise ToolError(
                f"{groups} groups, each of which stays whole, leave none for {part}; ask for "
                f"fewer images elsewhere, or see whether the groups are meant to be so large"
            )
