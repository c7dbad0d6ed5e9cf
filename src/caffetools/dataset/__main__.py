"""Check images, and split them into train, val and test.

The images are those of ``--source``: one sub-folder a class; or those that lists in Caffe's form
(``path label`` a line) or a table (``--index``: a CSV with the columns path, label or class, and
perhaps split and group) name, by paths relative to ``--source``. Writes to ``--output``:

``train.txt val.txt test.txt``  Caffe's list form, ``class/name.png label`` a line, paths
                                relative to the source folder
``classes.txt``                 one class a line; the line number, from 0, is its label
``manifest.csv``                every image found: path, label, class, split, group, sha256,
                                bytes, dropped (why it was left out; empty if it was not)
``duplicates.csv``              images that lie in more than one split, or in two classes
``summary.json``                counts by split and class; written last

Class folders are numbered in the order of their names' code points. Each image is decoded
once; one that cannot be is named, left out and counted. An image's place in the split hangs
on the seed and its own path alone, so neither the order of the file system nor a class or
an image more shuffles the rest.

``--train``, ``--val`` and ``--test`` each take a number of images a class (``10``), a
fraction of each class (``0.2``), or ``rest`` (one of them at most). Where lists or the table
give the splits, these stay; val or test, where no image is in it, is taken from train.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools.cli import ToolError, run
from caffetools.dataset import duplicates, folders, limits, split_options, splits, tables
from caffetools.dataset.entry import HEADER, SPLITS, Entry, rows
from caffetools.dataset.examine import examine_all
from caffetools.files import write_csv, write_json, write_text
from caffetools.folders import lies_inside
from caffetools.images import MAX_PIXELS

LOG = logging.getLogger("caffetools.dataset")


def find(options: argparse.Namespace) -> tuple[list[Entry], list[str]]:
    """Every image that is to be had, not yet opened, and the classes."""
    if not options.source.is_dir():
        found = "a file" if options.source.exists() else "nothing"
        raise ToolError(
            f"{options.source}: expected a folder with one sub-folder a class, found {found}"
        )
    lists = {name: getattr(options, f"{name}_list") for name in SPLITS}
    lists = {name: path for name, path in lists.items() if path}
    ways = sum(map(bool, (options.list, lists, options.index)))
    if ways > 1:
        raise ToolError("--list, --train-list and the like, --index: expected one way, not several")
    if options.index:
        return tables.from_table(options.index, options.names)
    if ways:
        return tables.from_lists(lists or {"": options.list}, options.names)
    if options.names:
        raise ToolError("--names: expected beside lists or --index; folders have their own")
    return folders.find(options.source)


def divide(entries: Sequence[Entry], asked: splits.Asked, most: Optional[int]) -> list[Entry]:
    """The entries in their order, each usable one with its split."""
    usable = [i for i, entry in enumerate(entries) if not entry.dropped]
    kept = [True] * len(usable)
    if most is not None:
        kept = limits.chosen([entries[i] for i in usable], most, asked.seed)
    taken = [i for i, keep in zip(usable, kept) if keep]
    done = [entry._replace(split="") for entry in entries]
    for i, entry in zip(taken, splits.split([entries[i] for i in taken], asked)):
        done[i] = entry
    return done


def summary(
    entries: Sequence[Entry], classes: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """What was asked for, counts by split and class, and of what was dropped or left over."""
    counts = Counter((entry.split, entry.label) for entry in entries if not entry.dropped)
    by_split = {
        split: {name: counts[split, label] for label, name in enumerate(classes)}
        for split in SPLITS
    }
    return {
        "asked": {name: getattr(options, name) for name in SPLITS},
        "classes": list(classes),
        "counts": by_split,
        "dropped": sum(1 for entry in entries if entry.dropped),
        "fold": options.fold,
        "folds": options.folds,
        "groups": len({entry.group for entry in entries if entry.group and not entry.dropped}),
        "images": sum(counts.values()),
        "seed": options.seed,
        "totals": {split: sum(by_split[split].values()) for split in SPLITS},
        "unused": sum(counts["", label] for label in range(len(classes))),
    }


def write(
    entries: Sequence[Entry],
    pairs: Iterable[tuple[object, ...]],
    facts: dict[str, Any],
    output: Path,
) -> None:
    """Write lists, classes, manifest and duplicates to ``output``, then the summary."""
    last = output / "summary.json"
    if last.exists():
        last.unlink()
    for split in SPLITS:
        lines = [f"{entry.path} {entry.label}\n" for entry in entries if entry.split == split]
        write_text(output / f"{split}.txt", "".join(lines))
    write_text(output / "classes.txt", "".join(f"{name}\n" for name in facts["classes"]))
    write_csv(output / "manifest.csv", HEADER, rows(entries))
    write_csv(output / "duplicates.csv", duplicates.HEADER, pairs)
    write_json(last, facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", type=Path, required=True, help="folder of class folders, or of lists")
    add("--list", type=Path, help="list of all images, to be split")
    for split in SPLITS:
        add(f"--{split}-list", type=Path, metavar="LIST", help=f"list of the images of {split}")
    add("--index", type=Path, metavar="CSV", help="table of all images")
    add("--names", type=Path, help="file with the class of each label, a line each")
    add("--output", type=Path, required=True, help="folder for the lists")
    split_options.add_to(parser, required=True)
    add("--min-per-class", type=int, default=1, metavar="N", help="leave out smaller classes")
    add("--max-per-class", type=int, metavar="N", help="take so many images of a class at most")
    add("--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="leave out larger images")
    add("--strict", action="store_true", help="an image that is left out ends the run")
    return parser


def _check_limits(options: argparse.Namespace) -> None:
    most = options.max_per_class
    if min(options.min_per_class, 1 if most is None else most) < 1:
        raise ToolError("--min-per-class, --max-per-class: expected at least 1")


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.dataset --source DIR --output DIR --train S --val S --test S``."""
    options = _parser().parse_args(arguments)
    asked = split_options.asked(options)
    _check_limits(options)
    if lies_inside(options.output, options.source):
        raise ToolError(f"--output {options.output}: lies in the source folder; choose another")
    found, classes = find(options)
    if options.ignore_splits:
        found = [entry._replace(split="") for entry in found]
    found = splits.grouped(found, options.group)
    examined, thumbnails = examine_all(options.source, found, options.max_pixels)
    _tell_dropped(examined, options.strict)
    limits.require_some(examined, classes)
    kept, classes = limits.drop_small_classes(
        examined, classes, options.min_per_class, renumber=_are_folders(options)
    )
    entries = divide(kept, asked, options.max_per_class)
    used, pairs = _duplicates(examined, entries, thumbnails)
    facts = summary(entries, classes, options)
    facts["given"] = [name for name in SPLITS if any(e.split == name for e in found)]
    facts["duplicates"] = duplicates.summary(used, pairs)
    write(entries, duplicates.rows(used, pairs), facts, options.output)
    _tell(facts, options.output)


