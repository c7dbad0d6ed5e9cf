"""The rows of patch.json as a reader wants them: layer by layer, what went and what came.

Layers to which the same was done stand together, under one heading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_NAMES = 8

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Hunk:
    """What changed in one place or alike in several: (``-`` or ``+``, ``field: value``) pairs."""

    title: str
    lines: Sequence[tuple[str, str]]


def hunks(rows: Sequence[Row]) -> list[Hunk]:
    """The rows of patch.json by layer, in their order; the solver's are one hunk."""
    by_place: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        place = row["layer"] or ""
        if row["phase"]:
            place += f" ({row['phase']})"
        by_place.setdefault((row["file"], place), []).append(row)
    alike: dict[tuple[Any, ...], list[str]] = {}
    for (file, place), changes in by_place.items():
        alike.setdefault((file, *_lines(changes)), []).append(place)
    return [Hunk(_title(file, places), lines) for (file, *lines), places in alike.items()]


def kept_statistics(rows: Sequence[Row]) -> list[str]:
    """The BatchNorm layers that go on with the statistics that they have."""
    kept = [
        row["layer"]
        for row in rows
        if row["field"] == "batch_norm_param.use_global_stats" and row["after"] is True
    ]
    return list(dict.fromkeys(kept))


def _lines(changes: Sequence[Row]) -> list[tuple[str, str]]:
    return [
        (sign, f"{row['field']}: {_value(row[side])}")
        for row in changes
        for sign, side in (("-", "before"), ("+", "after"))
        if row[side] is not None
    ]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _title(file: str, places: Sequence[str]) -> str:
    if not any(places):
        return file
    named = ", ".join(places)
    if len(places) > _MOST_NAMES:
        named = f"{', '.join(places[:3])}, … {places[-1]} ({len(places)} layers)"
    return f"{file}: {named}"
