"""What copying weights into a net did, layer by layer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Shapes = list[tuple[int, ...]]

COPIED = "copied"
FRESH = "newly initialised"
IGNORED = "ignored in the file"
MISMATCHED = "shape mismatch"


@dataclass
class LoadReport:
    """A table of layers with parameters, each with the shapes of its blobs.

    Attributes:
        files: where the weights came from.
        copied: the net's layers that a file has, too.
        fresh: the net's layers that no file has; they keep the values they had.
        ignored: the files' layers that the net does not have.
        mismatched: the shapes in the file, by layers that both have and that do not fit.
        reasons: why, for each of the mismatched ones.
        expected: the shapes in the net, by layer.
    """

    files: list[str]
    copied: dict[str, Shapes] = field(default_factory=dict)
    fresh: dict[str, Shapes] = field(default_factory=dict)
    ignored: dict[str, Shapes] = field(default_factory=dict)
    mismatched: dict[str, Shapes] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    expected: dict[str, Shapes] = field(default_factory=dict)

    def suggestions(self) -> dict[str, str]:
        """For each fresh layer the ignored one whose name is most like its own, if one is."""
        found = {}
        for name in self.fresh:
            close = difflib.get_close_matches(name, self.ignored, n=1)
            if close:
                found[name] = close[0]
        return found

    def __str__(self) -> str:
        counts = ", ".join(
            f"{len(layers)} {what}"
            for what, layers in (
                (COPIED, self.copied),
                (FRESH, self.fresh),
                (IGNORED, self.ignored),
                (MISMATCHED, self.mismatched),
            )
        )
        lines = [f"weights from {', '.join(self.files)}: {counts}"]
        return "\n".join([*lines, *_aligned(self._rows())])

    def _rows(self) -> Iterable[tuple[str, str, str]]:
        suggestions = self.suggestions()
        for name, shapes in self.copied.items():
            yield name, COPIED, _shown(shapes)
        for name, shapes in self.fresh.items():
            yield name, FRESH, _shown(shapes) + self._hint(name, suggestions.get(name))
        for name, shapes in self.ignored.items():
            yield name, IGNORED, _shown(shapes)
        for name, shapes in self.mismatched.items():
            ours = _shown(self.expected.get(name, []))
            yield name, MISMATCHED, f"{_shown(shapes)} in the file, {ours} in the net"

    def _hint(self, name: str, like: str | None) -> str:
        if like is None:
            return ""
        same = " and shapes" if self.ignored[like] == self.fresh[name] else ""
        return f" (the file has '{like}', of a name{same} like it)"


def _shown(shapes: Shapes) -> str:
    return ", ".join("x".join(map(str, shape)) or "one number" for shape in shapes) or "no blobs"


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    width = max((len(name) for name, _, _ in rows), default=0)
    return [f"  {name:{width}}  {what:{len(IGNORED)}}  {shapes}" for name, what, shapes in rows]
