"""Split a folder of images, one sub-folder a class, into train, val and test.

Writes to ``--output``:

``train.txt val.txt test.txt``  Caffe's list form, ``class/name.png label`` a line, paths
                                relative to the source folder
``classes.txt``                 one class a line; the line number, from 0, is its label
``manifest.csv``                every image found: path, label, class, split, sha256, bytes,
                                dropped (why it was left out; empty if it was not)
``summary.json``                counts by split and class; written last

Classes are the sub-folders in the order of their names' code points. Each image is decoded
once; one that cannot be is named, left out and counted. An image's place in the split hangs
on the seed and its own path alone, so neither the order of the file system nor a class or
an image more shuffles the rest.

``--train``, ``--val`` and ``--test`` each take a number of images a class (``10``), a
fraction of each class (``0.2``), or ``rest`` (one of them at most).
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Any, Optional, Union

from caffetools.cli import ToolError, run
from caffetools.files import sha256, write_csv, write_json, write_text
from caffetools.folders import lies_inside
from caffetools.images import EXTENSIONS, read_image

LOG = logging.getLogger("caffetools.dataset")

SPLITS = ("train", "val", "test")
HEADER = ("path", "label", "class", "split", "sha256", "bytes", "dropped")

# A number of images, a fraction of a class' images, or None for the rest.
Share = Optional[Union[int, Fraction]]


@dataclass(frozen=True)
class Entry:
    """One image found, a row of the manifest; ``dropped`` says why it is left out, if it is."""

    path: str
    label: int
    class_name: str
    split: str = ""
    sha256: str = ""
    bytes: int = 0
    dropped: str = ""


# --- what is there ----------------------------------------------------------------------


def find_classes(source: Path) -> list[str]:
    """The names of the class folders in ``source``, sorted; hidden folders do not count.

    Raises :class:`ToolError` if there are fewer than two or one cannot be used.
    """
    if not source.is_dir():
        found = "a file" if source.exists() else "nothing"
        raise ToolError(f"{source}: expected a folder with one sub-folder a class, found {found}")
    names = sorted(entry.name for entry in source.iterdir() if entry.is_dir())
    classes = [name for name in names if not name.startswith(".")]
    if len(classes) < 2:
        raise ToolError(_too_few_classes(source, classes))
    for name in classes:
        if reason := _unlistable(name):
            raise ToolError(f"{source}: class folder {name!r} {reason}; rename it")
        if not lies_inside(source / name, source):
            raise ToolError(
                f"{source / name}: this class folder is a link that leads out of the source "
                "folder; put the folder itself there"
            )
    return classes


def _too_few_classes(source: Path, classes: Sequence[str]) -> str:
    if classes:
        return (
            f"{source}: expected at least two classes, found one, {classes[0]!r}; "
            "add a sub-folder for each further class"
        )
    images = sum(1 for entry in source.iterdir() if _is_image_name(entry.name))
    return (
        f"{source}: expected one sub-folder a class, found no sub-folder and {images} images; "
        "move each image into a sub-folder named after its class"
    )


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def _unlistable(name: str) -> str:
    """Why ``name`` cannot stand in a list file of Caffe's, or nothing."""
    if "\n" in name or "\r" in name:
        return "has a line break in its name"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return ""


def find_images(source: Path, class_name: str, label: int) -> list[Entry]:
    """The images of one class by name, not yet opened. Raises :class:`ToolError` if none."""
    folder = source / class_name
    names = sorted(entry.name for entry in folder.iterdir() if _is_image_name(entry.name))
    if not names:
        deeper = sum(1 for entry in folder.iterdir() if entry.is_dir())
        hint = f" and {deeper} sub-folders, which are not searched" if deeper else ""
        raise ToolError(
            f"{folder}: expected images of class {class_name!r}, found none{hint}; "
            "add images or remove the folder"
        )
    return [Entry(f"{class_name}/{name}", label, class_name) for name in names]


def examine(source: Path, entry: Entry) -> Entry:
    """``entry`` with the file's digest and size, or with the reason to drop it."""
    path = source / entry.path
    if reason := _unlistable(entry.path):
        return replace(entry, dropped=reason)
    if not lies_inside(path, source):
        return replace(entry, dropped="is a link that leads out of the source folder")
    if not path.is_file():
        return replace(entry, dropped="is not a regular file")
    try:
        known = replace(entry, sha256=sha256(path), bytes=path.stat().st_size)
    except OSError as error:
        return replace(entry, dropped=f"cannot be opened: {error.strerror}")
    if not known.bytes:
        return replace(known, dropped="is empty")
    if read_image(path) is None:
        return replace(known, dropped="cannot be decoded as an image")
    return known


# --- how it is split --------------------------------------------------------------------


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


