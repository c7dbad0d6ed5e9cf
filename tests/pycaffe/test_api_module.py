"""pycaffe's module-level names."""

import time

import numpy as np
from api_nets import raised, small, weights

import caffe


def test_phases():
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)


def test_version():
    assert caffe.__version__ == "1.0.0"


def test_names():
    for name in [
        "AdaDeltaSolver",
        "AdaGradSolver",
        "AdamSolver",
        "Classifier",
        "Detector",
        "Layer",
        "NCCL",
        "NesterovSolver",
        "Net",
        "NetSpec",
        "RMSPropSolver",
        "SGDSolver",
        "TEST",
        "TRAIN",
        "Timer",
        "get_solver",
        "has_nccl",
        "init_log",
        "io",
        "layer_type_list",
        "layers",
        "log",
        "net_spec",
        "params",
        "proto",
        "set_device",
        "set_mode_cpu",
        "set_mode_gpu",
        "set_multiprocess",
        "set_random_seed",
        "set_solver_count",
        "set_solver_rank",
        "solver_count",
        "solver_rank",
        "to_proto",
    ]:
        assert hasattr(caffe, name), name


def test_layer_type_list():
    types = list(caffe.layer_type_list())
    assert types == sorted(types)
    assert {"Convolution", "Python", "Input", "SoftmaxWithLoss"} <= set(types)


def test_solver_counts_and_ranks():
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    assert caffe.set_solver_count(3) is None
    assert caffe.set_solver_rank(2) is None
    try:
        assert (caffe.solver_count(), caffe.solver_rank()) == (3, 2)
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)
    assert caffe.set_multiprocess(True) is None
    caffe.set_multiprocess(False)


def test_no_nccl():
    assert caffe.has_nccl() is False


def test_timer():
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.stop()
    timer.start()
    time.sleep(0.02)
    first = timer.ms
    assert 15 <= first < 1000
    time.sleep(0.02)
    timer.stop()
    assert timer.ms == first
    timer.start()
    time.sleep(0.02)
    timer.start()
    time.sleep(0.02)
    assert timer.stop() is None
    assert timer.ms >= 35
    assert isinstance(raised(setattr, timer, "ms", 1), AttributeError)


def test_random_seed():
    assert caffe.set_random_seed(3) is None
    first, second = weights(small())[0], weights(small())[0]
    caffe.set_random_seed(3)
    np.testing.assert_array_equal(weights(small())[0], first)
    assert (first != second).any()


def test_modes():
    assert caffe.set_mode_cpu() is None
    assert small().forward()["loss"] > 0


def test_log_takes_text():
    assert caffe.log("some words") is None
    assert isinstance(raised(caffe.log), TypeError)
