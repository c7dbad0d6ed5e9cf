"""Parquet as Hugging Face's hub has data sets of images: whole files in a column of bytes.

A shard is called ``SPLIT-00000-of-00002.parquet``, or lies in a folder of the split's name. The
column of images is a struct of ``bytes`` and ``path``, or of bytes alone; that of labels is of
whole numbers. Which columns these are, and the classes' names, stand in the schema's metadata
under ``huggingface``, as JSON: features of the type Image and ClassLabel.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.compressed import RATIO, allowance
from caffetools.stored_images.store import SPLITS, Picture, Stored, ending

_SHARD = re.compile(r"(?:(.*)[-_.])?(\d{5,})-of-(\d{5,})")
_LABELS_AT_ONCE = 4096  # rows
# A few bytes may hold a large image for many rows, and each row that is read has a copy of it.
_IMAGES_AT_ONCE = 1


@dataclass(frozen=True)
class Columns:
    """Which columns are read, and the names of the classes where the metadata tells them."""

    image: str
    label: str
    names: Optional[list[str]]


def read(
    source: Path,
    image: Optional[str],
    label: Optional[str],
    names: Optional[list[str]],
    place: str,
) -> Stored:
    """What is in the Parquet files of the folder ``source`` and of those in it.

    ``image`` and ``label`` name the columns where the metadata does not. Raises
    :class:`ToolError` where pyarrow or a shard is missing, or a file is damaged or of another form.
    """
    pyarrow = _pyarrow()
    shards = find(source)
    first = shards[0][1]
    chosen: Optional[Columns] = None
    found: set[int] = set()
    for _, path in shards:
        file = _open(pyarrow, path)
        columns = _columns(path, file.schema_arrow, image, label)
        chosen = chosen or columns
        if columns != chosen:
            raise ToolError(f"{path}: has other columns or classes than {first}")
        found |= _labels(pyarrow, path, file, columns.label)
    assert chosen is not None
    if names is None:
        names, place = chosen.names, f"{first}, its classes"
    return Stored(frozenset(found), names, place, _pictures(pyarrow, shards, chosen))


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ToolError(
            "reading Parquet needs pyarrow, which is not installed; pip install pyarrow"
        ) from error
    return pyarrow


# --- the files --------------------------------------------------------------------------


def find(source: Path) -> list[tuple[str, Path]]:
    """The split (empty where no name tells it) and path of each shard, in order of both."""
    paths = [
        path
        for path in sorted(source.rglob("*.parquet"))
        if not any(part.startswith(".") for part in path.relative_to(source).parts)
    ]
    if not paths:
        raise ToolError(f"{source}: expected files that end in .parquet, found none")
    _require_all_shards(paths)
    order = ("train", "val", "test", "")
    return sorted(
        ((_split(path, source), path) for path in paths),
        key=lambda shard: (order.index(shard[0]), shard[1]),
    )


def _require_all_shards(paths: Sequence[Path]) -> None:
    numbers: dict[tuple[Path, str, int], set[int]] = defaultdict(set)
    for path in paths:
        match = _SHARD.fullmatch(path.stem)
        if match:
            numbers[path.parent, match[1] or "", int(match[3])].add(int(match[2]))
    for (folder, name, count), found in numbers.items():
        if len(found) != count:
            raise ToolError(
                f"{folder}: expected {count} shards of {name!r}, found {len(found)}; bring the rest"
            )


def _split(path: Path, source: Path) -> str:
    """What the file's name tells, or else the nearest folder that is called as a split."""
    match = _SHARD.fullmatch(path.stem)
    words = re.split("[-_.]", (match[1] or "") if match else path.stem)
    folders = path.relative_to(source).parts[-2::-1]
    for word in (words[0], words[-1], *folders):
        if word.lower() in SPLITS:
            return SPLITS[word.lower()]
    return ""


def _open(pyarrow: Any, path: Path) -> Any:
    """The file, whose schema can be read."""
    try:
        file = pyarrow.parquet.ParquetFile(str(path), pre_buffer=False, buffer_size=1 << 16)
        file.schema_arrow  # noqa: B018
        return file
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ToolError:
    return ToolError(f"{path}: cannot be read as Parquet: {error}; bring it anew")


# --- the columns ------------------------------------------------------------------------


def _columns(path: Path, schema: Any, image: Optional[str], label: Optional[str]) -> Columns:
    features = _features(schema.metadata)
    image = image or _only(path, schema, features, "Image", "image")
    label = label or _only(path, schema, features, "ClassLabel", "label")
    for name in (image, label):
        if schema.names.count(name) != 1:
            raise ToolError(
                f"{path}: expected a column {name!r}, found {', '.join(map(repr, schema.names))}"
            )
    names = features.get(label, {}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = None
    return Columns(image, label, names)


def _features(metadata: Any) -> dict[str, dict[str, Any]]:
    """What the hub's own metadata tells of the columns; nothing where there is none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {str(key): value for key, value in features.items() if isinstance(value, dict)}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def _only(
    path: Path, schema: Any, features: dict[str, dict[str, Any]], kind: str, option: str
) -> str:
    """The one column of a kind, or the one of the option's own name where none is told."""
    found = [name for name, feature in features.items() if feature.get("_type") == kind]
    if not found and option in schema.names:
        return option
    if len(found) != 1:
        raise ToolError(
            f"{path}: expected one column of the type {kind}, found "
            f"{', '.join(map(repr, found)) or 'none'} of the columns "
            f"{', '.join(map(repr, schema.names))}; name it by --{option}"
        )
    return found[0]


# --- the rows ---------------------------------------------------------------------------


def _rows(
    pyarrow: Any, path: Path, file: Any, columns: list[str], at_once: int
) -> Iterator[tuple[Any, ...]]:
    """Each row's values in ``columns``."""
    batches = file.iter_batches(at_once, columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
            values = batch and [batch.column(name).to_pylist() for name in columns]
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
            raise _damaged(path, error) from error
        if values is None:
            return
        yield from zip(*values)


def _labels(pyarrow: Any, path: Path, file: Any, column: str) -> set[int]:
    found: set[int] = set()
    for number, (label,) in enumerate(_rows(pyarrow, path, file, [column], _LABELS_AT_ONCE)):
        if not isinstance(label, int) or isinstance(label, bool) or label < 0:
            raise ToolError(
                f"{path}: row {number} has the label {label!r} in {column!r}, expected a whole "
                "number of 0 or more"
            )
        found.add(label)
    return found


def _pictures(
    pyarrow: Any, shards: Sequence[tuple[str, Path]], columns: Columns
) -> Iterator[Picture]:
    numbers: dict[str, int] = defaultdict(int)
    for split, path in shards:
        left = allowance(path)
        wanted = [columns.image, columns.label]
        rows = _rows(pyarrow, path, _open(pyarrow, path), wanted, _IMAGES_AT_ONCE)
        for number, (image, label) in enumerate(rows):
            content = _content(path, number, image)
            left -= len(content)
            if left < 0:
                raise ToolError(f"{path}: unpacks to more than {RATIO} times its own size")
            yield Picture(split, numbers[split], label, content, ending(content))
            numbers[split] += 1


def _content(path: Path, number: int, image: Any) -> bytes:
    found = image.get("bytes") if isinstance(image, dict) else image
    if isinstance(found, bytes):
        return found
    where = image.get("path") if isinstance(image, dict) else None
    raise ToolError(
        f"{path}: row {number} holds no bytes of an image, only {where!r} as its path; expected "
        "images in the file itself"
        if where
        else f"{path}: row {number} holds no bytes of an image, found {type(found).__name__}"
    )
