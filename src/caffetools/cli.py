"""What every command of the package shares: errors without tracebacks, one log form."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Optional

# What `RECAFFE_LOG` may say, and the least that is then told.
LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}


class ToolError(Exception):
    """A mistake that the user can mend: the message names the place, the cause and the fix."""


def is_users_mistake(error: BaseException) -> bool:
    """Whether the user can mend it, so that its message is told and no traceback."""
    if isinstance(error, (ToolError, OSError)):
        return True
    # Caffe is looked up and not imported: most commands do without it, and on BVLC's
    # build it has no exceptions of its own. Even the look loads our runtime, so it comes last.
    return isinstance(error, getattr(sys.modules.get("caffe"), "CaffeError", ToolError))


def run(main: Callable[[Sequence[str]], Optional[int]]) -> None:
    """Run ``main(arguments)`` as a program: log to stderr, exit 1 on a user's mistake.

    How much is told, the environment variable ``RECAFFE_LOG`` says: quiet, normal or verbose.
    """
    told = os.environ.get("RECAFFE_LOG") or "normal"
    level = LEVELS.get(told, logging.INFO)
    # Of other packages' debugging nothing.
    logging.basicConfig(level=max(level, logging.INFO), format="%(message)s", stream=sys.stderr)
    logging.getLogger("caffetools").setLevel(level)
    if level != logging.DEBUG:
        # Our runtime tells of every layer of a net that is made, as Caffe's own programs do.
        logging.getLogger("recaffe.making").setLevel(logging.WARNING)
    if told not in LEVELS:
        logging.getLogger("caffetools").warning(
            "RECAFFE_LOG: expected one of %s, found %r; taken as normal", ", ".join(LEVELS), told
        )
    try:
        status = main(sys.argv[1:])
    except Exception as error:
        if not is_users_mistake(error):
            raise
        logging.getLogger("caffetools").error("error: %s", error)
        sys.exit(1)
    sys.exit(status or 0)
