"""Checking a configuration against its schema, with suggestions for misspelt keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import jsonschema
import yaml
from referencing import Registry, Resource

from caffetools.cli import ToolError


def check_config(config: Mapping[str, Any], schema_file: Path) -> None:
    """Raise a ToolError that names every place where ``config`` is not as the schema says."""
    schema = yaml.safe_load(schema_file.read_text(encoding="utf-8"))
    schema["$id"] = schema_file.resolve().as_uri()
    registry: Any = Registry(retrieve=_beside)  # type: ignore[call-arg]
    errors = jsonschema.Draft202012Validator(schema, registry=registry).iter_errors(config)
    found = [line for error in sorted(errors, key=_rank) for line in _lines(error)]
    if found:
        raise ToolError("the configuration is not as its schema says:\n  " + "\n  ".join(found))


def _beside(uri: str) -> Any:
    """Another schema's file, which a schema refers to."""
    path = Path(url2pathname(urlsplit(uri).path))
    return Resource.from_contents(yaml.safe_load(path.read_text(encoding="utf-8")))


def typed(value: Any) -> Any:
    """A value of ``--config`` with numbers, truth values and null as YAML reads them.

    Snakemake leaves those within lists and objects as text, so that ``seeds=[0]`` would be the
    seed ``"0"``.
    """
    if isinstance(value, Mapping):
        return {key: typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if read is None or isinstance(read, (bool, int, float)) else value


def _rank(error: jsonschema.ValidationError) -> tuple[list[str], str]:
    return list(map(str, error.absolute_path)), error.message


def _lines(error: jsonschema.ValidationError) -> Iterator[str]:
    place = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator in ("anyOf", "oneOf"):
        yield f"{place}: {_forms(error)}"
        return
    schema: Any = error.schema
    if error.validator != "additionalProperties" or not isinstance(error.instance, Mapping):
        yield f"{place}: {error.message}"
        return
    known = list(schema.get("properties", {}))
    for key in error.instance:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
            yield f"{place}: unknown key '{key}'; {hint}"


def _forms(error: jsonschema.ValidationError) -> str:
    """Of several allowed forms, what their description says beside what was found."""
    given: Any = error.instance
    found = repr(given)
    if isinstance(given, Mapping):
        found = f"the keys {', '.join(map(str, given))}" if given else "no key"
    schema: Any = error.schema
    return f"found {found}; expected {schema['description']}"
