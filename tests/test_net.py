"""Nets: which layers, which blobs, which gradients, and what a user may do between layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import (
    ACCURACY,
    DATA,
    LOSS,
    TEST,
    TINY,
    TRAIN,
    build,
    diffs,
    filled,
    inputs,
    ip,
    message,
    relu,
    run,
    run_back,
)

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import LayerError, NetError, ShapeMismatchError
from recaffe.layers.base import _LAYERS, Layer, make_layer
from recaffe.net import share_weights
from recaffe.net.filter import filter_net
from recaffe.net.splits import insert_splits


@pytest.fixture(autouse=True)
def _seeded() -> None:
    context.seed(1)


# -- phases, levels, stages ---------------------------------------------------------------

RULES = [
    # rule, (phase, level, stages) that include it, and that do not
    ("include { phase: TRAIN }", [(TRAIN, 0, [])], [(TEST, 0, [])]),
    ("exclude { phase: TRAIN }", [(TEST, 0, [])], [(TRAIN, 0, [])]),
    ("include { min_level: 2 }", [(TEST, 2, []), (TRAIN, 3, [])], [(TEST, 1, [])]),
    ("include { max_level: 2 }", [(TEST, 2, []), (TEST, -1, [])], [(TEST, 3, [])]),
    ("include { min_level: 1 max_level: 2 }", [(TEST, 1, [])], [(TEST, 0, []), (TEST, 3, [])]),
    ('include { stage: "a" }', [(TEST, 0, ["a"]), (TEST, 0, ["b", "a"])], [(TEST, 0, ["b"])]),
    ('include { stage: "a" stage: "b" }', [(TEST, 0, ["a", "b"])], [(TEST, 0, ["a"])]),
    ('include { stage: "a" } include { stage: "b" }', [(TEST, 0, ["b"])], [(TEST, 0, [])]),
    ('include { not_stage: "a" }', [(TEST, 0, []), (TEST, 0, ["b"])], [(TEST, 0, ["a", "b"])]),
    ('exclude { stage: "a" }', [(TEST, 0, ["b"])], [(TEST, 0, ["a"])]),
    ('include { phase: TEST stage: "a" }', [(TEST, 0, ["a"])], [(TRAIN, 0, ["a"]), (TEST, 0, [])]),
    ("exclude { phase: TEST } exclude { min_level: 1 }", [(TRAIN, 0, [])], [(TRAIN, 1, [])]),
    ("", [(TEST, 0, []), (TRAIN, 5, ["x"])], []),
]


@pytest.mark.parametrize(("rule", "within", "without"), RULES, ids=[rule[0] for rule in RULES])
def test_rules(rule, within, without):
    net = message(f'layer {{ name: "x" type: "Input" top: "x" {rule} }}')
    for states, expected in ((within, 1), (without, 0)):
        for phase, level, stages in states:
            state = caffe_pb2.NetState(phase=phase, level=level, stage=stages)
            assert len(filter_net(net, state).layer) == expected, state


def test_stages_of_the_file_count_beside_those_given():
    text = 'state { stage: "a" }' + "".join(
        f'layer {{ name: "{s}" type: "Input" top: "{s}" include {{ stage: "{s}" }} '
        "input_param { shape { dim: 1 } } }"
        for s in "abc"
    )
    assert build(text, stages=["b"]).layer_names == ["a", "b"]


def test_include_and_exclude_together_is_a_mistake():
    rules = "include { phase: TRAIN } exclude { phase: TEST }"
    with pytest.raises(NetError, match=r"layer 'relu'.*not both"):
        build(inputs(data=(1,)) + relu("relu", "data").replace("}", rules + "}"))


def test_a_layers_own_phase_wins():
    net = build(inputs(x=(1, 50)) + 'layer { name: "d" type: "Dropout" bottom: "x" top: "d" '
                "phase: TEST }")  # fmt: skip
    net.blobs["x"].data[...] = 1
    run(net)
    assert (net.blobs["d"].data == 1).all()


# -- splits -------------------------------------------------------------------------------


def names(text: str) -> tuple[list[str], list[str]]:
    layers = insert_splits(message(text)).layer
    return [layer.name for layer in layers], list(
        dict.fromkeys(top for layer in layers for top in layer.top)
    )


def test_splits_have_bvlcs_names():
    """The literals that test_bvlc_solver_semantics holds against BVLC's build."""
    data = 'layer { name: "data" type: "DummyData" top: "data" top: "label" }\n'
    text = data + ip("ip", "data") + relu("relu", "ip") + ip("ip2", "ip") + LOSS + ACCURACY
    text += 'layer { name: "s" type: "Silence" bottom: "ip" }'
    layers, blobs = names(text)
    assert layers == [
        "data", "label_data_1_split", "ip", "relu", "ip_relu_0_split", "ip2", "ip2_ip2_0_split",
        "l", "a", "s",
    ]  # fmt: skip
    assert blobs == [
        "data", "label", "label_data_1_split_0", "label_data_1_split_1", "ip",
        "ip_relu_0_split_0", "ip_relu_0_split_1", "ip2", "ip2_ip2_0_split_0", "ip2_ip2_0_split_1",
        "loss", "accuracy",
    ]  # fmt: skip


