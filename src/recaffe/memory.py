"""Where memory is not there: what torch and NumPy say of it, as one error.

A shape that Caffe takes may still be more than the machine has.
"""

from __future__ import annotations

import re

from recaffe.errors import CaffeError, OutOfMemoryError

_WANTED = re.compile(
    r"(?:(?:tried|unable) to allocate|size calculation overflowed with) "
    r"([\d.]+ ?\w+|sizes=\[[\d, ]+\])",
    re.IGNORECASE,
)


def tell_lack(place: str, error: Exception) -> None:
    """Raise an OutOfMemoryError that names ``place`` if ``error`` says that memory lacks."""
    wanted = _WANTED.search(str(error))
    if isinstance(error, OutOfMemoryError):
        raise OutOfMemoryError(f"{place}: {error}") from error
    if isinstance(error, CaffeError) or not (wanted or isinstance(error, MemoryError)):
        return
    raise OutOfMemoryError(
        f"{place}: expected memory for {wanted[1] if wanted else 'what it computes'}, and there is "
        "not so much; lower the batch size, the image size or num_output"
    ) from error
