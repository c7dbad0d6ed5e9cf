"""Telling layers by name or by pattern, with ``*``, ``?`` and ``[...]`` as in file names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from caffetools.cli import ToolError


def matching(
    key: str, patterns: Iterable[str], names: Iterable[str], why_not: Callable[[str], str]
) -> dict[str, list[str]]:
    """The names that match each pattern, in their order.

    Raises ToolError where none does, naming the setting ``key``, the reason that
    ``why_not(pattern)`` gives, and the ``names``.
    """
    known = list(dict.fromkeys(names))
    found = {}
    for pattern in patterns:
        # A name may hold a glob's characters, so it counts as a name first.
        named = [pattern] if pattern in known else []
        found[pattern] = named or [name for name in known if fnmatchcase(name, pattern)]
        if not found[pattern]:
            raise ToolError(
                f"{key}: {pattern!r} {why_not(pattern)}. "
                f"What it can be: {', '.join(known) or 'no layer of this net'}"
            )
    return found


def values_by_name(
    key: str, values: Mapping[str, Any], names: Iterable[str], why_not: Callable[[str], str]
) -> dict[str, Any]:
    """The value for each name that a pattern of ``values`` matches.

    A value told by name goes before one by pattern; two patterns must not differ on a name.
    """
    told: dict[str, str] = {}
    for pattern, matched in matching(key, values, names, why_not).items():
        for name in matched:
            other = told.get(name, pattern)
            if name not in (pattern, other) and values[other] != values[pattern]:
                raise ToolError(
                    f"{key}: {other!r} and {pattern!r} both match {name!r} and differ; "
                    f"name {name!r} itself as well, or narrow one of them"
                )
            told[name] = name if name in values else pattern
    return {name: values[pattern] for name, pattern in told.items()}
