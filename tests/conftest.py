"""Fixtures that more than one test file uses."""

from __future__ import annotations

import bvlc as bvlc_build
import pytest


@pytest.fixture(scope="session")
def bvlc() -> bvlc_build.Build:
    """BVLC's build of Caffe 1.0; the test is skipped, with the reason, where it is absent."""
    try:
        return bvlc_build.find()
    except bvlc_build.BvlcError as error:
        pytest.skip(str(error))
