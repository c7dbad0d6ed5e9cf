"""Runs a function in several processes at once, as solvers that train together are."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# A server that has imported torch once, so that a process starts at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["caffe"])


def run(
    function: Callable[..., Any], *arguments: Any, count: int = 2, seconds: float = 60
) -> list[Any]:
    """``function(*arguments)`` in ``count`` processes, each of its own rank.

    Returns:
        What each process returned or raised, or its exit status where it did neither.

    Raises:
        TimeoutError: one of them had not ended in time; all are ended then.
    """
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(count)]
    processes = [
        _CONTEXT.Process(target=_run, args=(pipe[1], rank, count, function, arguments))
        for rank, pipe in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, end in pipes:
        end.close()
    deadline = time.monotonic() + seconds
    try:
        results = [
            _result(own, process, deadline)
            for (own, _), process in zip(pipes, processes, strict=True)
        ]
        for process in processes:
            process.join(max(0, deadline - time.monotonic()))
        return results
    finally:
        for process in processes:
            process.kill()


def values(results: list[Any]) -> list[Any]:
    """What the processes returned; an exception of one is raised."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _result(own: Connection, process: Any, deadline: float) -> Any:
    if not own.poll(max(0, deadline - time.monotonic())):
        raise TimeoutError(f"{process.name} has not ended in time")
    try:
        return own.recv()
    except EOFError:
        process.join(10)
        return process.exitcode


def _run(
    end: Connection, rank: int, count: int, function: Callable[..., Any], arguments: Any
) -> None:
    import torch

    import caffe

    torch.set_num_threads(1)
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)
    try:
        result = function(*arguments)
    except Exception as error:
        error.add_note(traceback.format_exc())
        result = error
    end.send(result)
