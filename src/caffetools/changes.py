"""What differs between two nets or two solvers, as a table that a report can show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from caffetools.prototxt import PHASES, in_phase

Row = dict[str, Any]


def net_changes(before: Any, after: Any, new_names: Mapping[str, str]) -> list[Row]:
    """A row for each field of a layer of ``after`` that differs from its layer in ``before``.

    Layers are matched by name, with ``new_names`` from the old name to the new one; of
    several with one name, the n-th with the n-th, or the last (a layer that was split in
    two has one origin). A row has ``layer`` and ``phase`` (None for a layer of both) as
    they are in ``after``, ``field`` (a path such as ``param[0].lr_mult``), ``before`` and
    ``after``; a value that is not written is None.
    """
    old_names = {new: old for old, new in new_names.items()}
    seen: dict[str, int] = {}
    rows = []
    for layer in after.layer:
        place = seen.get(layer.name, 0)
        seen[layer.name] = place + 1
        name = old_names.get(layer.name, layer.name)
        origins = [candidate for candidate in before.layer if candidate.name == name]
        origin = origins[min(place, len(origins) - 1)]
        where = {"layer": layer.name, "phase": _phase(layer)}
        rows += [{**where, **row} for row in field_changes(origin, layer)]
    return rows


def field_changes(before: Any, after: Any) -> list[Row]:
    """A row of ``field``, ``before`` and ``after`` for each field that differs."""
    old, new = dict(_fields(before)), dict(_fields(after))
    return [
        {"field": field, "before": old.get(field), "after": new.get(field)}
        for field in {**old, **new}
        if old.get(field) != new.get(field)
    ]


def _phase(layer: Any) -> Any:
    phases = [name for phase, name in PHASES.items() if in_phase(layer, phase)]
    return phases[0] if len(phases) == 1 else None


def _fields(message: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The path and the value of every scalar that is written in the message."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if hasattr(value, "extend"):
            items = [(f"{path}[{place}]", item) for place, item in enumerate(value)]
        else:
            items = [(path, value)]
        for item_path, item in items:
            if field.message_type is None:
                yield item_path, _readable(field, item)
            else:
                yield from _fields(item, f"{item_path}.")


def _readable(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        # The shortest digits that give the same float32, as in prototxt: 0.1 and not
        # 0.10000000149.
        return float(str(np.float32(value)))
    return value
