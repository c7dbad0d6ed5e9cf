"""Classes with too few images, and classes with more than are wanted."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence

from caffetools.cli import ToolError
from caffetools.dataset.entry import Entry
from caffetools.dataset.splits import rank

LOG = logging.getLogger("caffetools.dataset")


def require_some(entries: Sequence[Entry], classes: Sequence[str]) -> None:
    """Raise :class:`ToolError` for a class none of whose images can be used."""
    usable = {entry.label for entry in entries if not entry.dropped}
    for label in sorted({entry.label for entry in entries} - usable):
        members = [entry for entry in entries if entry.label == label]
        raise ToolError(
            f"class {classes[label]!r}: none of its {len(members)} images can be used; "
            f"{members[0].path!r} {members[0].dropped}"
        )


def drop_small_classes(
    entries: Sequence[Entry], classes: Sequence[str], least: int, renumber: bool
) -> tuple[list[Entry], list[str]]:
    """The entries, and the classes that are left once those with fewer images are dropped.

    Labels close ranks if they may be given anew (``renumber``); else such a class is a mistake.
    """
    counts = Counter(entry.label for entry in entries if not entry.dropped)
    found = {entry.label for entry in entries}
    small = [label for label in sorted(found) if counts[label] < least]
    if not small:
        return list(entries), list(classes)
    first = f"class {classes[small[0]]!r} has {counts[small[0]]} usable images"
    if not renumber:
        raise ToolError(
            f"{first}, fewer than the {least} of min_per_class; its label is given, so leaving it "
            "out would leave a gap: take it out of the list and number the classes anew"
        )
    if len(classes) - len(small) < 2:
        raise ToolError(
            f"{first}, and fewer than two classes have the {least} of min_per_class; add images "
            "or ask for fewer"
        )
    for label in small:
        LOG.warning("class %r is left out: %d images", classes[label], counts[label])
    kept = [label for label in range(len(classes)) if label not in set(small)]
    new = {label: number for number, label in enumerate(kept)}
    reason = f"its class has fewer than {least} images"
    done = [
        entry._replace(label=new[entry.label])
        if entry.label in new
        else entry._replace(label=-1, dropped=entry.dropped or reason)
        for entry in entries
    ]
    return done, [classes[label] for label in kept]


def chosen(entries: Sequence[Entry], most: int, seed: int) -> list[bool]:
    """Which entries are among the first ``most`` of their class, and of train where splits are
    given, in the order that the seed draws. All of the other splits are."""
    classes: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        if entry.split in ("", "train"):
            classes[entry.label].append(i)
    kept = [True] * len(entries)
    for members in classes.values():
        for i in sorted(members, key=lambda i: rank(seed, entries[i].path))[most:]:
            kept[i] = False
    return kept
