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
    parser.add_argument("--one-by-one", action="store_true", help="step(1) again and again")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--deterministic", action="store_true")
    options = parser.parse_args()

    import caffe

    if options.gpu:
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    if hasattr(caffe, "set_precision"):
        caffe.set_precision(options.precision)
        caffe.set_compiled(options.compile)
        caffe.set_deterministic(options.deterministic)
    solver = caffe.get_solver(options.solver)

    def step(count):
        if not options.one_by_one:
            solver.step(count)
            return
        for _ in range(count):
            solver.step(1)

    start = time.perf_counter()
    step(options.warm_up)
    warm_up = time.perf_counter() - start
    seconds = []
    for _ in range(options.chunks):
        start = time.perf_counter()
        step(options.steps)
        seconds.append((time.perf_counter() - start) / options.steps)
    loss = float(solver.net.blobs[solver.net.outputs[-1]].data)
    json.dump({"seconds": seconds, "warm_up": warm_up, "loss": loss}, sys.stdout)


if __name__ == "__main__":
    main()
