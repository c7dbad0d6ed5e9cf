"""A process that ends while batches are being prefetched ends cleanly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from recaffe.data.prefetch import Prefetcher

def produce():
    for _ in range(200):
        torch.ones(50, 50) @ torch.ones(50, 50)
    return 1

prefetcher = Prefetcher(produce, 2)
for _ in range(3):
    prefetcher.next()
"""
IN_THREADS = """
import numpy
from recaffe.data import threads
from recaffe.data.prefetch import Prefetcher

threads._threads = lambda: 4
image = numpy.ones((3, 256, 256), numpy.uint8)
images = [image] * 64
prefetcher = Prefetcher(lambda: threads.side_by_side(lambda one: one - numpy.pi, images), 2)
for _ in range(3):
    prefetcher.next()
"""


@pytest.mark.parametrize("script", [SCRIPT, IN_THREADS])
def test_prefetching_does_not_abort_the_process(script):
    # Several times: where the thread is when the interpreter ends is up to chance.
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
