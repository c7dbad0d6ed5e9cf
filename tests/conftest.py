"""Fixtures that more than one test file uses."""

from __future__ import annotations

from collections.abc import Iterator

import bvlc as bvlc_build
import loopback
import pytest


@pytest.fixture(scope="session")
def bvlc() -> bvlc_build.Build:
    """BVLC's build of Caffe 1.0; the test is skipped, with the reason, where it is absent."""
    try:
        return bvlc_build.find()
    except bvlc_build.BvlcError as error:
        pytest.skip(str(error))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Server]:
    """A server on the loopback, reached without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with loopback.running() as running:
        yield running
