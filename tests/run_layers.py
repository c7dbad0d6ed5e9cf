"""Run nets of one layer with BVLC's interpreter: forward, then backward from given diffs.

Between the two the blob that a run names as written, if it does, is given other values. Reads
`runs.json`, `given.npz` and the files of each run in `folders`, writes `found.npz`; arrays are
named by the run's index.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

import caffe


def write(net, name):
    """Write something else into a blob, or into a parameter, p0 or p1."""
    blob = net.params["it"][int(name[1:])] if name[0] == "p" else net.blobs[name]
    blob.data.flat = np.roll(blob.data, 1)


def main():
    runs = json.loads(Path("runs.json").read_text())
    place = Path.cwd()
    given, found = np.load("given.npz"), {}
    for index, run in enumerate(runs):
        print(run["name"], file=sys.stderr, flush=True)
        os.chdir(place / "folders" / str(index))
        sys.path.insert(0, str(Path.cwd()))
        Path("net.prototxt").write_text(run["net"])
        net = caffe.Net("net.prototxt", run["phase"])
        params = list(net.params["it"]) if "it" in net.params else []
        if f"{index} x0" in given:
            net.set_input_arrays(given[f"{index} x0"], given[f"{index} x1"])
        for number, blob in enumerate(params):
            blob.data[...] = given[f"{index} p{number}"]
        for number in range(run["bottoms"]):
            bottom = net.blobs[f"b{number}"].data  # in place it has the top's shape
            bottom[...] = given[f"{index} b{number}"].reshape(bottom.shape)
        net.forward()
        for number, name in enumerate(run["tops"]):
            top = net.blobs[name]
            found[f"{index} t{number}"] = top.data.copy()
            top.diff[...] = given[f"{index} d{number}"]
        for number, blob in enumerate(params):
            found[f"{index} p{number} after"] = blob.data.copy()
        if not run["backward"]:
            continue
        if run.get("written"):
            write(net, run["written"])
        net.backward()
        for number in range(run["bottoms"]):
            found[f"{index} b{number}"] = net.blobs[f"b{number}"].diff.copy()
        for number, blob in enumerate(params):
            found[f"{index} p{number}"] = blob.diff.copy()
    np.savez(place / "found.npz", **found)


if __name__ == "__main__":
    main()