def test_one_consumer_needs_no_split_and_inserting_twice_changes_nothing():
    assert insert_splits(message(TINY)) == message(TINY)
    once = insert_splits(message(TINY + ACCURACY))
    assert insert_splits(once) == once
    assert once != message(TINY + ACCURACY)


def test_a_layer_that_reads_a_blob_twice_gets_two_tops_of_a_split():
    net = insert_splits(message(inputs(x=(1, 2)) + 'layer { name: "c" type: "Convolution" '
                                'bottom: "x" bottom: "x" top: "a" top: "b" }'))  # fmt: skip
    assert list(net.layer[2].bottom) == ["x_x_0_split_0", "x_x_0_split_1"]


def test_the_weights_of_other_tops_are_lost_where_one_moves_to_a_split():
    """Caffe's own slip: BVLC's build counts ``b`` for nothing, too."""
    text = inputs(x=(2, 4)) + (
        'layer { name: "s" type: "Slice" bottom: "x" top: "a" top: "b" '
        "loss_weight: 2 loss_weight: 3 }"
    ) + relu("r", "a", "r")  # fmt: skip
    layers = insert_splits(message(text)).layer
    assert [layer.name for layer in layers[1:]] == ["s", "a_s_0_split", "r"]
    assert [list(layer.loss_weight) for layer in layers[1:]] == [[], [2, 0], []]


def test_a_loss_weight_counts_as_a_consumer_and_moves_to_the_split():
    text = inputs(x=(2, 2)) + ip("ip", "x", more="loss_weight: 3") + relu("r", "ip", "r")
    split = insert_splits(message(text)).layer[2]
    assert (split.name, list(split.loss_weight)) == ("ip_ip_0_split", [3, 0])
    net = build(text)
    run(net)
    assert net.loss() == pytest.approx(3 * float(net.blobs["ip"].data.sum()), rel=1e-6)
    assert net.layers[3].param.bottom[0] == "ip_ip_0_split_1"
    run_back(net)
    np.testing.assert_array_equal(net.blobs["ip"].diff, np.full((2, 3), 3))


def test_gradients_of_all_consumers_add_up():
    text = "force_backward: true\n" + DATA + ip("ip", "data")
    net = filled(text + relu("a", "ip", "a") + relu("b", "ip", "b"))
    run(net)
    net.blobs["a"].diff[...] = 2
    net.blobs["b"].diff[...] = 5
    run_back(net)
    np.testing.assert_array_equal(net.blobs["ip"].diff, 7 * (net.blobs["ip"].data > 0))


# -- graphs that make no sense ------------------------------------------------------------

