"""Looking things up in a net, and a solver's prototxt by names and values."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from small_training import BODY, INPUTS, complaint, fill, solver, write

import caffe
from caffetools import solvers
from caffetools.solvers import SolverProtoTXT


def net(body=BODY, phase=caffe.TEST):
    made = caffe.Net(write("net.prototxt", INPUTS + body), phase)
    fill(made)
    return made


def test_names_and_batch_size():
    made = net()
    assert solvers.layer_names(made) == ["in", "ip1", "relu", "drop", "score", "loss", "accuracy"]
    assert solvers.batch_size(made) == 8
    other = write("other.prototxt", INPUTS.replace('"data"', '"x"').replace("dim: 8", "dim: 5"))
    assert solvers.batch_size(caffe.Net(other, caffe.TEST)) == 5


def test_scores_and_labels_are_the_bottoms_of_the_loss():
    scores, labels = solvers.scores_and_labels(net())
    assert scores.startswith("score")
    assert labels.startswith("label")
    auxiliary = BODY.replace('"loss"', '"early"').replace('"score"', '"early_score"')
    auxiliary = auxiliary[: auxiliary.index('layer { name: "accuracy"')]
    later = BODY.replace('"ip1"', '"ip2"').replace('"relu"', '"relu2"').replace('"drop"', '"drop2"')
    assert solvers.scores_and_labels(net(auxiliary + later))[0].startswith("score")
    by_accuracy = net(BODY.replace("SoftmaxWithLoss", "EuclideanLoss").replace(
        'bottom: "label" top: "loss"', 'bottom: "score" top: "loss"'
    ))  # fmt: skip
    assert solvers.scores_and_labels(by_accuracy)[0].startswith("score")
    bare = caffe.Net(write("bare.prototxt", INPUTS), caffe.TEST)
    assert "none among in" in complaint(solvers.scores_and_labels, bare)


def test_weights_are_copied_by_name():
    source, target = net(), net(BODY.replace('name: "score"', 'name: "head"'))
    before = target.params["head"][0].data.copy()
    assert solvers.copy_weights(source, target) == ["ip1"]
    for mine, theirs in zip(target.params["ip1"], source.params["ip1"]):
        np.testing.assert_array_equal(mine.data, theirs.data)
    np.testing.assert_array_equal(target.params["head"][0].data, before)
    source.params["ip1"][0].data[...] = 7
    assert not (target.params["ip1"][0].data == 7).any()


def test_weights_that_do_not_fit_are_not_copied():
    source, target = net(), net(BODY.replace("num_output: 12", "num_output: 5"))
    before = target.params["ip1"][1].data.copy()
    said = complaint(solvers.copy_weights, source, target)
    assert said.startswith("layer 'ip1': expected weights of the shapes [(5, 6), (5,)], found")
    np.testing.assert_array_equal(target.params["ip1"][1].data, before)
    strange = net(BODY.replace('name: "score"', 'name: "a"').replace('name: "ip1"', 'name: "b"'))
    assert "in both nets" in complaint(solvers.copy_weights, source, strange)


def test_gradients_and_updates_of_a_layer():
    made = solver()
    made.net.clear_param_diffs()
    made.net.forward()
    made.net.backward()
    gradients = solvers.gradient_magnitudes(made.net)
    weight, bias = (blob.diff.astype("d") for blob in made.net.params["score"])
    assert abs(gradients["score"] - np.sqrt((weight**2).sum() + (bias**2).sum())) < 1e-6
    made.net.params["ip1"][0].diff[0] = 1e30
    np.testing.assert_allclose(solvers.gradient_magnitudes(made.net)["ip1"], 6**0.5 * 1e30)
    made.net.clear_param_diffs()
    made.net.backward()
    made.apply_update()
    sizes = {
        name: np.sqrt(sum((blob.data.astype("d") ** 2).sum() for blob in blobs))
        for name, blobs in made.net.params.items()
    }
    relative = solvers.update_magnitudes(made.net, relative=True)
    for name, update in solvers.update_magnitudes(made.net).items():
        assert abs(update - 0.5 * gradients[name]) < 1e-6
        assert abs(relative[name] - update / sizes[name]) < 1e-6


def heard_from(script):
    """What a process of its own writes to standard error; nothing has silenced it yet."""
    write("script.py", script)
    environment = dict(os.environ, GLOG_minloglevel="0")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=True)
    return done.stderr.decode()


def test_the_log_is_silenced_before_the_import_and_after_it():
    solver()
    early = "from caffetools.caffe_log import silence_log\n"
    late = "import caffe\nfrom caffetools.solvers import silence_log\n"
    train = "import caffe\ncaffe.get_solver('solver.prototxt')\n"
    for first in (early, late):
        assert "Solver scaffolding done" in heard_from(first + train)
        assert heard_from(first + "silence_log()\nsilence_log()\n" + train) == ""
        assert "Solver scaffolding done" in heard_from(first + "silence_log(0)\n" + train)
    assert "from 0 (all) to 3 (fatal), found 4" in complaint(solvers.silence_log, 4)


def test_a_solver_is_written_and_read():
    write("net.prototxt", INPUTS + BODY)
    parameters = {
        "net": "net.prototxt", "test_initialization": "false", "test_iter": 1, "type": "Nesterov",
        "test_interval": 10, "base_lr": 0.25, "lr_policy": "multistep", "gamma": 0.5,
        "stepvalue": [2, 3], "max_iter": 7, "momentum": 0.5, "solver_mode": "CPU",
    }  # fmt: skip
    settings = SolverProtoTXT(parameters, snapshot_prefix="snap")
    assert settings.get_parameters() == dict(parameters, snapshot_prefix="snap")
    settings.write("written.prototxt")
    made = caffe.get_solver("written.prototxt")
    assert type(made) is caffe.NesterovSolver
    assert made.param.max_iter == 7
    again = SolverProtoTXT()
    again.read("written.prototxt")
    assert str(again) == str(settings) == Path("written.prototxt").read_text()
    assert again.get_parameters()["solver_mode"] == "CPU"
    assert again.get_parameters()["stepvalue"] == [2, 3]


def test_settings_that_caffe_lacks_are_refused():
    right = {"net": "net.prototxt", "base_lr": 0.1, "lr_policy": "fixed"}
    for more, words in [
        ({"base_lrr": 1}, "solver.base_lrr is no plain field of Caffe's solver; did you mean"),
        ({"max_iter": "many"}, "solver.max_iter is 'many'; expected an integer"),
        ({"debug_info": "no"}, "solver.debug_info is 'no'; expected true or false"),
        ({"solver_mode": "TPU"}, "expected one of CPU, GPU"),
        ({"net": ""}, "names no net"),
        ({"lr_policy": "step"}, "needs gamma"),
        ({"net_param": 1}, "no plain field"),
    ]:
        assert words in complaint(SolverProtoTXT, {**right, **more}), words
    settings = SolverProtoTXT(right)
    complaint(settings.set_parameters, {"base_lr": 3})
    assert settings.get_parameters() == right
