"""Messages as text in Caffe's log."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from google.protobuf import text_format

# Python writes a point or an exponent into every float, and into no whole number.
_FLOAT = re.compile(r"(?<=: )-?\d+(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+)$", re.MULTILINE)
_DIGITS, _ALL_DIGITS = 6, 9


class Shown:
    """A message that becomes text only if a line with it is written."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def __str__(self) -> str:
        """The text, letter by letter as C++ writes it."""
        text = text_format.MessageToString(self._message, as_utf8=False).rstrip("\n")
        return _FLOAT.sub(lambda found: _short(found[0]), text)


def _short(number: str) -> str:
    value = np.float32(number)
    short = f"{value:.{_DIGITS}g}"
    return short if np.float32(short) == value else f"{value:.{_ALL_DIGITS}g}"
