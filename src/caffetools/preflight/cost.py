"""Memory and disk that a training takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from caffetools.preflight.finding import ERROR, NOTE, WARNING, Finding

_FLOAT = 4  # bytes
_STATE_BYTES = 1 << 20  # of a snapshot, beside its floats
_MEMORY = Path("/proc/meminfo")

# How many values a solver remembers of each parameter, by its type.
_HISTORY = {"Adam": 2, "AdaDelta": 2}


def parameter_values(net: Any) -> int:
    """How many values a net's parameters have, shared ones counted once each time."""
    return sum(int(blob.count) for blobs in net.params.values() for blob in blobs)


def blob_values(net: Any) -> int:
    """How many values a net's blobs have."""
    # Not by their data, which BVLC's build would allocate to show it.
    return sum(int(blob.count) for blob in net.blobs.values())


def memory(solver: Any, parameters: int, train_blobs: int, test_blobs: int) -> int:
    """An estimate of the bytes that a training takes.

    Of the training net data and gradients, of the test net data, of each parameter its
    value, its gradient and what the solver remembers of it. Buffers within layers come on top.
    """
    history = _HISTORY.get(solver.type, 1)
    return _FLOAT * (2 * train_blobs + test_blobs + (2 + history) * parameters)


def memory_findings(needed: int, on_gpu: bool) -> Iterator[Finding]:
    """Whether the estimate fits what the machine has free."""
    yield Finding(NOTE, "memory", "memory", f"training takes about {_size(needed)}, and buffers")
    free = None if on_gpu else available()
    if free is not None and needed > free:
        yield Finding(
            ERROR, "memory", "memory",
            f"training takes about {_size(needed)}, more than the {_size(free)} that are free",
            "lower batch_size, and raise iter_size in turn",
        )  # fmt: skip


def available() -> Optional[int]:
    """The bytes of memory that are free on this machine, None where Linux does not say."""
    try:
        for line in _MEMORY.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def snapshot_bytes(solver: Any, parameters: int) -> tuple[int, int]:
    """How many snapshots a training leaves, and the bytes of one."""
    count = solver.max_iter // solver.snapshot if solver.snapshot else 0
    history = _HISTORY.get(solver.type, 1)
    return count, _FLOAT * (1 + history) * parameters + _STATE_BYTES


def disk_findings(solver: Any, parameters: int, folder: Path) -> Iterator[Finding]:
    """Whether all snapshots fit the disk."""
    count, each = snapshot_bytes(solver, parameters)
    needed = count * each
    if not needed:
        return
    yield Finding(NOTE, "disk", "disk", f"{count} snapshots of {_size(each)} take {_size(needed)}")
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(str(folder)).free
    if needed > free:
        yield Finding(
            ERROR if each > free else WARNING, "disk", "disk",
            f"{count} snapshots of {_size(each)} do not fit the {_size(free)} that are free",
            "write fewer of them (a larger `snapshot`), or free some space",
        )  # fmt: skip


def _size(count: int) -> str:
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
