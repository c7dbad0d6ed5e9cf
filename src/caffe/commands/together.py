"""Training on several devices: a process for each, and this one, which watches over them.

This process trains nothing, so that it can end the others whatever they wait for.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from caffe import glog
from caffe.commands.effects import Effects, ignored, on_signals
from recaffe.context import context
from recaffe.errors import CaffeError, SolverError, SolverLostError
from recaffe.solver import Action
from recaffe.solver.link import new_meeting

# When one has failed, how long the others may take to say that they have failed by themselves.
GRACE = 2.0
NOTHING_LOGGED = 4


class Work(Protocol):
    """What each process does; see ``Training`` in :mod:`caffe.commands.train`."""

    def run(
        self,
        chosen: list[torch.device],
        action: Any,
        meeting: str = "",
        device: torch.device | None = None,
    ) -> None: ...


class _Failure(NamedTuple):
    """What a process says of the exception that ends it."""

    message: str
    trace: str
    is_mistake: bool
    is_lost: bool


def run(work: Work, chosen: list[torch.device], effects: Effects) -> None:
    """Run ``work`` on each device; return when all have ended.

    Rank 0, which is the first device's, gets to know what signals ask for, and logs. Others are
    asked for nothing.

    Raises:
        CaffeError: the mistake that one of them met, or that one was ended from outside.
    """
    meeting, workers = new_meeting(), list[_Worker]()
    try:
        with ignored(effects):
            for rank in range(len(chosen)):
                workers.append(_Worker(work, chosen, rank, meeting))
        with on_signals(effects, workers[0].ask):
            _wait(workers)
    finally:
        for worker in workers:
            worker.end()
        Path(meeting).unlink(missing_ok=True)


class _Worker:
    """A process that trains on one of the devices."""

    def __init__(self, work: Work, chosen: list[torch.device], rank: int, meeting: str) -> None:
        self.rank, self.device = rank, chosen[rank]
        spawn = multiprocessing.get_context("spawn")
        wishes, self._wishes = spawn.Pipe(duplex=False)
        self._failures, failures = spawn.Pipe(duplex=False)
        arguments = (work, chosen, rank, meeting, glog.settings(), wishes, failures)
        self.process = spawn.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        wishes.close()
        failures.close()
        self._failure: _Failure | None = None

    def ask(self, wanted: Action) -> None:
        """Tell the process what it is asked for."""
        with contextlib.suppress(OSError):  # it has ended
            self._wishes.send(wanted)

    @property
    def failure(self) -> _Failure | None:
        """What ended the process, if it said so."""
        if self._failure is None and self._failures.poll():
            try:
                self._failure = self._failures.recv()
            except EOFError:
                return None
        return self._failure

    @property
    def has_failed(self) -> bool:
        return bool(self.process.exitcode)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _wait(workers: Sequence[_Worker]) -> None:
    running = list(workers)
    while running:
        connection.wait([worker.process.sentinel for worker in running])
        running = [worker for worker in running if worker.process.exitcode is None]
        if any(worker.has_failed for worker in workers):
            _join(workers, GRACE)
            raise _reason(workers)


def _join(workers: Sequence[_Worker], seconds: float) -> None:
    end = time.monotonic() + seconds
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))


def _reason(workers: Sequence[_Worker]) -> Exception:
    """The first failure; that another was lost is one only where nobody knows more."""
    failed = [worker for worker in workers if worker.has_failed]
    for worker in failed:
        if worker.failure and not worker.failure.is_lost:
            return _told(worker, worker.failure)
    for worker in failed:
        if not worker.failure:
            return SolverLostError(
                f"the process of solver {worker.rank} ({worker.device}) has "
                f"{_ending(worker.process.exitcode)}, so all were ended; go on from a snapshot"
            )
    worker = failed[0]
    assert worker.failure is not None
    return _told(worker, worker.failure)


def _told(worker: _Worker, failure: _Failure) -> Exception:
    message = failure.message
    if worker.rank:
        message = f"solver {worker.rank} ({worker.device}): {message}"
    error = SolverError(message) if failure.is_mistake else RuntimeError(message)
    error.add_note(failure.trace)
    return error


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"been ended by signal {-exit_code}"
    return f"ended with status {exit_code}"


# -- in the processes -------------------------------------------------------------------------


def _work(
    work: Work,
    chosen: list[torch.device],
    rank: int,
    meeting: str,
    log: glog.Settings,
    wishes: Connection,
    failures: Connection,
) -> None:
    _end_with_the_parent()
    _log_as(log, rank)
    context.solver_count, context.solver_rank, context.multiprocess = len(chosen), rank, True
    if chosen[rank].type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // len(chosen)))
    try:
        work.run(chosen, lambda: wishes.recv() if wishes.poll() else Action.NONE, meeting)
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        failure = _Failure(
            str(error) or type(error).__name__,
            trace[-10000:],
            isinstance(error, CaffeError | OSError),
            isinstance(error, SolverLostError),
        )
        failures.send(failure)
        sys.exit(1)
    finally:
        # Processes like this one end without what others do at exit.
        gc.collect()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _log_as(settings: glog.Settings, rank: int) -> None:
    """Log as the program would by itself; those of other ranks say nothing."""
    vars(glog.settings()).update(vars(settings))
    if rank:
        glog.settings().minimum = NOTHING_LOGGED
    glog.start("caffe")
