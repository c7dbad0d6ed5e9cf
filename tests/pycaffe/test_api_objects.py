"""What users may set on nets, solvers, layers and blobs, and what they may not."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
from api_nets import DATA, IP, raised, small, write

import caffe
from caffe.proto import caffe_pb2

FREE = {
    "net": "name phase device param loss state layer_names layer_bottoms layer_tops plan learnable "
    "lr_mults decay_mults param_places loss_weights forward_layers backward_layers "
    "forward_backward follow_shapes origin level stages hooks views ids mine",
    "solver": "name type iteration history set_history has_history learning_rate smoothed_loss "
    "action rule slots check is_idle compute update tensors regularised test_all callbacks mine",
    "layer": "name phase param top_names top_count bottoms tops forward error mine",
    "blob": "name owner device data_tensor diff_tensor set_data set_diff add_diff clear_diff "
    "release share_data data_handed_out mine",
}
READ_ONLY = {
    "net": "blobs params layers layer_dict inputs outputs top_names bottom_names "
    "blob_loss_weights _layer_names _blobs _blob_names _inputs _outputs",
    "solver": "net test_nets iter lr param",
    "layer": "blobs type",
    "blob": "data diff shape num channels height width count",
}


def solver():
    net = (
        'name: "real" layer { name: "in" type: "Input" top: "data" '
        "input_param { shape { dim: 4 dim: 3 } } }"
        + IP % ("ip", "data", "ip", 1)
        + 'layer { name: "sum" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }'
    )
    write("net.prototxt", net)
    made = caffe.SGDSolver(
        write(
            "solver.prototxt",
            'net: "net.prototxt" base_lr: 0.25 lr_policy: "fixed" max_iter: 3 momentum: 0.5 '
            'snapshot_prefix: "snap" test_iter: 1 test_interval: 2 display: 1 random_seed: 5',
        )
    )
    for each in [made.net, *made.test_nets]:
        each.blobs["data"].data[...] = DATA
    return made


def run(net):
    """Every way through a net; what is read from and saved by it."""
    net.reshape()
    out = {name: array.copy() for name, array in net.forward().items()}
    net.backward()
    net.clear_param_diffs()
    net.save("w.caffemodel")
    net.copy_from("w.caffemodel")
    net.save_hdf5("w.h5")
    net.share_with(small())
    saved = caffe_pb2.NetParameter.FromString(Path("w.caffemodel").read_bytes())
    return out, net.top_names, net.blob_loss_weights, list(net.layer_dict), saved.name


def take(kind, thing):
    """Set all names that pycaffe does not have."""
    for name in FREE[kind].split():
        assert not hasattr(thing, name), name
        setattr(thing, name, "mine")


def train(made):
    made.step(2)
    made.net.forward()
    made.net.backward()
    made.apply_update()
    made.snapshot()
    made.solve()
    made.restore("snap_iter_3.solverstate")
    return made.iter, made.lr, made.net.params["ip"][0].data.tolist()


def test_any_other_name_of_a_net_is_the_users():
    caffe.set_random_seed(3)
    expected = run(small())
    caffe.set_random_seed(3)
    net = small()
    take("net", net)
    assert run(net) == expected
    assert expected[-1] == "small"
    assert net.name == net.plan == "mine"


def test_any_other_name_of_a_solver_is_the_users():
    expected = train(solver())
    made = solver()
    take("solver", made)
    for net in [made.net, *made.test_nets]:
        take("net", net)
    assert train(made) == expected
    assert made.iteration == made.history == "mine"


def test_any_other_name_of_a_layer_or_blob_is_the_users():
    caffe.set_random_seed(3)
    expected = run(small())
    caffe.set_random_seed(3)
    net = small()
    for layer in net.layers:
        take("layer", layer)
    for blob in [*net.blobs.values(), *net.params["ip"]]:
        take("blob", blob)
    assert run(net) == expected
    assert net.blobs["ip"].owner == "mine"


def test_pycaffes_own_names_cannot_be_set():
    made = solver()
    things = {
        "net": made.net,
        "solver": made,
        "layer": made.net.layers[1],
        "blob": made.net.blobs["ip"],
    }
    for kind, names in READ_ONLY.items():
        for name in names.split():
            error = raised(setattr, things[kind], name, 3)
            assert isinstance(error, AttributeError), (kind, name)
    made.step(1)


def test_methods_can_be_replaced_on_an_object():
    net = small()
    net.forward = lambda: "mine"
    assert net.forward() == "mine"

    class Mine(caffe.Net):
        def __init__(self, name):
            self.early = 3
            caffe.Net.__init__(self, name, caffe.TEST)
            self.loss = self.outputs

        def _forward(self, start, end):
            self.seen = (start, end)
            return caffe.Net._forward(self, start, end)

    mine = Mine("small.prototxt")
    mine.forward(end="ip")
    assert mine.early == 3
    assert mine.loss == ["loss"]
    assert mine.seen[0] == 0
    assert mine.seen[1] == list(mine._layer_names).index("ip")


def test_blobs_and_params_are_ordered_dicts():
    net = small()
    for shown in (net.blobs, net.params):
        assert isinstance(shown, OrderedDict)
    assert net.blobs is net.blobs
    assert net.params is net.params
    assert net.blobs["ip"] is net.blobs["ip"]
    net.params.move_to_end("ip")
    assert list(net.params) == ["ip2", "ip"]
    assert net.params.popitem(last=False)[0] == "ip2"
    np.testing.assert_array_equal(net.forward(end="ip2")["ip2"], net.blobs["ip2"].data)


def test_parameters_of_a_layer_are_a_sequence():
    blobs = small().params["ip"]
    assert [tuple(blob.shape) for blob in blobs] == [(5, 3), (5,)]
    assert tuple(blobs[-1].shape) == (5,)
    assert len(blobs[0:1]) == 1
    assert isinstance(raised(lambda: blobs[2]), IndexError)


def test_layers_are_instances_of_layer():
    net = small()
    assert all(isinstance(layer, caffe.Layer) for layer in net.layers)
    assert not hasattr(net.layers[1], "name")
    assert isinstance(raised(lambda: net.layers[1].param), AttributeError)


def test_other_solvers_are_sgd_solvers_and_nothing_else():
    kinds = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
    classes = [getattr(caffe, kind + "Solver") for kind in kinds]
    for one in classes:
        for other in classes:
            assert issubclass(one, other) is (one is other or other is caffe.SGDSolver)
    assert isinstance(solver(), caffe.SGDSolver)
