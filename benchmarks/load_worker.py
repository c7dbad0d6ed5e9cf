"""Time copy_from of whichever Caffe `import caffe` finds; print it as JSON.

Runs on our interpreter and on BVLC's (Python 3.9): nothing but pycaffe here.
"""

import json
import resource
import sys
import time
import zlib


def seconds(net, path):
    start = time.perf_counter()
    net.copy_from(path)
    return time.perf_counter() - start


def main():
    import caffe

    caffe.set_mode_cpu()
    net = caffe.Net("net.prototxt", caffe.TEST)
    seconds(net, "small.caffemodel")
    result = {"first": seconds(net, "whole.caffemodel")}
    check = 0
    for blobs in net.params.values():
        for blob in blobs:
            check = zlib.crc32(blob.data.tobytes(), check)
    result["again"] = seconds(net, "whole.caffemodel")
    # Linux counts in kilobytes.
    result["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    result["check"] = check
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
