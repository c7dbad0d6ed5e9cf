"""How fast a training step could be at best on this machine: its arithmetic over the peak rate.

Counted are the multiplications and additions of convolutions and inner products, without which no
direct algorithm computes the step: forward once, backward once for the parameters and, but for the
layers next to the data, once for the bottoms. The peak rate is that of torch's best product of
float32 matrices. What ``training_step.py`` gives can be held against the quotient.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from training_step import CASES, Case, write_job

import caffe

SIZES = (1024, 2048, 4096)
WEIGHTED = ("Convolution", "InnerProduct")


def operations(case: Case) -> float:
    """Multiplications and additions of a training step."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(case, Path(folder))
        here = Path.cwd()
        os.chdir(folder)
        try:
            net = caffe.Net("train_val.prototxt", caffe.TRAIN)
        finally:
            os.chdir(here)
    return sum(_of_layer(net, name) for name, layer in net.layer_dict.items() if layer.blobs)


def _of_layer(net: caffe.Net, name: str) -> float:
    layer = net.layer_dict[name]
    if layer.type not in WEIGHTED:
        return 0.0
    outputs, weights = net.blobs[net.top_names[name][0]].count, layer.blobs[0]
    forward = 2.0 * outputs * weights.count / weights.shape[0]
    is_next_to_data = net.bottom_names[name] == ["data"]
    return forward * (2 if is_next_to_data else 3)


def peak(threads: int) -> float:
    """Operations a second of the best product of two matrices, of several sizes and tries."""
    torch.set_num_threads(threads)
    best = 0.0
    for size in SIZES:
        one, other = torch.randn(2, size, size)
        for _ in range(8):
            start = time.perf_counter()
            torch.mm(one, other)
            best = max(best, 2.0 * size**3 / (time.perf_counter() - start))
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    rate = peak(cores)
    print(f"peak, {cores} threads: {rate / 1e9:.0f} GFLOP/s")
    print(f"{'net, batch':20}{'GFLOP a step':>14}{'ms at the peak':>16}")
    for name in options.nets:
        case = CASES[name]
        needed = operations(case)
        title = f"{case.title}, {case.batch}"
        print(f"{title:20}{needed / 1e9:14.1f}{1000 * needed / rate:16.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
