"""Fixtures that more than one test file uses."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import bvlc as bvlc_build
import loopback
import pytest
from miniature import Miniature


@pytest.fixture(scope="session")
def bvlc() -> bvlc_build.Build:
    """BVLC's build of Caffe 1.0; the test is skipped, with the reason, where it is absent."""
    try:
        return bvlc_build.find()
    except bvlc_build.BvlcError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Miniature:
    """The miniature's workflow, run to its end; tests leave it as it is.

    One is made for all workers of pytest, by the first that asks for it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "finished"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        miniature = Miniature(shared)
        done = shared.with_suffix(".done")
        if not done.exists():
            miniature.run()
            done.touch()
    return miniature


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Server]:
    """A server on the loopback, reached without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with loopback.running() as running:
        yield running