def _are_folders(options: argparse.Namespace) -> bool:
    lists = [getattr(options, f"{name}_list") for name in SPLITS]
    return not (options.list or options.index or any(lists))


def _tell_dropped(entries: Sequence[Entry], strict: bool) -> None:
    dropped = [entry for entry in entries if entry.dropped]
    for entry in dropped:
        LOG.warning("dropped: %r %s", entry.path, entry.dropped)
    if dropped and strict:
        raise ToolError(
            f"{len(dropped)} images cannot be used, and --strict allows none; the first is "
            f"{dropped[0].path!r}, which {dropped[0].dropped}"
        )


def _duplicates(
    examined: Sequence[Entry], entries: Sequence[Entry], thumbnails: np.ndarray
) -> tuple[list[Entry], list[duplicates.Pair]]:
    """The entries that are used, and the duplicates among them; a thumbnail a usable image."""
    seen = [i for i, entry in enumerate(examined) if not entry.dropped]
    rows = [row for row, i in enumerate(seen) if not entries[i].dropped]
    used = [entries[seen[row]] for row in rows]
    return used, duplicates.find(used, thumbnails[rows])


def _tell(facts: dict[str, Any], output: Path) -> None:
    twice = facts["duplicates"]
    if twice["across_splits"]:
        LOG.warning(
            "%d images of val and test are in an earlier split too, which makes a net look better "
            "than it is; see %s",
            *(twice["across_splits"], output / "duplicates.csv"),
        )
    if twice["of_two_classes"]:
        LOG.warning("%d images are another class elsewhere; see the same", twice["of_two_classes"])
    totals = ", ".join(f"{facts['totals'][split]} {split}" for split in SPLITS)
    LOG.info("%s: %d classes; %s", output, len(facts["classes"]), totals)


if __name__ == "__main__":
    run(main)
