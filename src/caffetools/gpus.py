"""Choosing a GPU that no other job of this machine has.

A job holds a lock on the GPU's file until it ends, however it ends: the kernel lets go of it.
So jobs that were started by two runs of Snakemake, or by hand, keep off each other as well.
GPUs are told apart as CUDA counts them: by what ``CUDA_VISIBLE_DEVICES`` lists, else by number.
Jobs of Slurm have GPUs of their own, which may all be called 0, and so locks of their own.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Optional

from caffetools.cli import ToolError

LOG = logging.getLogger("caffetools.gpus")
# Not $TMPDIR, which may differ from job to job.
PLACE = Path("/tmp")
WAIT = 2.0  # seconds between two looks for a GPU that became free
_PATIENCE = 60.0  # seconds that nvidia-smi has to answer


def visible(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What CUDA shows this process, in CUDA's order: an entry's place is the GPU's number.

    Raises:
        ToolError: CUDA is shown none.
    """
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return [str(number) for number in range(_count())]
    entries = [entry.strip() for entry in told.split(",")]
    # CUDA itself stops at the first entry that is no device.
    ends = [place for place, entry in enumerate(entries) if entry in ("", "-1", "NoDevFiles")]
    found = entries[: ends[0]] if ends else entries
    if not found:
        raise ToolError(
            f"CUDA_VISIBLE_DEVICES is {told!r}, which shows no GPU; expected numbers such as 0,1. "
            "Unset it, or train on the CPU: training.gpu: false"
        )
    return found


def _count() -> int:
    """How many GPUs the driver tells of; 1 where it is not asked, since CUDA will tell."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return len(re.findall(rb"^GPU ", done.stdout, re.MULTILINE)) or 1


def locks_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the locks: of this user, and within Slurm of this job. It is made if absent.

    Raises:
        ToolError: somebody else has put something there.
    """
    job = re.sub(r"\W", "_", environment.get("SLURM_JOB_ID", ""))
    folder = PLACE / f"recaffe-gpus-{os.getuid()}{f'-{job}' if job else ''}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ToolError(
            f"{folder}: it belongs to another user, so GPUs cannot be locked; remove it"
        )
    return folder


@contextmanager
def free_gpu(gpus: Optional[Sequence[str]] = None, folder: Optional[Path] = None) -> Iterator[int]:
    """The number of a GPU that is this process' own meanwhile; waits until one is free.

    Args:
        gpus: the names of the GPUs, in the order of their numbers; by default :func:`visible`.
        folder: where their locks are; by default :func:`locks_folder`.
    """
    names = visible() if gpus is None else gpus
    place = locks_folder() if folder is None else folder
    with ExitStack() as stack:
        files = [
            stack.enter_context((place / re.sub(r"\W", "_", name)).open("a+", encoding="utf-8"))
            for name in names
        ]
        number = _first_free(files)
        if number is None:
            LOG.info("waiting for a GPU: %s", _told(names, files))
        while number is None:
            time.sleep(WAIT)
            number = _first_free(files)
        own = files[number]
        own.truncate(0)
        own.write(f"process {os.getpid()} on {socket.gethostname()}")
        own.flush()
        LOG.info("on GPU %d (%s)", number, names[number])
        yield number


def _first_free(files: Sequence[IO[str]]) -> Optional[int]:
    """The place of the first file that could be locked, None if all are."""
    for number, file in enumerate(files):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return number
    return None


def _told(names: Sequence[str], files: Sequence[IO[str]]) -> str:
    """Who has which GPU."""
    for file in files:
        file.seek(0)
    return ", ".join(f"{file.read()} has {name}" for name, file in zip(names, files))