MISTAKES = [
    (relu("r", "dat"), "layer 'r', bottom 0: unknown blob 'dat'; .*Known: data, label"),
    (ip("ip", "data") + ip("again", "data", top="ip"), "layer 'again': top 'ip' is already"),
    (inputs(data=(1,)), "layer 'data': top 'data' is already"),
    (ip("ip", "data", more="propagate_down: true propagate_down: true"),
     r"layer 'ip': propagate_down is given 2 time\(s\) for 1 bottoms"),
    (ip("ip", "data", more="loss_weight: 1 loss_weight: 1"), r"'ip' .*loss_weight is given 2 "),
    (ip("ip", "data", more="param {} param {} param {}"),
     r"'ip' .*param is given 3 time\(s\), but the layer has 2"),
    (relu("r", "data").replace("top", "param {} top"), "'r' .*param is given 1 .* has 0"),
    (ip("ip", "data", more='param { name: "w" }')
     + ip("ip2", "data", outputs=2, more='param { name: "w" }'),
     r"layer 'ip2', blob 0: shares the parameter 'w' of layer 'ip', .*\[2, 3\] .*\[3, 3\]"),
    (ip("ip", "data", more='param { name: "w" lr_mult: 1 }')
     + ip("ip2", "data", more='param { name: "w" lr_mult: 2 }'),
     "share the parameter 'w' give it the lr_mult 1 and 2"),
    (relu("r", "data").replace("ReLU", "Rectify"), "'r': unknown layer type 'Rectify'; known"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_mistakes_are_told(text, says):
    with pytest.raises(NetError, match=f"(?s){says}"):
        build(DATA + text)


# -- running ------------------------------------------------------------------------------


def test_backward_before_forward_is_told():
    with pytest.raises(NetError, match=r"layer 'l': backward before forward"):
        run_back(filled(TINY))


def test_a_part_of_the_net_runs_from_what_the_user_wrote():
    net = filled(TINY)
    run(net)
    names = net.layer_names
    net.blobs["ip"].data[...] = [[-1, 2, -3]] * 4
    net.forward_layers(names.index("relu"), names.index("relu"))
    np.testing.assert_array_equal(net.blobs["ip"].data, [[0, 2, 0]] * 4)
    before = net.blobs["ip2"].data.copy()
    net.forward_layers(names.index("ip2"), len(names) - 1)
    weight, bias = (blob.data for blob in net.params["ip2"])
    expected = net.blobs["ip"].data @ weight.T + bias
    np.testing.assert_allclose(net.blobs["ip2"].data, expected, rtol=1e-6)
    assert (before != net.blobs["ip2"].data).any()


def test_a_part_runs_backward_from_the_diff_that_the_user_wrote():
    net = filled(TINY)
    run(net)
    names = net.layer_names
    net.blobs["ip2"].diff[...] = 1
    net.backward_layers(names.index("ip2"), names.index("ip2"))
    weight, _ = (blob.data for blob in net.params["ip2"])
    expected = np.broadcast_to(weight.sum(axis=0), (4, 3))
    np.testing.assert_allclose(net.blobs["ip"].diff, expected, rtol=1e-6)
    assert not net.params["ip"][0].diff.any()


def test_views_stay_the_blobs_memory():
    net = filled(TINY + ACCURACY)
    run(net)
    views = {name: blob.data for name, blob in net.blobs.items()}
    diff_views = {name: blob.diff for name, blob in net.blobs.items()}
    weights = {name: blobs[0].data for name, blobs in net.params.items()}
    for scale in (1, -2):
        net.blobs["data"].data[...] *= scale
        weights["ip"][...] *= scale
        run(net)
        run_back(net)
        for name, blob in net.blobs.items():
            assert np.shares_memory(blob.data, views[name])
            assert np.shares_memory(blob.diff, diff_views[name])
        data, weight = views["data"], weights["ip"]
        np.testing.assert_allclose(
            views["ip"], np.maximum(data @ weight.T + 0.5, 0), rtol=1e-5, atol=1e-6
        )
        assert float(views["accuracy"]) == (views["ip2"].argmax(axis=1) == views["label"]).mean()


def test_looking_at_blobs_changes_no_number():
    """With a view handed out, an in-place layer writes into it; without, nothing is copied."""
    plain, watched = filled(TINY), filled(TINY)
    for mine, theirs in zip(watched.learnable, plain.learnable, strict=True):
        mine.data[...] = theirs.data
    for blob in watched.blobs.values():
        assert blob.data is not None
        assert blob.diff is not None
    for net in (plain, watched):
        for _ in range(2):
            net.clear_param_diffs()
            run(net)
            run_back(net)
    for name, blob in plain.blobs.items():
        np.testing.assert_array_equal(watched.blobs[name].data, blob.data)
        np.testing.assert_array_equal(watched.blobs[name].diff, blob.diff)
    for mine, theirs in zip(watched.learnable, plain.learnable, strict=True):
        np.testing.assert_array_equal(mine.diff, theirs.diff)


def test_a_top_keeps_its_values_when_the_bottom_is_written_to():
    net = build(inputs(x=(1, 3)) + 'layer { name: "d" type: "Dropout" bottom: "x" top: "d" }', TEST)
    net.blobs["x"].data[...] = 1
    run(net)
    net.blobs["x"].data[...] = 2
    assert (net.blobs["d"].data == 1).all()


@pytest.mark.parametrize("explicitly", [True, False])
def test_inputs_can_be_reshaped(explicitly):
    net = build("force_backward: true\n" + inputs(data=(4, 3)) + ip("ip", "data") + relu("r", "ip"))
    run(net)
    net.blobs["data"].reshape(2, 3)
    if explicitly:
        net.reshape()
        assert net.blobs["ip"].shape == (2, 3)
    net.blobs["data"].data[...] = 1
    run(net)
    assert net.blobs["ip"].data.shape == (2, 3)
    run_back(net)
    assert net.blobs["data"].diff.shape == (2, 3)


def test_a_reshape_that_does_not_fit_is_told_each_time():
    net = build(inputs(data=(4, 3)) + ip("ip", "data"))
    net.blobs["data"].reshape(4, 5)
    for _ in range(2):
        with pytest.raises(LayerError, match=r"layer 'ip' .*weights are for 3 inputs"):
            run(net)


def test_outputs_are_what_nobody_consumes_sorted_by_name():
    assert build(TINY + ACCURACY).outputs == ["accuracy", "loss"]
    many = inputs(**dict.fromkeys("hcfadgbe", (1,)))
    assert build(many + relu("r", "c")).outputs == list("abcdefgh")
    assert build(TINY + ACCURACY).inputs == ["data", "label"]


# -- sharing ------------------------------------------------------------------------------


def test_parameters_of_one_name_are_one_blob_whose_gradients_add_up():
    shared = 'param { name: "w" } param { name: "b" }'
    text = "force_backward: true\n" + inputs(data=(4, 3))
    net = filled(text + ip("ip", "data", more=shared) + ip("ip2", "ip", more=shared))
    assert net.params["ip"][0] is net.params["ip2"][0]
    assert net.learnable == net.params["ip"]
    run(net)
    net.blobs["ip2"].diff[...] = 1
    run_back(net)
    both = net.params["ip"][0].diff.copy()
    data, first = net.blobs["data"].data, net.blobs["ip"].data
    ones = np.ones((4, 3), np.float32)
    expected = ones.T @ first + net.blobs["ip"].diff.T @ data
    np.testing.assert_allclose(both, expected, rtol=1e-5, atol=1e-5)


def test_permissive_sharing_of_another_shape_shares_values_and_gradients():
    shared = 'param { name: "w" share_mode: PERMISSIVE } param { name: "b" share_mode: PERMISSIVE }'
    text = "force_backward: true\n" + inputs(a=(4, 6), b=(2, 2))
    text += ip("ip", "a", 2, shared) + ip("ip2", "b", 6, shared.replace('"b"', '"c"'))
    net = build(text)
    first, second = net.params["ip"][0], net.params["ip2"][0]
    assert (first.shape, second.shape) == ((2, 6), (6, 2))
    second.data[...] = np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(first.data, np.arange(12).reshape(2, 6))
    for name in ("a", "b"):
        net.blobs[name].data[...] = 1
    run(net)
    net.blobs["ip"].diff[...] = 1
    net.blobs["ip2"].diff[...] = [[1], [2]]
    run_back(net)
    assert (first.diff == 4 + 3).all()
    assert (second.diff == 4 + 3).all()
    net.clear_param_diffs()
    assert not second.diff.any()


def test_permissive_sharing_wants_the_same_count():
    shared = 'param { name: "w" share_mode: PERMISSIVE }'
    text = inputs(a=(4, 6)) + ip("ip", "a", 2, shared) + ip("ip2", "a", 3, shared)
    with pytest.raises(ShapeMismatchError, match=r"'ip2', blob 0: .*'w' .*\[3, 6\] .*\[2, 6\]"):
        build(text)


def test_factors_of_a_shared_parameter_come_from_whoever_gives_them():
    text = inputs(data=(4, 3)) + ip("ip", "data", more='param { name: "w" }')
    text += ip("ip2", "ip", more='param { name: "w" lr_mult: 0.5 decay_mult: 0 }')
    net = build(text)
    assert net.lr_mults == [0.5, 1, 1]
    assert net.decay_mults == [0, 1, 1]


def test_share_with_shares_values_and_not_gradients():
    net, other = filled(TINY), filled(TINY)
    share_weights(net, other)
    other.params["ip"][0].data[...] = 7
    assert (net.params["ip"][0].data == 7).all()
    net.params["ip2"][1].data[...] = 9
    assert (other.params["ip2"][1].data == 9).all()
    diffs(net)
    assert net.params["ip"][1].diff.any()
    assert not other.params["ip"][1].diff.any()
    net.clear_param_diffs()
    assert not net.params["ip"][1].diff.any()


def test_share_with_another_shape_is_told():
    with pytest.raises(ShapeMismatchError, match=r"layer 'ip2': .*\[2, 3\].*\[5, 3\]"):
        share_weights(build(TINY), build(inputs(data=(4, 3)) + ip("ip2", "data", 5)))


# -- a layer's promises to the net --------------------------------------------------------


def test_layers_get_the_phase_of_the_net(monkeypatch):
    seen = []

    def spy(param, phase) -> Layer:
        seen.append((param.name, phase))
        return make_layer(param, phase)

    monkeypatch.setattr("recaffe.net.net.make_layer", spy)
    build(inputs(x=(1,)) + relu("r", "x"), TEST)
    assert seen == [("x", TEST), ("r", TEST)]


def test_a_loss_layer_needs_no_top():
    net = filled(TINY.replace(' top: "loss"', ""))
    assert net.outputs == []
    assert list(net.blobs)[-1] == "(automatic)"
    run(net)
    beside = filled(TINY)
    for name, blobs in beside.params.items():
        for blob, other in zip(blobs, net.params[name], strict=True):
            blob.data[...] = other.data
    run(beside)
    assert net.loss() == beside.loss() > 0
    run_back(net)
    run_back(beside)
    np.testing.assert_array_equal(net.params["ip"][0].diff, beside.params["ip"][0].diff)


def test_a_layer_that_cannot_work_in_place_says_so():
    with pytest.raises(LayerError, match=r"'ip' \(InnerProduct\): top 'x' is a bottom as well"):
        build(inputs(x=(1, 3)) + ip("ip", "x", top="x"))


@pytest.mark.parametrize("looked_at", [False, True])
def test_in_place_a_layer_still_has_its_input_for_backward(monkeypatch, looked_at):
    class Square(Layer):
        type = "Square"
        in_place = True

        def forward(self, bottoms, params):
            return [bottoms[0] * bottoms[0]]

    monkeypatch.setitem(_LAYERS, "Square", Square)
    net = build(
        "force_backward: true\n" + inputs(x=(1, 3)) + relu("s", "x").replace("ReLU", "Square")
    )
    if looked_at:
        net.blobs["x"].data[...] = [[1, -2, 3]]
    else:
        net.blobs["x"].set_data(torch.tensor([[1.0, -2.0, 3.0]]))
    run(net)
    net.blobs["x"].set_diff(torch.ones(1, 3))
    run_back(net)
    np.testing.assert_array_equal(net.blobs["x"].data, [[1, 4, 9]])
    np.testing.assert_array_equal(net.blobs["x"].diff, [[2, -4, 6]])
