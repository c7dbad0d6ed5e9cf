"""Read annotations of boxes, check them, and split their images into train, val and test.

``--format`` is voc (XML files), coco (JSON), yolo (text files) or csv (a table
``path,class,x1,y1,x2,y2``); what each expects in ``--source`` its module tells. Writes to
``--output``:

``manifest.jsonl``   every image found, with the boxes of it that can be used
``classes.txt``      ``__background__``, then a class a line: the line number, from 0, is its number
``findings.csv``     level, check, place (file:line), found, fix (caffetools.detection.lint)
``duplicates.csv``   images that lie in more than one split, as caffetools.dataset finds them
``summary.json``     counts, and digests of what was read; written last

Classes are those of ``--classes``, or all that occur, sorted. An error leaves a box, or an image,
out, unless ``--strict`` ends the run. Nothing read is kept for a later run: who keeps what follows
from annotations goes by ``inputs`` in the summary, which changes with each byte of them.

``--train``, ``--val`` and ``--test`` each take a number of images (``10``), a fraction of all
(``0.2``), or ``rest``. Splits that the annotations give stay (one split of all images is none);
without amounts, nothing is taken from these, and of images without splits a tenth is val, and a
tenth test. ``--folds K --fold I`` divides all images into K parts, of which this one, from 0, is
the test; val is taken from the others.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools.ahead import ahead
from caffetools.cli import ToolError, run
from caffetools.dataset import duplicates, split_options, splits
from caffetools.dataset.entry import SPLITS, Entry
from caffetools.dataset.examine import SIDE
from caffetools.detection import boxes_csv, coco, lint, manifest, voc, yolo
from caffetools.detection.annotated import Annotated, Annotations, relative
from caffetools.detection.class_names import told_classes
from caffetools.detection.look import ANY, Look, Seen, see
from caffetools.detection.manifest import BACKGROUND, Picture
from caffetools.files import sha256, write_csv, write_json, write_text
from caffetools.folders import lies_inside
from caffetools.images import MAX_PIXELS
from caffetools.preflight.finding import ERROR, WARNING, Finding, sort

LOG = logging.getLogger("caffetools.detection.dataset")

FORMATS = ("voc", "coco", "yolo", "csv")
FIRST_PIXEL = {"voc": 1, "csv": 0}  # where it is open what the first pixel is called
COLUMNS = ("level", "check", "place", "found", "fix")
USUAL = ("rest", "0.1", "0.1")  # of splits that nobody told
ASKED = (
    *SPLITS, "folds", "fold", "ignore_splits", "group", "first_pixel", "clip", "keep_empty",
    "max_pixels",
)  # fmt: skip
TOLD = 3  # findings of a check that the log names


def read(options: argparse.Namespace) -> Annotations:
    """The annotations, as the format's module reads them."""
    source, named = options.source, options.annotations or []
    if not source.is_dir():
        found = "a file" if source.exists() else "nothing"
        raise ToolError(f"--source {source}: expected a folder of images, found {found}")
    if options.format == "coco":
        return coco.read(source, named)
    if len(named) > 1:
        raise ToolError(f"--annotations: expected one file or folder, found {len(named)}")
    one = named[0] if named else None
    if options.format == "yolo":
        return yolo.read(source, one)
    reader = voc.read if options.format == "voc" else boxes_csv.read
    return reader(source, one, _first_pixel(options))


def _first_pixel(options: argparse.Namespace) -> int:
    told = options.first_pixel
    return FIRST_PIXEL[options.format] if told is None else told


def once(images: Iterable[Annotated]) -> tuple[list[Annotated], list[Finding]]:
    """The images, each once, and those that were annotated several times."""
    kept: dict[str, Annotated] = {}
    findings = []
    for image in images:
        first = kept.setdefault(image.path, image)
        if first is not image:
            place = image.source or image.path
            found = f"{image.path[:200]!r} is annotated by {first.source} too, which is taken"
            findings.append(Finding(ERROR, "twice", place, found, "remove one of the two"))
    return list(kept.values()), findings


def judged(
    images: Sequence[Annotated],
    seen: Sequence[Seen],
    classes: Optional[Sequence[str]],
    options: argparse.Namespace,
) -> tuple[list[Picture], list[Finding]]:
    """A picture an image, not yet in a split that nobody gave, and what was found."""
    pictures: list[Picture] = []
    findings: list[Finding] = []
    signs: Counter[str] = Counter()
    for image, (entry, _, look) in zip(images, seen):
        done = lint.Judged(dropped=entry.dropped)
        if look is not None:
            done = lint.judge(image, look, classes, options.clip)
            findings += done.findings
            signs.update(done.signs)
        elif not image.dropped:
            found = f"{image.path[:200]!r} {entry.dropped}"
            fix = "mend it, or take it out"
            findings.append(Finding(ERROR, "image", image.source or image.path, found, fix))
        dropped = done.dropped
        if not dropped and not done.boxes and not options.keep_empty:
            dropped = "has no boxes"
        pictures.append(_picture(image, entry, done.boxes, look)._replace(dropped=dropped))
    known = _first_pixel(options) if options.format in FIRST_PIXEL else None
    findings += lint.counting(signs, f"{options.format} annotations", known)
    return pictures, findings


