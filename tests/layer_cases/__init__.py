"""Cases of every layer: prototxt, inputs, and the tops that plain loops give.

Each module holds a family: its references, ``CASES``, and ``MISTAKES`` (what makes no sense,
and what the layer says to it). The references read nothing of the layer's message: each case
states its own settings, so a setting that is read wrongly shows.
"""

from __future__ import annotations

import importlib
import pkgutil

from layer_cases.case import TEST, TRAIN, Case, apart, labels, made_layer, normal

_FAMILIES = [
    importlib.import_module(f"{__name__}.{module.name}")
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
]
CASES: list[Case] = [case for family in _FAMILIES for case in getattr(family, "CASES", [])]
# type, settings, bottom shapes, tops, what the message says
MISTAKES: list[tuple] = [row for family in _FAMILIES for row in getattr(family, "MISTAKES", [])]

__all__ = ["CASES", "MISTAKES", "TEST", "TRAIN", "Case", "apart", "labels", "made_layer", "normal"]
