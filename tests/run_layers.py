"""Run nets of one layer with BVLC's interpreter: forward, then backward from given diffs.

Reads `cases.json`, `given.npz` and the cases' files in `folders`, writes `found.npz`; arrays
are named by the case's index.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

import caffe


def main():
    cases = json.loads(Path("cases.json").read_text())
    place = Path.cwd()
    given, found = np.load("given.npz"), {}
    for index, case in enumerate(cases):
        print(case["name"], file=sys.stderr, flush=True)
        os.chdir(place / "folders" / str(index))
        sys.path.insert(0, str(Path.cwd()))
        Path("net.prototxt").write_text(case["net"])
        net = caffe.Net("net.prototxt", case["phase"])
        params = list(net.params["it"]) if "it" in net.params else []
        if f"{index} x0" in given:
            net.set_input_arrays(given[f"{index} x0"], given[f"{index} x1"])
        for number, blob in enumerate(params):
            blob.data[...] = given[f"{index} p{number}"]
        for number in range(case["bottoms"]):
            net.blobs[f"b{number}"].data[...] = given[f"{index} b{number}"]
        net.forward()
        for number in range(case["tops"]):
            top = net.blobs[f"t{number}"]
            found[f"{index} t{number}"] = top.data.copy()
            top.diff[...] = given[f"{index} d{number}"].reshape(top.diff.shape)
        for number, blob in enumerate(params):
            found[f"{index} p{number} after"] = blob.data.copy()
        if not case["backward"]:
            continue
        net.backward()
        for number in range(case["bottoms"]):
            found[f"{index} b{number}"] = net.blobs[f"b{number}"].diff.copy()
        for number, blob in enumerate(params):
            found[f"{index} p{number}"] = blob.diff.copy()
    np.savez(place / "found.npz", **found)


if __name__ == "__main__":
    main()
