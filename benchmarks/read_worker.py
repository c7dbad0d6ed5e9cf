"""Time the Data layer of whichever Caffe `import caffe` finds; print seconds a batch as JSON.

Runs on our interpreter and on BVLC's (Python 3.9): nothing but pycaffe here.
"""

import argparse
import json
import sys
import time
from pathlib import Path

NET = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 227 mirror: true mean_file: "mean.binaryproto" }
  data_param { source: "%s" backend: LMDB batch_size: %d }
}
# As in a net that trains, nobody looks at the batch.
layer { name: "silence" type: "Silence" bottom: "data" bottom: "label" }
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True)
    options = parser.parse_args()

    import caffe

    caffe.set_mode_cpu()
    Path("read.prototxt").write_text(NET % (options.database, options.batch))
    net = caffe.Net("read.prototxt", caffe.TRAIN)
    # More than what is read ahead, so that it is not counted as read in no time.
    for _ in range(8):
        net.forward()
    start = time.perf_counter()
    for _ in range(options.batches):
        net.forward()
    json.dump({"seconds": (time.perf_counter() - start) / options.batches}, sys.stdout)


if __name__ == "__main__":
    main()
