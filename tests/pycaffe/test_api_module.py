"""pycaffe's module-level names."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

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


def test_modules_that_come_with_caffe():
    code = "import caffe; assert caffe.pycaffe.Net is caffe.Net; print(dir(caffe))"
    names = subprocess.check_output([sys.executable, "-c", code]).decode()
    for name in ["classifier", "detector", "io", "net_spec", "proto", "pycaffe"]:
        assert repr(name) in names, name
    for name in ["coord_map", "draw"]:
        assert repr(name) not in names, name


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


def logged(call="pass", **flags):
    """The lines of a process that logs some words, without glog's warning of an early start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GLOG_")}
    given = {"GLOG_" + name: value for name, value in flags.items()}
    code = "import caffe; %s; caffe.log('some words')" % call
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(clean, **given), stderr=subprocess.PIPE, check=True
    )
    lines = done.stderr.decode().splitlines()
    return [line for line in lines if not line.startswith("WARNING: Logging before InitGoogle")]


def test_log_writes_a_line_of_glogs():
    form = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ _caffe\.cpp:68\] some words"
    for call in ("pass", "caffe.init_log()", "caffe.init_log(0)", "caffe.init_log(0, True)"):
        (line,) = logged(call, logtostderr="1")
        assert re.fullmatch(form, line), line
    assert len(logged()) == 1
    assert logged(minloglevel="1") == []


def test_init_log_sets_the_level_and_sends_the_log_to_files():
    for level in (1, 2):
        assert logged("caffe.init_log(%d)" % level, logtostderr="1") == []
    for count, call in enumerate(["caffe.init_log()", "caffe.init_log(0, False)"]):
        folder = Path(str(count))
        folder.mkdir()
        assert logged(call, log_dir=str(folder)) == []
        texts = [path.read_text() for path in folder.glob("*.log.INFO.*")]
        assert len(texts) == 1
        assert "_caffe.cpp:68] some words" in texts[0]
