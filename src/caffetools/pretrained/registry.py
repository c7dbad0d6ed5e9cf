"""What is known of published models, and where each figure is from.

``registry.yaml``, beside this module, has one block a model. All fields stand in each
block; what no source was found for is null.

==============  ==================================================================
title           what the model is called
prototxt        where its own prototxt is published
urls            where the weights are, the authors' own place first, then mirrors
sha1, sha256    the weights' checksums
bytes           the weights' size
input           channels, height and width of the net's input
channel_order   of the images' channels: BGR or RGB
mean            what was subtracted from each channel, in that order
scale           what the rest was multiplied by
classes         how many outputs the heads have
heads           the layers whose outputs are the classes, the one that answers last
accuracy        top1 and top5, in percent, of ILSVRC 2012's 50,000 validation images by
                one crop of each, as the source measured it
license         what the weights may be used for
solver          fields of the published solver, or of what the paper says of it; then
                also batch_size, the images an iteration that its figures are for
sources         for each figure that is given, where it is from; mirrors are those
                of urls but the first, a scale of 1 is none; input, classes and heads
                are the prototxt's where there is one
==============  ==================================================================
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError
from caffetools.suggest import did_you_mean

FILE = Path(__file__).with_suffix(".yaml")

# What needs a source where it is given.
FIGURES = (
    *("urls", "sha1", "sha256", "bytes", "channel_order", "mean"),
    *("accuracy", "license", "solver"),
)
# What a net's own prototxt says of it.
OF_THE_PROTOTXT = ("input", "classes", "heads")
_DIGITS = {"sha1": 40, "sha256": 64}


@dataclass(frozen=True)
class Model:
    """One block of the registry; None is what is not known."""

    name: str
    title: str
    prototxt: Optional[str]
    urls: list[str]
    sha1: Optional[str]
    sha256: Optional[str]
    bytes: Optional[int]
    input: list[int]
    channel_order: Optional[str]
    mean: Optional[list[float]]
    scale: float
    classes: int
    heads: list[str]
    accuracy: Optional[dict[str, float]]
    license: Optional[str]
    solver: Optional[dict[str, Any]]
    sources: dict[str, str]

    @property
    def checksum(self) -> Optional[tuple[str, str]]:
        """The strongest checksum that is known: its algorithm's name in hashlib, and itself."""
        for algorithm in ("sha256", "sha1"):
            value = getattr(self, algorithm)
            if value is not None:
                return algorithm, value
        return None

    @property
    def held_against(self) -> dict[str, Any]:
        """What ``caffetools.fetch`` holds the weights against: checksum and size, where known."""
        size = {} if self.bytes is None else {"max_bytes": self.bytes}
        return {**dict([self.checksum] if self.checksum else []), **size}

    def source(self, field: str) -> Optional[str]:
        """Where a field's value is from; None for one that needs no source."""
        return self.sources.get(field, self.prototxt if field in OF_THE_PROTOTXT else None)


@functools.cache
def load(path: Path = FILE) -> Mapping[str, Model]:
    """All models of a registry file by name, in its order.

    Raises ToolError for a file that is no registry: an unknown or a missing field, a
    checksum that is none, a figure without a source.
    """
    import yaml

    try:
        blocks = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: no YAML: {error}") from error
    if not isinstance(blocks, dict):
        raise ToolError(f"{path}: expected a block for each model, found {blocks!r:.80}")
    return {name: _model(path, name, block) for name, block in blocks.items()}


def find(name: str) -> Model:
    """The model of that name. Raises ToolError, with a suggestion, where there is none."""
    models = load()
    if name not in models:
        raise ToolError(
            f"no published model is named {name!r}{did_you_mean(name, models)} "
            f"Known: {', '.join(models)}"
        )
    return models[name]


def _model(path: Path, name: Any, block: Any) -> Model:
    place = f"{path}: {name}"
    known = [field.name for field in fields(Model) if field.name != "name"]
    if not isinstance(block, dict):
        raise ToolError(f"{place}: expected the fields {', '.join(known)}, found {block!r:.80}")
    for key in block:
        if key not in known:
            raise ToolError(f"{place}: unknown field {key!r}{did_you_mean(str(key), known)}")
    missing = [key for key in known if key not in block]
    if missing:
        raise ToolError(f"{place}: no {', '.join(missing)}; what is not known is told by null")
    for key, (fits, expected) in _KINDS.items():
        if not fits(block[key]):
            raise ToolError(f"{place}: {key} is {block[key]!r}; expected {expected}")
    _require_sources(place, block)
    return Model(name=str(name), **block)


def _require_sources(place: str, block: Any) -> None:
    given = [key for key in FIGURES if block[key]]
    given += ["mirrors"] if len(block["urls"]) > 1 else []
    given += ["scale"] if block["scale"] != 1 else []
    given += OF_THE_PROTOTXT if block["prototxt"] is None else []
    sources = block["sources"]
    for key in given:
        if key not in sources:
            raise ToolError(f"{place}: no source is told for {key}; a figure without one is null")
    for key in sources:
        if key not in given:
            raise ToolError(f"{place}: a source is told for {key}, which is not given")


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and re.match(r"https?://[^\s/]", value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are(each: Any, value: Any, count: Optional[int] = None) -> bool:
    return isinstance(value, list) and all(map(each, value)) and len(value) == (count or len(value))


def _is_checksum(digits: int) -> Any:
    return lambda value: (
        value is None
        or (isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None)
    )


def _is_accuracy(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) == {"top1", "top5"}
        and all(_is_number(each) and 0 < each < 100 for each in value.values())
    )


_KINDS = {
    "title": (_is_text, "a string"),
    "prototxt": (lambda value: value is None or _is_url(value), "an http or https address or null"),
    "urls": (lambda value: _are(_is_url, value), "a list of http or https addresses"),
    **{
        name: (_is_checksum(digits), f"{digits} hexadecimal digits in small letters, or null")
        for name, digits in _DIGITS.items()
    },
    "bytes": (lambda value: value is None or _is_count(value), "an integer or null"),
    "input": (lambda value: _are(_is_count, value, 3), "channels, height and width"),
    "channel_order": (lambda value: value in ("BGR", "RGB", None), "BGR, RGB or null"),
    "mean": (lambda value: value is None or _are(_is_number, value, 3), "three numbers or null"),
    "scale": (_is_number, "a number"),
    "classes": (_is_count, "an integer of at least 1"),
    "heads": (lambda value: value != [] and _are(_is_text, value), "a list of names"),
    "accuracy": (_is_accuracy, "top1 and top5 in percent, or null"),
    "license": (lambda value: value is None or _is_text(value), "a string or null"),
    "solver": (lambda value: value is None or isinstance(value, dict), "fields or null"),
    "sources": (
        lambda value: isinstance(value, dict) and all(map(_is_url, value.values())),
        "an address by field",
    ),
}
