"""Time solver steps of whichever Caffe `import caffe` finds; print them as JSON.

Runs on our interpreter and on BVLC's (Python 3.9): nothing but pycaffe here.
"""

import argparse
import json
import sys
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solver", required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--chunks", type=int, required=True)
    options = parser.parse_args()

    import caffe

    caffe.set_mode_cpu()
    solver = caffe.get_solver(options.solver)
    start = time.perf_counter()
    solver.step(options.warm_up)
    warm_up = time.perf_counter() - start
    seconds = []
    for _ in range(options.chunks):
        start = time.perf_counter()
        solver.step(options.steps)
        seconds.append((time.perf_counter() - start) / options.steps)
    loss = float(solver.net.blobs["loss"].data)
    json.dump({"seconds": seconds, "warm_up": warm_up, "loss": loss}, sys.stdout)


if __name__ == "__main__":
    main()
