"""A process that ends while batches are being prefetched ends cleanly."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_prefetching_does_not_abort_the_process():
    # Several times: where the thread is when the interpreter ends is up to chance.
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
