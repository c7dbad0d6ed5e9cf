"""caffe.Net, the solvers and the modes, as users of pycaffe call them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import learnable_images, write_lmdb
from small_nets import ACCURACY, TINY, inputs, ip, relu

import caffe
from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import SolverError

FORCED = "force_backward: true\n"
STAGED = TINY + relu("staged", "ip2", "extra").replace(
    'type: "ReLU"', 'type: "ReLU" include { min_level: 1 stage: "deploy" }'
)
LABELS = np.array([0, 1, 1, 0], np.float32)
DATA = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(FORCED + TINY + ACCURACY)
    (tmp_path / "staged.prototxt").write_text(STAGED)
    (tmp_path / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 5 '
        'snapshot_prefix: "snap" max_iter: 3 test_iter: 1 test_interval: 9'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def net(here: Path) -> caffe.Net:
    made = caffe.Net("net.prototxt", caffe.TRAIN)
    made.blobs["data"].data[...] = DATA
    made.blobs["label"].data[...] = LABELS
    return made


# -- making nets --------------------------------------------------------------------------


def test_three_ways_to_make_a_net(net):
    net.save("w.caffemodel")
    weights = net.params["ip"][0].data
    by_place = caffe.Net("net.prototxt", "w.caffemodel", caffe.TEST)
    by_name = caffe.Net(network_file="net.prototxt", phase=caffe.TEST, weights="w.caffemodel")
    mixed = caffe.Net("net.prototxt", caffe.TEST, weights="w.caffemodel")
    for made in (by_place, by_name, mixed):
        np.testing.assert_array_equal(made.params["ip"][0].data, weights)
    fresh = caffe.Net("net.prototxt", caffe.TEST)
    assert (fresh.params["ip"][0].data != weights).any()


def test_level_and_stages_choose_layers(here):
    def has(**state) -> bool:
        made = caffe.Net(network_file="staged.prototxt", phase=caffe.TEST, **state)
        return "staged" in made._layer_names

    assert has(level=1, stages=["deploy"])
    assert has(level=2, stages=["other", "deploy"])
    assert not has(level=1)
    assert not has(stages=["deploy"])
    assert not has(level=1, stages=None)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [((), {}), ((1, 2, 3), {}), (("w", 1), {"phase": 1}), ((1,), {"stage": ["a"]}),
     ((), {"weights": "w"})],
)  # fmt: skip
def test_other_ways_are_told(here, arguments, options):
    with pytest.raises(TypeError, match=r"Net takes \(network_file, phase\), .*weights, phase"):
        caffe.Net("net.prototxt", *arguments, **options)


def test_errors_are_caffe_errors_that_name_the_file(here):
    (here / "bad.prototxt").write_text("layer {\n  name: 'x'\n  tpye: 'ReLU'\n}")
    with pytest.raises(caffe.CaffeError, match=r"bad\.prototxt:3:.*did you mean 'type'"):
        caffe.Net("bad.prototxt", caffe.TEST)
    with pytest.raises(caffe.CaffeError, match=r"absent\.prototxt: no such file"):
        caffe.Net("absent.prototxt", caffe.TEST)


def test_what_a_net_shows(net):
    assert net.inputs == ["data", "label"]
    assert net.outputs == ["accuracy", "loss"]
    assert net._layer_names[1:3] == ["label", "label_label_0_split"]
    assert list(net.params) == ["ip", "ip2"]
    assert [layer.type for layer in net.layers][-2:] == ["SoftmaxWithLoss", "Accuracy"]
    assert not net.layers[-1].blobs
    assert list(net.blobs)[:2] == ["data", "label"]
    weights = net.blob_loss_weights
    assert list(weights) == list(net.blobs)
    assert {name: weight for name, weight in weights.items() if weight} == {"loss": 1}


def test_blobs_have_the_legacy_sizes(net):
    blob = net.blobs["data"]
    assert isinstance(blob, caffe.Blob)
    blob.reshape(2, 3)
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
    blob.reshape(5, 4, 3, 2)
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 4, 3, 2)
    assert blob.data.shape == blob.diff.shape == (5, 4, 3, 2)


# -- forward and backward -----------------------------------------------------------------


def test_forward_fills_inputs_and_returns_outputs(net):
    out = net.forward(data=2 * DATA, label=LABELS)
    assert sorted(out) == ["accuracy", "loss"]
    assert np.shares_memory(out["loss"], net.blobs["loss"].data)
    np.testing.assert_array_equal(net.blobs["data"].data, 2 * DATA)
    more = net.forward(blobs=["ip"])
    assert sorted(more) == ["accuracy", "ip", "loss"]
    weight, bias = (blob.data for blob in net.params["ip"])
    np.testing.assert_allclose(more["ip"], np.maximum(2 * DATA @ weight.T + bias, 0), rtol=1e-5)


def test_forward_from_and_to_a_layer(net):
    assert list(net.forward(end="ip")) == ["ip"]
    net.blobs["ip"].data[...] = 1
    out = net.forward(start="ip2", end="ip2", blobs=["ip"])
    assert sorted(out) == ["ip", "ip2"]
    weight, bias = (blob.data for blob in net.params["ip2"])
    expected = np.broadcast_to(weight.sum(axis=1) + bias, (4, 2))
    np.testing.assert_allclose(out["ip2"], expected, rtol=1e-6)


def test_backward_returns_the_inputs_diffs(net):
    net.forward()
    net.blobs["loss"].diff[...] = 1
    once = {name: diff.copy() for name, diff in net.backward(diffs=["ip"]).items()}
    assert sorted(once) == ["data", "ip", "label"]
    assert once["data"].any()
    assert not once["label"].any()
    net.forward()
    twice = net.backward(loss=np.array(2.0), accuracy=np.array(0.0))
    np.testing.assert_allclose(twice["data"], 2 * once["data"], rtol=1e-6)


def test_backward_from_and_to_a_layer(net):
    net.forward()
    net.blobs["ip2"].diff[...] = 1
    assert list(net.backward(start="ip2", end="ip2")) == ["ip"]
    weight = net.params["ip2"][0].data
    expected = np.broadcast_to(weight.sum(axis=0), (4, 3))
    np.testing.assert_allclose(net.blobs["ip"].diff, expected, rtol=1e-6)
    assert not net.params["ip"][0].diff.any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda n: n.forward(data=DATA), r"values for \['data', 'label'\], found \['data'\]"),
        (lambda n: n.forward(data=DATA, label=LABELS, x=1), "found .*'x'"),
        (lambda n: n.forward(data=DATA[:2], label=LABELS),
         r"blob 'data' has the shape \[4, 3\], the value given for it \[2, 3\]; reshape"),
        (lambda n: n.forward(end="ip3"), "no layer 'ip3'; the net has data, label,"),
        (lambda n: n.forward(start="nope"), "no layer 'nope'"),
        (lambda n: n.forward(blobs=["fc"]), "no blob 'fc'; the net has data, label,"),
        (lambda n: n.backward(loss=1), r"values for \['accuracy', 'loss'\], found \['loss'\]"),
        (lambda n: n.backward(), "backward before forward"),
        (lambda n: n.backward(end="nope"), "no layer 'nope'"),
    ],
)  # fmt: skip
def test_mistakes_of_calls(net, call, says):
    with pytest.raises(caffe.CaffeError, match=says):
        call(net)


def test_copy_from_and_share_with(net):
    other = caffe.Net("net.prototxt", caffe.TEST)
    net.save("w.caffemodel")
    other.copy_from("w.caffemodel")
    np.testing.assert_array_equal(other.params["ip"][0].data, net.params["ip"][0].data)
    net.params["ip"][0].data[...] = 4
    assert (other.params["ip"][0].data != 4).all()
    other.share_with(net)
    net.params["ip"][0].data[...] = 5
    assert (other.params["ip"][0].data == 5).all()


def test_gradients_by_hand_of_a_users_loop(here):
    """The usual pycaffe loop without a solver: clear, forward, backward, update."""
    (here / "linear.prototxt").write_text(
        inputs(x=(2, 3)) + ip("ip", "x", 1, more="loss_weight: 1")
    )
    net = caffe.Net("linear.prototxt", caffe.TRAIN)
    net.params["ip"][0].data[...] = 0
    for step in range(1, 4):
        net.clear_param_diffs()
        net.forward(x=np.ones((2, 3)))
        net.backward()
        for blob in net.params["ip"]:
            blob.data[...] -= 0.1 * blob.diff
        np.testing.assert_allclose(net.params["ip"][0].data, [[-0.2 * step] * 3], rtol=1e-6)


# -- solvers ------------------------------------------------------------------------------


def test_get_solver_steps_and_solves(here):
    solver = caffe.get_solver("solver.prototxt")
    assert type(solver) is caffe.SGDSolver
    assert type(solver.net) is caffe.Net
    assert [type(net) for net in solver.test_nets] == [caffe.Net]
    before = solver.net.params["ip2"][1].data.copy()
    solver.step(1)
    assert solver.iter == 1
    assert (solver.net.params["ip2"][1].data != before).any()
    solver.solve()
    assert solver.iter == 3
    assert sorted(path.name for path in here.glob("snap*")) == [
        "snap_iter_3.caffemodel", "snap_iter_3.solverstate",
    ]  # fmt: skip
    again = caffe.SGDSolver("solver.prototxt")
    again.restore("snap_iter_3.solverstate")
    assert again.iter == 3
    np.testing.assert_array_equal(again.net.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_other_types_of_solver_are_told(here):
    text = (here / "solver.prototxt").read_text()
    (here / "solver.prototxt").write_text(f'{text} type: "Sgd"')
    with pytest.raises(
        SolverError, match=r"solver\.prototxt: solver type 'Sgd' is not known; .*SGD"
    ):
        caffe.get_solver("solver.prototxt")


# -- modes --------------------------------------------------------------------------------


def filled_weights() -> np.ndarray:
    return caffe.Net("net.prototxt", caffe.TRAIN).params["ip"][0].data


def test_random_seed_starts_fillers_anew(here):
    caffe.set_random_seed(1)
    first, second = filled_weights(), filled_weights()
    caffe.set_random_seed(1)
    np.testing.assert_array_equal(filled_weights(), first)
    assert (first != second).any()
    caffe.set_random_seed(2)
    assert (filled_weights() != first).any()


def test_random_seed_of_the_solver_gives_the_same_weights(here):
    first, second = (caffe.get_solver("solver.prototxt").net.params["ip"][0].data for _ in "ab")
    np.testing.assert_array_equal(first, second)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_gpu_mode_without_a_gpu_is_told():
    for call in (caffe.set_mode_gpu, lambda: caffe.set_device(3)):
        with pytest.raises(
            caffe.CaffeError, match=r"GPU . was asked for.*use the CPU .*set_mode_cpu"
        ):
            call()
    assert context.device.type == "cpu"
    caffe.set_mode_cpu()


def test_layer_types_and_constants():
    assert "Convolution" in caffe.layer_type_list()
    assert (caffe.TRAIN, caffe.TEST) == (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)


def test_every_public_name_is_there():
    assert {"Net", "SGDSolver", "io", "proto", "set_mode_gpu"} <= set(caffe.__all__)
    assert all(hasattr(caffe, name) for name in caffe.__all__)


@pytest.mark.parametrize(
    ("statement", "loads_torch"),
    [
        ("from caffe.proto import caffe_pb2", False),
        ("import caffe; caffe.proto.caffe_pb2.NetParameter", False),
        ("from caffe import layers, params, NetSpec, to_proto", False),
        ("import caffe; caffe.Net", True),
    ],
)
def test_only_what_computes_loads_torch(statement, loads_torch):
    script = f"{statement}\nimport sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout.decode().strip() == str(loads_torch)


def test_the_compiler_is_not_loaded_to_make_a_net():
    """It takes half as long again as all else."""
    script = "import sys, caffe; caffe.Net; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout == b"False\n"


def test_a_net_with_a_reading_thread_lets_its_process_end(here):
    write_lmdb(here / "train", *learnable_images(5, 2, (1, 2, 2)))
    (here / "data.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" '
        'data_param { source: "train" backend: LMDB batch_size: 2 } }'
    )
    script = "import caffe; net = caffe.Net('data.prototxt', caffe.TEST); net.forward()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)
