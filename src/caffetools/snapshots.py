"""A trainer's own folder: its lock, its settings' fingerprint, its snapshots and history.

The folder outlives a training that was stopped, so that the next attempt goes on from the
newest whole snapshot. It belongs to one configuration: under another one it starts empty.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffetools.cli import ToolError
from caffetools.files import sha256, write_text

LOG = logging.getLogger("caffetools.snapshots")

PREFIX = "snapshot"
_STATE = re.compile(rf"{PREFIX}_iter_(\d+)\.solverstate")
_SEAL = ".sha256"
_LOCK = "lock"
_FINGERPRINT = "fingerprint"
_PREVIOUS = "previous"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other trainer off ``folder`` until the end, or until this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ToolError(
                f"{folder}: another trainer is at work here ({lock.read().strip()}); wait for "
                "it, or stop it and start again: the training goes on from its last snapshot"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        # Left by a trainer that was killed while it wrote: nobody else writes here now.
        for partial in folder.glob(".*.partial"):
            partial.unlink()
        yield


def keep_only_if_same(folder: Path, fingerprint: str) -> None:
    """Move what ``folder`` holds to ``previous`` in it, unless written under ``fingerprint``.

    A change of the configuration may be a mistake, and a week's snapshots lie here; so
    those of the configuration before stay, and only those before them go.
    """
    mark = folder / _FINGERPRINT
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() == fingerprint:
        return
    stale = [path for path in folder.iterdir() if path.name not in (_LOCK, _PREVIOUS)]
    if any(_STATE.fullmatch(path.name) for path in stale):
        LOG.info(
            "%s: the snapshots are of another configuration; starting afresh, they are kept in %s",
            folder,
            _PREVIOUS,
        )
        shutil.rmtree(str(folder / _PREVIOUS), ignore_errors=True)
        (folder / _PREVIOUS).mkdir()
        for path in stale:
            path.rename(folder / _PREVIOUS / path.name)
    write_text(mark, fingerprint + "\n")


def newest_first(folder: Path) -> list[tuple[int, Path]]:
    """The solver states in ``folder`` as ``(iteration, path)``, the furthest first."""
    found = ((_STATE.fullmatch(path.name), path) for path in folder.iterdir())
    states = [(int(match.group(1)), path) for match, path in found if match]
    return sorted(states, reverse=True)


def seal(folder: Path, iteration: int) -> None:
    """Write the checksums of a snapshot that was taken, as ``sha256sum --check`` reads them.

    They come last, so that a snapshot with its seal is whole: BVLC's build writes its files in
    place, and neither format tells of a changed byte.
    """
    state = _state(folder, iteration)
    lines = [f"{sha256(path)}  {path.name}\n" for path in _sealed(state)]
    write_text(state.with_suffix(_SEAL), "".join(lines))


def has_whole(folder: Path, iteration: int) -> bool:
    """Whether there is a whole snapshot of ``iteration``."""
    try:
        require_whole(_state(folder, iteration))
    except (ToolError, OSError):
        return False
    return True


def require_whole(state: Path) -> None:
    """Raise :class:`ToolError` unless a solver state and its weights are those that were sealed."""
    if not state.with_suffix(".caffemodel").is_file():
        raise ToolError("its .caffemodel is gone")
    seal = state.with_suffix(_SEAL)
    if not seal.is_file():
        raise ToolError(f"it was not written to its end: {seal.name} is not there")
    told = seal.read_text(encoding="utf-8", errors="replace").splitlines()
    for path in _sealed(state):
        if f"{sha256(path)}  {path.name}" not in told:
            raise ToolError(f"{path.name} is not what was written: {seal.name} tells otherwise")


def _state(folder: Path, iteration: int) -> Path:
    return folder / f"{PREFIX}_iter_{iteration}.solverstate"


def _sealed(state: Path) -> tuple[Path, Path]:
    return state.with_suffix(".caffemodel"), state
