"""The lines that tell of nets as they are made."""

from __future__ import annotations

import logging
from typing import Any

from recaffe.context import context

# By its name whoever reads the log may leave these lines out.
_making = logging.getLogger("recaffe.making")


def tell(message: str, *values: Any) -> None:
    """Log a line of Caffe's own; of solvers that train together only the first one's nets do."""
    if context.is_root_solver:
        _making.info(message, *values, stacklevel=2)
