"""What layers share that answer for published Python layers, which need no module then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import yaml
from torch import Tensor

from recaffe.detection.anchors import SCALES
from recaffe.errors import LayerError
from recaffe.layers.base import Layer

AnyNative = TypeVar("AnyNative", bound="type[NativeLayer]")
_LARGEST = 1e6  # of any setting
_NATIVE: dict[tuple[str, str], type[NativeLayer]] = {}


def answers(module: str, layer: str) -> Callable[[AnyNative], AnyNative]:
    """Register a class as the layer of ``python_param { module: "..." layer: "..." }``."""

    def add(cls: AnyNative) -> AnyNative:
        if (module, layer) in _NATIVE:
            raise ValueError(f"two layers answer for '{module}.{layer}'")
        cls.type = "Python"
        _NATIVE[module, layer] = cls
        return cls

    return add


def native_class(module: str, layer: str) -> type[NativeLayer] | None:
    """The class that answers for a Python layer, if one does."""
    return _NATIVE.get((module, layer))


def native_names() -> list[str]:
    """The Python layers that are answered for, sorted, as ``module.layer``."""
    return sorted(".".join(name) for name in _NATIVE)


class NativeLayer(Layer):
    """A layer that takes the place of a published Python layer; no gradient goes through it."""

    def propagates_to(self, bottom_index: int) -> bool:
        return False

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return False

    def compute(self, bottoms: Sequence[Tensor]) -> Sequence[Tensor]:
        """The tops, from bottoms without history, in single precision."""
        raise NotImplementedError

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        with self.named():
            return list(self.compute([bottom.detach().float() for bottom in bottoms]))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let the errors of what is computed within name this layer."""
        try:
            yield
        except LayerError as error:
            raise self.error(str(error)) from None

    def anchor_settings(self, **more: Any) -> dict[str, Any]:
        """The :meth:`settings` of a layer that has anchors: ``feat_stride``, ``scales``, and more.

        Raises:
            LayerError: also where one of the two is not above 0.
        """
        found = self.settings({"feat_stride": None, "scales": SCALES, **more})
        for name in ("feat_stride", "scales"):
            if min(found[name] if name == "scales" else [found[name]]) <= 0:
                kind = "numbers" if name == "scales" else "a number"
                raise self.error(f"param_str: {name}: expected {kind} above 0, found {found[name]}")
        return found

    def settings(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """What ``param_str`` says, a YAML mapping.

        Args:
            defaults: every setting that there is, each of its default's kind: a text, true or
                false, several numbers, or one; None for a number that must be given.

        Raises:
            LayerError: no such mapping.
        """
        text = self.param.python_param.param_str
        shown = repr(text if len(text) < 80 else text[:80] + "...")
        try:
            found = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            told = " ".join(str(error).split())
            raise self.error(f"param_str {shown} is no YAML: {told}") from None
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise self.error(
                f"param_str {shown}: expected settings as \"'name': value\", one a line"
            )
        for name, value in found.items():
            if name not in defaults:
                raise self.error(
                    f"param_str: no setting {name!r} is known; known: {', '.join(defaults)}"
                )
            found[name] = self._checked(name, value, defaults[name])
        if missing := [name for name in defaults if {**defaults, **found}[name] is None]:
            raise self.error(f"param_str needs '{missing[0]}': say \"'{missing[0]}': ...\"")
        return {**defaults, **found}

    def _checked(self, name: str, value: Any, default: Any) -> Any:
        if isinstance(default, (bool, str)):
            expected = "true or false" if isinstance(default, bool) else "a text"
            fits = type(value) is type(default)
        elif isinstance(default, tuple):
            expected = "numbers, such as [8, 16, 32]"
            values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
            fits = bool(values) and all(map(_is_number, values))
        else:
            expected, fits = "a number", _is_number(value)
        if not fits:
            raise self.error(f"param_str: {name}: expected {expected}, found {value!r}")
        return values if isinstance(default, tuple) else value


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which makes numbers, texts, lists and dicts, and tuples as well."""


def _tuple(loader: _Loader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def table(bottom: Tensor) -> Tensor:
    """Rows ``(R, C)`` of a bottom that may have Caffe's four axes."""
    return bottom.flatten(1) if bottom.dim() > 2 else bottom


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
    )
