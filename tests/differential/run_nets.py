"""Run drawn nets under whichever Caffe this interpreter has: forward, then backward.

As a program it reads `jobs.json` and `values.npz`, and writes `found.json` and `found.f32`:
for each net all blobs and parameters, or in what words it was refused. Each net runs in a
process of its own, since BVLC's build aborts on what it refuses.
"""

import json
import os
from pathlib import Path

import numpy as np

import caffe


def run(job, values):
    """All arrays after a forward, and after it a backward from random diffs, by name."""
    Path("net.prototxt").write_text(job["net"])
    net = caffe.Net("net.prototxt", job["phase"])
    random = np.random.RandomState(job["seed"] % 2**32)
    for name, array in values.items():
        net.blobs[name].data[...] = array
    params = [(layer, i, blob) for layer in net.params for i, blob in enumerate(net.params[layer])]
    for layer, _, blob in params:
        drawn = random.normal(size=blob.shape)
        if job["params"] == "positive":
            drawn = np.abs(drawn) + 0.5
        if layer == (job["filled"] or layer):
            blob.data[...] = drawn
    net.forward()
    found = {f"blob {name}": blob.data.copy() for name, blob in net.blobs.items()}
    # statistics that a layer keeps among its parameters
    found.update({f"param {n} {i}": blob.data.copy() for n, i, blob in params})
    if not job["net"].count("top:"):
        return found
    for name in sorted(net.blobs):
        diff = random.normal(size=net.blobs[name].shape)
        if job["backward"] and name in net.outputs:
            net.blobs[name].diff[...] = diff
    net.backward()
    for name, blob in net.blobs.items():
        if name not in net.outputs:
            found[f"blob diff {name}"] = blob.diff.copy()
    found.update({f"param diff {n} {i}": blob.diff.copy() for n, i, blob in params})
    return found


def in_a_child(run, job, values):
    """What `run` gives, computed by a child; the child's last words if it died."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            np.savez("answer.npz", **run(job, values))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status == 0:
        with np.load("answer.npz") as answer:
            return dict(answer)
    return Path("stderr").read_text(errors="replace")[-2000:] or f"status {status}"


def main(run):
    jobs = json.loads(Path("jobs.json").read_text())
    given = [{} for _ in jobs]
    with np.load("values.npz") as values:
        for key in values.files:
            index, name = key.split(" ", 1)
            given[int(index)][name] = values[key]
    answers, at = [], 0
    with Path("found.f32").open("wb") as floats:
        for index, job in enumerate(jobs):
            found = in_a_child(run, job, given[index])
            if isinstance(found, str):
                answers.append(found)
                continue
            answers.append({})
            for name, array in found.items():
                answers[-1][name] = [at, list(array.shape)]
                floats.write(np.ascontiguousarray(array, "<f4").tobytes())
                at += array.size
    Path("found.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(run)
