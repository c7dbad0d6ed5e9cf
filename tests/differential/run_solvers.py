"""Run drawn solvers under whichever Caffe this interpreter has.

As a program it is told and answers as :mod:`differential.run_nets`, whose folder it shares.
"""

from pathlib import Path

import numpy as np

import caffe
from caffe.proto import caffe_pb2


def run(job, values):
    """Loss, parameters, their diffs and the history after the last step, by name."""
    del values
    Path("net.prototxt").write_text(job["net"])
    Path("solver.prototxt").write_text(job["solver"])
    solver = caffe.get_solver("solver.prototxt")
    net, random = solver.net, np.random.RandomState(job["seed"])
    data = net.blobs["data"].data
    data[...] = random.normal(size=data.shape)
    net.blobs["label"].data[...] = random.randint(data.shape[1], size=len(data))
    params = [(layer, i, blob) for layer in net.params for i, blob in enumerate(net.params[layer])]
    for _, _, blob in params:
        blob.data[...] = random.normal(size=blob.shape)
    solver.step(job["steps"])
    found = {"loss": net.blobs["loss"].data.copy()}
    for layer, index, blob in params:
        found[f"param {layer} {index}"] = blob.data.copy()
        found[f"update {layer} {index}"] = blob.diff.copy()
    solver.snapshot()
    state = caffe_pb2.SolverState()
    state.ParseFromString(Path(f"s_iter_{job['steps']}.solverstate").read_bytes())
    for index, blob in enumerate(state.history):
        found[f"history {index}"] = np.array(blob.data, "f").reshape(blob.shape.dim)
    return found


if __name__ == "__main__":
    import run_nets

    run_nets.main(run)