def _picture(
    image: Annotated, entry: Entry, boxes: tuple[manifest.Box, ...], look: Optional[Look]
) -> Picture:
    size = (look.width, look.height) if look else (0, 0)
    known = (*size, entry.bytes, entry.sha256)
    return Picture(image.path, boxes, entry.split, entry.group, *known, image.source)


def divided(
    pictures: Sequence[Picture], options: argparse.Namespace, has_splits: bool
) -> list[Picture]:
    """The pictures, each that can be used with its split."""
    asked = split_options.asked(options, ("rest", "0", "0") if has_splits else USUAL)
    usable = [i for i, picture in enumerate(pictures) if not picture.dropped]
    if not usable:
        first = pictures[0]
        raise ToolError(
            f"none of {len(pictures)} images can be used; the first, {first.path[:200]!r}, "
            f"{first.dropped}"
        )
    done = [picture._replace(split="") if picture.dropped else picture for picture in pictures]
    for i, entry in zip(usable, splits.split([_entry(done[i]) for i in usable], asked)):
        done[i] = done[i]._replace(split=entry.split)
    return done


def _entry(picture: Picture) -> Entry:
    return Entry(picture.path, 0, ANY, picture.split, picture.group, picture.sha256, picture.bytes)


def digest(parts: Iterable[tuple[str, str]]) -> str:
    """One digest of files by their names and their own digests, in any order."""
    lines = sorted(f"{name}\0{each}\n".encode("utf-8", "surrogatepass") for name, each in parts)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def summary(
    pictures: Sequence[Picture], classes: Sequence[str], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Counts by split, class and check."""
    used = [picture for picture in pictures if not picture.dropped]
    boxes = [(picture.split, box) for picture in used for box in picture.boxes]
    counts = Counter((split, box.class_name) for split, box in boxes)
    return {
        "boxes": {split: {name: counts[split, name] for name in classes} for split in SPLITS},
        "classes": list(classes),
        "crowds": sum(box.crowd for _, box in boxes),
        "difficult": sum(box.difficult for _, box in boxes),
        "dropped": len(pictures) - len(used),
        "findings": dict(Counter(f"{one.level}: {one.check}" for one in findings)),
        "groups": len({picture.group for picture in used if picture.group}),
        "images": {split: sum(one.split == split for one in used) for split in SPLITS},
        "unused": sum(not one.split for one in used),
        "without_boxes": sum(not one.boxes for one in used),
    }


def _shown(text: str) -> str:
    """``text`` as UTF-8 can hold it: file names need not be UTF-8, nor JSON's strings."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _writable(picture: Picture) -> Picture:
    boxes = tuple(box._replace(source=_shown(box.source)) for box in picture.boxes)
    path, group = _shown(picture.path), _shown(picture.group)
    return picture._replace(boxes=boxes, path=path, group=group, source=_shown(picture.source))


def write(
    output: Path,
    pictures: Sequence[Picture],
    findings: Sequence[Finding],
    pairs: Iterable[tuple[object, ...]],
    facts: dict[str, Any],
) -> None:
    """Write all files, the summary last."""
    last = output / "summary.json"
    if last.exists():
        last.unlink()
    manifest.write(output / "manifest.jsonl", map(_writable, pictures))
    names = [BACKGROUND, *facts["classes"]]
    write_text(output / "classes.txt", "".join(f"{name}\n" for name in names))
    rows = ([_shown(getattr(one, name)) for name in COLUMNS] for one in findings)
    write_csv(output / "findings.csv", COLUMNS, rows)
    write_csv(output / "duplicates.csv", duplicates.HEADER, pairs)
    write_json(last, facts)


def _tell(findings: Sequence[Finding]) -> None:
    """The first few findings of each check, and how many there are."""
    counts = Counter((one.level, one.check) for one in findings)
    told: Counter[tuple[str, str]] = Counter()
    for one in findings:
        key = (one.level, one.check)
        told[key] += 1
        if told[key] <= TOLD:
            LOG.warning("%s", _shown(str(one)))
    for (level, check), count in counts.items():
        if count > TOLD:
            LOG.warning("%s: %d in all [%s]; see findings.csv", level, count, check)


def _crossing(entries: Sequence[Entry], pairs: Sequence[duplicates.Pair]) -> list[Finding]:
    found = []
    for pair in pairs:
        one, other = entries[pair.one], entries[pair.other]
        told = f"is in {one.split}, and in {other.split} as {other.path!r} ({pair.kind})"
        fix = "take one out, or give both one group"
        found.append(Finding(WARNING, "duplicate", one.path, told, fix))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--format", required=True, choices=FORMATS)
    add("--source", type=Path, required=True, help="folder of images and annotations")
    add("--annotations", type=Path, nargs="+", help="files, or VOC's folder, if not found there")
    add("--output", type=Path, required=True)
    add("--classes", type=Path, metavar="FILE", help="the classes, a line each")
    split_options.add_to(parser, required=False)
    add("--first-pixel", type=int, choices=(0, 1), help="of voc (1) and csv (0)")
    add("--clip", action="store_true", help="clip boxes that reach over the border")
    add("--keep-empty", action="store_true", help="keep images without boxes")
    add("--strict", action="store_true", help="an error ends the run")
    add("--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="leave out larger images")
    return parser


def main(arguments: Sequence[str]) -> None:
    """``python -m caffetools.detection.dataset --format F --source DIR --output DIR``."""
    options = _parser().parse_args(arguments)
    if options.first_pixel is not None and options.format not in FIRST_PIXEL:
        raise ToolError(f"--first-pixel: of voc and csv alone; {options.format} counts from 0")
    if lies_inside(options.output, options.source):
        raise ToolError(f"--output {options.output}: lies in the source folder; choose another")
    told = read(options)
    classes = told_classes(options.classes) if options.classes else None
    images, findings = once(told.images)
    if not images:
        raise ToolError(f"{options.source}: expected annotated images, found none")
    images = _grouped(images, options)
    seen = list(ahead(lambda one: see(options.source, one, options.max_pixels), images))
    pictures, judgements = judged(images, seen, classes, options)
    findings = [*told.findings, *findings, *judgements]
    _stop_if_strict(findings, options.strict)
    pictures = divided(pictures, options, any(image.split for image in images))
    classes = _occurring(pictures) if classes is None else classes
    used = [i for i, picture in enumerate(pictures) if not picture.dropped]
    entries = [_entry(pictures[i]) for i in used]
    smalls = np.array([seen[i].small for i in used], np.uint8).reshape(-1, SIDE * SIDE)
    pairs = duplicates.find(entries, smalls)
    by_split = {
        split: {b.class_name for p in pictures if p.split == split for b in p.boxes}
        for split in ("", *SPLITS)
    }
    known = classes if options.classes else sorted({*classes, *(told.names or ())})
    findings += lint.class_gaps(by_split, known, f"{options.format} annotations")
    findings = sort([*findings, *_crossing(entries, pairs)], ())
    facts = {
        **summary(pictures, classes, findings),
        "asked": {name: getattr(options, name) for name in ASKED},
        "duplicates": duplicates.summary(entries, pairs)["across_splits"],
        "format": options.format,
        "given": [name for name in SPLITS if any(image.split == name for image in images)],
        "inputs": _inputs(told.files, pictures, options),
        "seed": options.seed,
    }
    write(options.output, pictures, findings, duplicates.rows(entries, pairs), facts)
    _tell(findings)
    counts = ", ".join(f"{facts['images'][split]} {split}" for split in SPLITS)
    LOG.info("%s: %d classes; images: %s", options.output, len(classes), counts)


def _grouped(images: Sequence[Annotated], options: argparse.Namespace) -> list[Annotated]:
    """The images, with splits and groups as the options say."""
    tells_none = options.ignore_splits or len({one.split for one in images}) == 1
    kept = [one._replace(split="") if tells_none else one for one in images]
    if options.group is None:
        return kept
    entries = splits.grouped([Entry(one.path, 0, ANY) for one in kept], options.group)
    return [one._replace(group=entry.group) for one, entry in zip(kept, entries)]


def _stop_if_strict(findings: Sequence[Finding], strict: bool) -> None:
    errors = [one for one in findings if one.level == ERROR]
    if errors and strict:
        _tell(findings)
        raise ToolError(
            f"{len(errors)} errors in the annotations, and --strict allows none; the first is "
            f"{_shown(str(errors[0]))}"
        )


def _occurring(pictures: Sequence[Picture]) -> list[str]:
    names = sorted({box.class_name for picture in pictures for box in picture.boxes})
    if not names:
        raise ToolError("no box can be used, so that there is no class; see the findings above")
    return names


def _inputs(
    files: Sequence[Path], pictures: Sequence[Picture], options: argparse.Namespace
) -> dict[str, str]:
    """Digests of the annotations and of the images: who keeps what follows from them goes by it."""
    listed = [*files, *([options.classes] if options.classes else [])]
    of_files = [(relative(path, options.source), sha256(path)) for path in listed]
    return {
        "annotations": digest(of_files),
        "images": digest((picture.path, picture.sha256) for picture in pictures),
    }


if __name__ == "__main__":
    run(main)