def assign(entries: Sequence[Entry], shares: Sequence[Share], seed: int) -> list[Entry]:
    """The usable ``entries`` of one class, each with its split (empty if no split takes it)."""
    sizes = split_sizes(shares, len(entries))
    _check_sizes(entries, shares, sizes)
    # Ranked by digest: no generator whose stream could change from version to version.
    ranked = sorted(
        entries, key=lambda entry: hashlib.sha256(f"{seed}/{entry.path}".encode()).digest()
    )
    names = [name for name, size in zip(SPLITS, sizes) for _ in range(size)]
    names += [""] * (len(entries) - len(names))
    return [replace(entry, split=name) for entry, name in zip(ranked, names)]


def _check_sizes(entries: Sequence[Entry], shares: Sequence[Share], sizes: Sequence[int]) -> None:
    taken = sum(size for size, share in zip(sizes, shares) if share is not None)
    short = [name for name, size, share in zip(SPLITS, sizes, shares) if share != 0 and size < 1]
    if taken <= len(entries) and not short:
        return
    asked = ", ".join(
        f"{name} {'the rest' if share is None else size}"
        for name, size, share in zip(SPLITS, sizes, shares)
    )
    lack = f"which leaves none for {short[0]}" if taken <= len(entries) else f"{taken} in all"
    raise ToolError(
        f"class {entries[0].class_name!r}: asked for {asked}, {lack}; found {len(entries)} "
        "readable images; add images or ask for fewer"
    )


def split_folder(source: Path, shares: Sequence[Share], seed: int) -> list[Entry]:
    """Every image of ``source``, by label and path, with its split or the reason it has none."""
    classes = find_classes(source)
    found = [e for label, name in enumerate(classes) for e in find_images(source, name, label)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        examined = list(pool.map(lambda entry: examine(source, entry), found))
    finished = []
    for _, group in groupby(examined, key=lambda entry: entry.label):
        finished += _split_class(list(group), shares, seed)
    return sorted(finished, key=lambda entry: (entry.label, entry.path))


def _split_class(entries: Sequence[Entry], shares: Sequence[Share], seed: int) -> list[Entry]:
    usable = [entry for entry in entries if not entry.dropped]
    if not usable:
        first = entries[0]
        raise ToolError(
            f"class {first.class_name!r}: none of its {len(entries)} images can be used; "
            f"{first.path!r} {first.dropped}"
        )
    return [entry for entry in entries if entry.dropped] + assign(usable, shares, seed)


# --- what is written --------------------------------------------------------------------


def manifest(entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
    """A row of :data:`HEADER` for each entry."""
    for e in entries:
        # A name that is not UTF-8 is shown by its bytes: it is only ever a dropped one.
        path = e.path.encode("utf-8", "backslashreplace").decode("utf-8")
        yield path, e.label, e.class_name, e.split, e.sha256, e.bytes, e.dropped


def summary(entries: Sequence[Entry], asked: dict[str, str], seed: int) -> dict[str, Any]:
    """Counts by split and class, and of what was dropped or left over."""
    counts = Counter((entry.split, entry.class_name) for entry in entries if not entry.dropped)
    classes = list(dict.fromkeys(entry.class_name for entry in entries))
    by_split = {split: {name: counts[split, name] for name in classes} for split in SPLITS}
    return {
        "asked": asked,
        "classes": classes,
        "counts": by_split,
        "dropped": sum(1 for entry in entries if entry.dropped),
        "images": sum(counts.values()),
        "seed": seed,
        "totals": {split: sum(by_split[split].values()) for split in SPLITS},
        "unused": sum(counts["", name] for name in classes),
    }


def write(entries: Sequence[Entry], facts: dict[str, Any], output: Path) -> None:
    """Write lists, classes and manifest to ``output``, then the summary."""
    last = output / "summary.json"
    if last.exists():
        last.unlink()
    for split in SPLITS:
        lines = [f"{entry.path} {entry.label}\n" for entry in entries if entry.split == split]
        write_text(output / f"{split}.txt", "".join(lines))
    write_text(output / "classes.txt", "".join(f"{name}\n" for name in facts["classes"]))
    write_csv(output / "manifest.csv", HEADER, manifest(entries))
    write_json(last, facts)


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.dataset --source DIR --output DIR --train S --val S --test S``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--output", type=Path, required=True, help="folder for the lists")
    for split in SPLITS:
        parser.add_argument(f"--{split}", required=True, metavar="N|FRACTION|rest")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    asked = {split: getattr(options, split) for split in SPLITS}
    shares = [parse_share(f"--{split}", text) for split, text in asked.items()]
    if shares.count(None) > 1:
        raise ToolError("--train, --val, --test: expected 'rest' for one of them at most")
    if lies_inside(options.output, options.source):
        raise ToolError(f"--output {options.output}: lies in the source folder; choose another")
    entries = split_folder(options.source, shares, options.seed)
    for entry in entries:
        if entry.dropped:
            LOG.warning("dropped: %r %s", entry.path, entry.dropped)
    facts = summary(entries, asked, options.seed)
    write(entries, facts, options.output)
    totals = ", ".join(f"{facts['totals'][split]} {split}" for split in SPLITS)
    LOG.info("%s: %d classes; %s", options.output, len(facts["classes"]), totals)
    return None


if __name__ == "__main__":
    run(main)
