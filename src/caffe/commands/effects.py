"""What signals ask of a training."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recaffe.errors import CaffeError
from recaffe.solver import Action

Effects = Mapping[signal.Signals, Action]


def effect(name: str) -> Action:
    """What ``-sigint_effect`` and ``-sighup_effect`` name.

    Raises:
        CaffeError: another name.
    """
    try:
        return Action(name)
    except ValueError:
        raise CaffeError(
            f'Invalid signal effect "{name}" was specified; known: snapshot, stop, none'
        ) from None


@contextmanager
def on_signals(effects: Effects, tell: Callable[[Action], Any]) -> Iterator[None]:
    """Call ``tell`` with the effect of each signal that comes meanwhile."""
    with _handled({number: _handler(wanted, tell) for number, wanted in effects.items()}):
        yield


@contextmanager
def ignored(effects: Effects) -> Iterator[None]:
    """Ignore these signals meanwhile; so do processes that are started meanwhile, for good."""
    with _handled(dict.fromkeys(effects, signal.SIG_IGN)):
        yield


def _handler(wanted: Action, tell: Callable[[Action], Any]) -> Callable[..., None]:
    def handle(*_: Any) -> None:
        tell(wanted)

    return handle


@contextmanager
def _handled(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
