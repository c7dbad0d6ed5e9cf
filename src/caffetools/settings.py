"""The settings of a patch: a closed set of keys, checked before anything is done.

==================  ============================================================
head                the layer to replace, or a list; with it new_head and classes
new_head            its new name, under which it takes no weights, or a list likewise
classes             its number of outputs
head_lr_mult        lr_mult of its weight, or an object by head; unless given, it stays
head_bias_lr_mult   likewise of its bias; unless given, twice head_lr_mult
freeze              list of layers that are not to learn, by name or pattern
freeze_up_to        a layer that is not to learn, with all that it depends on
batch_norm          whose statistics stay: follow (frozen layers'), freeze (all), update (no one's)
lr_mult             object of multipliers by layer or pattern; a list tells each blob's
decay_mult          likewise
train_source        LMDB of the TRAIN phase
val_source          LMDB of the TEST phase
mean_file           mean to subtract; null removes the net's own
mean_value          list of values to subtract instead, one or one a channel
crop_size           what is cut out of an image; 0 is all of it
mirror              whether the TRAIN phase mirrors every second image, at random
shuffle             whether the TRAIN phase reads in a new order each turn (Recaffe's own)
augmentation        object of fields of AugmentationParameter (Recaffe's own), for the TRAIN phase
dropout             object of ratios by layer or pattern, for the Dropout layers there are
batch_size          object of train, val, and effective: then iter_size makes as many
input_shape         channels, height, width of the images in the LMDBs
solver              object of fields of SolverParameter; null removes one; what counts
                    iterations may be {"epochs": number or list}
==================  ============================================================

A key that is absent, or null where null has no meaning above, leaves the net as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caffetools.cli import ToolError
from caffetools.suggest import did_you_mean

Settings = dict[str, Any]

STATISTICS = ("follow", "freeze", "update")


def read_settings(
    argument: str, complete: Callable[[Settings], Settings] = lambda settings: settings
) -> Settings:
    """The settings in ``argument``: a JSON object, or ``@file`` with one in it.

    ``complete`` may add what was left out, once the given ones are found to be of their kinds.
    """
    place = argument[1:] if argument.startswith("@") else "--settings"
    text = Path(place).read_text(encoding="utf-8") if argument.startswith("@") else argument
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ToolError(
            f"{place}:{error.lineno}:{error.colno}: {error.msg}; expected a JSON object, "
            "or @ and the name of a file with one"
        ) from error
    if not isinstance(given, dict):
        raise ToolError(f"{place}: expected a JSON object, found {given!r}")
    return check_settings(given, complete)


def check_settings(
    given: Settings, complete: Callable[[Settings], Settings] = lambda settings: settings
) -> Settings:
    """The settings that are given, without those that are null (a null mean_file stays).

    Raises ToolError for an unknown key, a value of another kind than the key's, and a
    head that is told in part.
    """
    _require_known("", given, _KINDS)
    settings = {
        key: value for key, value in given.items() if value is not None or key == "mean_file"
    }
    for key, value in settings.items():
        _require_kind(key, value, _KINDS[key])
    if "batch_size" in settings:
        _require_known("batch_size.", settings["batch_size"], ("train", "val", "effective"))
        sizes = {key: size for key, size in settings["batch_size"].items() if size is not None}
        for key, size in sizes.items():
            _require_kind(f"batch_size.{key}", size, _COUNT)
        settings["batch_size"] = sizes
    settings = complete(settings)
    _require_whole_head(settings)
    _require_heads_match(settings)
    if settings.get("mean_file") is not None and "mean_value" in settings:
        raise ToolError("settings: mean_file and mean_value; Caffe subtracts one of them")
    return settings


def new_heads(settings: Settings) -> dict[str, str]:
    """The new name of each head that is replaced, by its published name."""
    return dict(zip(_listed(settings.get("head", [])), _listed(settings.get("new_head", []))))


def of_head(settings: Settings, key: str, head: str) -> Any:
    """The value for ``head`` of a setting that is one for all heads or an object by head."""
    value = settings.get(key)
    return value.get(head) if isinstance(value, dict) else value


def parse_shape(text: str) -> list[int]:
    """``"3,227,227"`` as [3, 227, 227]: channels, height, width."""
    try:
        shape = [int(part) for part in text.split(",")]
    except ValueError:
        shape = []
    _require_kind("--input-shape", shape or text, _SHAPE)
    return shape


def _require_known(prefix: str, given: Any, known: Any) -> None:
    for key in given:
        if key not in known:
            raise ToolError(
                f"settings: unknown key {prefix + key!r}{did_you_mean(key, known)} "
                f"Known: {', '.join(prefix + name for name in known)}"
            )


def _require_whole_head(settings: Settings) -> None:
    together = ("head", "new_head", "classes")
    given = [key for key in together if key in settings]
    if given and len(given) < len(together):
        missing = [key for key in together if key not in settings]
        raise ToolError(
            f"settings: {', '.join(given)} without {', '.join(missing)}; a new head needs "
            f"{', '.join(together)}, and a net that keeps its own needs none of them"
        )
    multipliers = [key for key in ("head_lr_mult", "head_bias_lr_mult") if key in settings]
    if multipliers and not given:
        raise ToolError(f"settings: {multipliers[0]} without head; name the head that it is for")


def _require_heads_match(settings: Settings) -> None:
    heads, names = (_listed(settings.get(key, [])) for key in ("head", "new_head"))
    if len(heads) != len(names):
        raise ToolError(
            f"settings: {len(heads)} in head ({', '.join(heads)}) but {len(names)} in new_head "
            f"({', '.join(names)}); expected a new name for each"
        )
    for key in ("head_lr_mult", "head_bias_lr_mult"):
        if isinstance(settings.get(key), dict):
            _require_known(f"{key}.", settings[key], heads)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# --- kinds of values ------------------------------------------------------------------

_Kind = tuple[Callable[[Any], bool], str]


def _require_kind(key: str, value: Any, kind: _Kind) -> None:
    fits, expected = kind
    if not fits(value):
        raise ToolError(f"settings: {key} is {value!r}; expected {expected}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_zero(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value == 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_multiplier(value: Any) -> bool:
    return _is_number(value) and bool(value >= 0)


def _is_ratio(value: Any) -> bool:
    return _is_multiplier(value) and bool(value < 1)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_name, value))


def _is_multiplier_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_multiplier, value.values()))


def _are_multipliers(value: Any) -> bool:
    values = value if isinstance(value, list) and value else [value]
    return all(map(_is_multiplier, values))


_COUNT: _Kind = (_is_count, "an integer of at least 1")
_MULTIPLIER: _Kind = (_is_multiplier, "a number of at least 0 (in YAML 1.0e-3, not 1e-3)")
_HEAD_MULTIPLIER: _Kind = (
    lambda value: _is_multiplier(value) or _is_multiplier_by_name(value),
    f"{_MULTIPLIER[1]}, or an object of such by head",
)
_SWITCH: _Kind = (lambda value: isinstance(value, bool), "true or false")
_NAME: _Kind = (_is_name, "a string that is not empty")
_HEADS: _Kind = (
    lambda value: _is_name(value) or (_is_names(value) and len(set(value)) == len(value)),
    "a string that is not empty, or a list of different ones",
)
_MULTIPLIERS: _Kind = (
    lambda value: isinstance(value, dict) and all(map(_are_multipliers, value.values())),
    "an object of numbers of at least 0, or lists of such, by layer or pattern",
)
_SHAPE: _Kind = (
    lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_count, value)),
    "three integers of at least 1: channels, height, width",
)

_KINDS: dict[str, _Kind] = {
    "classes": _COUNT,
    "head": _HEADS,
    "new_head": _HEADS,
    "head_lr_mult": _HEAD_MULTIPLIER,
    "head_bias_lr_mult": _HEAD_MULTIPLIER,
    "freeze": (
        lambda value: isinstance(value, list) and all(map(_is_name, value)),
        "a list of layer names or patterns",
    ),
    "freeze_up_to": _NAME,
    "batch_norm": (
        lambda value: value in STATISTICS,
        f"one of {', '.join(STATISTICS)}",
    ),
    "lr_mult": _MULTIPLIERS,
    "decay_mult": _MULTIPLIERS,
    "train_source": _NAME,
    "val_source": _NAME,
    "mean_file": (lambda value: value is None or _is_name(value), "a path or null"),
    "mean_value": (
        lambda value: isinstance(value, list) and bool(value) and all(map(_is_number, value)),
        "a list of numbers",
    ),
    "crop_size": (lambda value: _is_count(value) or _is_zero(value), "an integer of at least 0"),
    "mirror": _SWITCH,
    "shuffle": _SWITCH,
    "augmentation": (
        lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
        "an object of numbers",
    ),
    "dropout": (
        lambda value: isinstance(value, dict) and all(map(_is_ratio, value.values())),
        "an object of numbers of at least 0 and below 1, by layer or pattern",
    ),
    "batch_size": (lambda value: isinstance(value, dict), "an object with train, val, effective"),
    "input_shape": _SHAPE,
    "solver": (lambda value: isinstance(value, dict), "an object with fields of the solver"),
}
