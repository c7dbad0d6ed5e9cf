"""pycaffe's module-level names, on both builds."""

import caffe


def test_phases():
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
