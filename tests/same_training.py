"""Train a few iterations and print the losses: run by our interpreter and by BVLC's.

    python same_training.py SOLVER INITIAL_WEIGHTS ITERATIONS FINAL_WEIGHTS

With `-` as initial weights the net's own are first saved to `initial.caffemodel`.
"""

import json
import sys

import caffe


def main():
    solver_file, weights, iterations, final = sys.argv[1:]
    caffe.set_mode_cpu()
    solver = caffe.get_solver(solver_file)
    if weights == "-":
        solver.net.save("initial.caffemodel")
    else:
        solver.net.copy_from(weights)
    losses = []
    for _ in range(int(iterations)):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    solver.net.save(final)
    json.dump({"caffe": caffe.__file__, "losses": losses}, sys.stdout)


if __name__ == "__main__":
    main()
