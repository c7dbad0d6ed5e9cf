"""V0 nets, of 2013: every type and field, padding layers, and what does not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bvlc import Build, BvlcError
from google.protobuf import text_format
from test_upgrade import bvlcs, net, without_empty

from recaffe.errors import FormatError
from recaffe.proto.schema import NetParameter, message_class
from recaffe.proto.upgrade import V1_TYPES, upgrade_net
from recaffe.proto.v0 import V0_TYPES
from recaffe.proto.weights import read_weights

V0LayerParameter = message_class("V0LayerParameter")

# -- every type ---------------------------------------------------------------------------

TYPES = {
    "accuracy": "Accuracy",
    "bnll": "BNLL",
    "concat": "Concat",
    "conv": "Convolution",
    "data": "Data",
    "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss",
    "flatten": "Flatten",
    "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output",
    "im2col": "Im2col",
    "images": "ImageData",
    "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "split": "Split",
    "tanh": "TanH",
    "window_data": "WindowData",
}

# -- every field: what it is given, and what it becomes, by type ----------------------------

CONV, POOL, IP = "convolution_param", "pooling_param", "inner_product_param"
DATA = {
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
}
FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "num_output": (": 7", {"conv": CONV, "innerproduct": IP}),
    "biasterm": (": false", {"conv": CONV, "innerproduct": IP}),
    "weight_filler": ("{ type: 'xavier' std: 0.5 }", {"conv": CONV, "innerproduct": IP}),
    "bias_filler": ("{ value: 3 }", {"conv": CONV, "innerproduct": IP}),
    "pad": (": 7", {"conv": CONV, "pool": POOL}),
    "kernelsize": (": 7", {"conv": CONV, "pool": POOL}),
    "group": (": 7", {"conv": CONV}),
    "stride": (": 7", {"conv": CONV, "pool": POOL}),
    "pool": (": AVE", {"pool": POOL}),
    "dropout_ratio": (": 0.125", {"dropout": "dropout_param"}),
    "local_size": (": 7", {"lrn": "lrn_param"}),
    "alpha": (": 0.125", {"lrn": "lrn_param"}),
    "beta": (": 0.125", {"lrn": "lrn_param"}),
    "k": (": 0.125", {"lrn": "lrn_param"}),
    "source": (": 's'", DATA | {"infogain_loss": "infogain_loss_param"}),
    "scale": (": 0.125", dict.fromkeys(TYPES, "transform_param")),
    "meanfile": (": 'm'", dict.fromkeys(TYPES, "transform_param")),
    "cropsize": (": 7", dict.fromkeys(TYPES, "transform_param")),
    "mirror": (": true", dict.fromkeys(TYPES, "transform_param")),
    "batchsize": (": 7", DATA),
    "rand_skip": (": 7", {"data": "data_param", "images": "image_data_param"}),
    "shuffle_images": (": true", {"images": "image_data_param"}),
    "new_height": (": 7", {"images": "image_data_param"}),
    "new_width": (": 7", {"images": "image_data_param"}),
    "new_num": (": 7", {}),
    "new_channels": (": 7", {}),
    "concat_dim": (": 7", {"concat": "concat_param"}),
    "det_fg_threshold": (": 0.125", {"window_data": "window_data_param"}),
    "det_bg_threshold": (": 0.125", {"window_data": "window_data_param"}),
    "det_fg_fraction": (": 0.125", {"window_data": "window_data_param"}),
    "det_context_pad": (": 7", {"window_data": "window_data_param"}),
    "det_crop_mode": (": 'square'", {"window_data": "window_data_param"}),
    "hdf5_output_param": ("{ file_name: 'f' }", {"hdf5_output": ""}),
}
RENAMED = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "batchsize": "batch_size",
    "shuffle_images": "shuffle",
    **{f"det_{name}": name for name in ("fg_threshold", "bg_threshold", "fg_fraction")},
    **{f"det_{name}": name for name in ("context_pad", "crop_mode")},
}
# Of layers of any type, and never of a parameter message.
KEPT = {
    "blobs": (
        "blobs { num: 2 channels: 1 data: 1 data: 2 } blobs { data: 3 }",
        "blobs { num: 2 channels: 1 data: 1 data: 2 } blobs { data: 3 }",
    ),
    "blobs_lr": ("blobs_lr: 1 blobs_lr: 2", "param { lr_mult: 1 } param { lr_mult: 2 }"),
    "weight_decay": ("weight_decay: 0.125", "param { decay_mult: 0.125 }"),
}


def v0(kind: str, fields: str = "", connection: str = "bottom: 'data' top: 'x'", name: str = "x"):
    return f"layers {{ layer {{ name: '{name}' type: '{kind}' {fields} }} {connection} }}\n"


INPUT = "input: 'data' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n"


def only_layer(text: str) -> Any:
    _, layer = upgrade_net(net(INPUT + text)).layer
    return layer


def todays(kind: str, fields: str) -> Any:
    text = f"name: 'x' type: '{TYPES[kind]}' bottom: 'data' top: 'x' {fields}"
    return net(f"layer {{ {text} }}").layer[0]


def test_every_type_and_field_is_here() -> None:
    assert set(TYPES) == set(V0_TYPES)
    assert {V0_TYPES[kind]: name for kind, name in TYPES.items()}.items() <= V1_TYPES.items()
    fields = set(V0LayerParameter.DESCRIPTOR.fields_by_name)
    assert fields == {*FIELDS, *KEPT, "name", "type"}


@pytest.mark.parametrize("kind", TYPES)
def test_a_type(kind: str) -> None:
    assert only_layer(v0(kind)) == todays(kind, "")


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_in_every_type(field: str, caplog: pytest.LogCaptureFixture) -> None:
    value, messages = FIELDS[field]
    for kind in TYPES:
        caplog.clear()
        upgraded = only_layer(v0(kind, field + value))
        todays_field = RENAMED.get(field, field) + value
        if kind not in messages:
            todays_field = ""
        elif messages[kind]:
            todays_field = f"{messages[kind]} {{ {todays_field} }}"
        assert upgraded == todays(kind, todays_field)
        told = [record.getMessage() for record in caplog.records]
        if kind in messages or not messages:
            assert told == []
        else:
            assert told == [
                f"net: layer 'x': a layer of type {kind} has no {field}; it is left out"
            ]


@pytest.mark.parametrize("field", KEPT)
def test_a_field_of_any_type(field: str) -> None:
    given, kept = KEPT[field]
    for kind in TYPES:
        assert only_layer(v0(kind, given)) == todays(kind, kept)


def test_fields_of_the_connection_are_dropped_as_caffe_drops_them() -> None:
    connection = "name: 'outer' type: RELU blobs_lr: 5 param: 'w' include { phase: TEST }"
    text = v0("conv", "", f"{connection} bottom: 'data' top: 'x'")
    assert only_layer(text) == todays("conv", "")


# -- padding --------------------------------------------------------------------------------

PAD = v0("padding", "pad: 2", "bottom: 'data' top: 'p'", "p")


def reads(kind: str, bottom: str = "p", name: str = "x", fields: str = "") -> str:
    return v0(kind, fields, f"bottom: '{bottom}' top: '{name}'", name)


FOLDED = {
    "conv": (PAD + reads("conv"), "convolution_param { pad: 2 }"),
    "pool": (PAD + reads("pool"), "pooling_param { pad: 2 }"),
    "own pad": (PAD + reads("conv", fields="pad: 1"), "convolution_param { pad: 2 }"),
    "no pad": (
        v0("padding", "", "bottom: 'data' top: 'p'") + reads("conv", fields="pad: 3"),
        "convolution_param { pad: 0 }",
    ),
}


@pytest.mark.parametrize(("text", "fields"), FOLDED.values(), ids=FOLDED)
def test_padding_is_folded(text: str, fields: str) -> None:
    layer = only_layer(text)
    expected = todays("pool" if layer.type == "Pooling" else "conv", fields)
    assert layer == expected


PADDED = {
    "two readers": (PAD + reads("conv") + reads("conv", name="y"), ["data", "data"], [2, 2]),
    "in place": (
        v0("padding", "pad: 2", "bottom: 'data' top: 'data'") + reads("conv", "data"),
        ["data"],
        [2],
    ),
    "of an output": (
        reads("conv", "data", "c")
        + v0("relu", "", "bottom: 'c' top: 'c'", "r")
        + v0("padding", "pad: 2", "bottom: 'c' top: 'p'", "p")
        + reads("conv"),
        ["data", "c", "c"],
        [0, 0, 2],
    ),
    "made anew": (PAD + reads("relu", "data", "p") + reads("conv"), ["data", "p"], [0, 0]),
    "of no reader": (PAD, [], []),
}


@pytest.mark.parametrize(("text", "bottoms", "pads"), PADDED.values(), ids=PADDED)
def test_what_reads_a_padding_layer(text: str, bottoms: list[str], pads: list[int]) -> None:
    _, *layers = upgrade_net(net(INPUT + text)).layer
    assert [layer.bottom[0] for layer in layers] == bottoms
    assert [sum(layer.convolution_param.pad) for layer in layers] == pads


REFUSED = {
    "padding of a relu": (INPUT + PAD + reads("relu"), "'x' of type relu reads the padding layer"),
    "padding of padding": (INPUT + PAD + reads("padding"), "of type padding reads the padding"),
    "two bottoms": (
        INPUT + PAD + v0("conv", "", "bottom: 'p' bottom: 'data' top: 'x'"),
        "one bottom; found 1, 1 and 2",
    ),
    "padding of two": (
        INPUT + v0("padding", "", "bottom: 'data' bottom: 'data' top: 'p'", "p") + reads("conv"),
        "must have one bottom and one top, .* found 2, 1 and 1",
    ),
    "padding to two": (
        INPUT + v0("padding", "", "bottom: 'data' top: 'p' top: 'q'", "p") + reads("conv"),
        "found 1, 2 and 1",
    ),
    "unknown bottom": (INPUT + reads("conv", "nix"), "'x' reads 'nix', .* it can read data"),
    "later bottom": (
        INPUT + reads("conv", "y") + reads("conv", "data", "y"),
        "'x' reads 'y', which no layer before it makes",
    ),
    "no input": (v0("padding"), "reads 'data', .* it can read nothing"),
    "today's type": (INPUT + v0("Convolution"), "unknown V0 type 'Convolution'; there are acc"),
    "V1's type": (INPUT + v0("power"), "unknown V0 type 'power'"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_upgraded(text: str, said: str) -> None:
    with pytest.raises(FormatError, match=f"^old.prototxt: .*{said}"):
        upgrade_net(net(text), "old.prototxt")


# BVLC's upgrade lets these pass: it forgets the layers of another form, or their names and
# types, and the net then fails for another reason, or trains without them.
REFUSED_BY_US = {
    "V1 beside": (INPUT + v0("relu") + "layers { type: RELU }", "beside layers of a later form"),
    "V1 before": (INPUT + "layers { type: RELU }" + v0("relu"), "beside layers of a later form"),
    "today's beside": (INPUT + v0("relu") + "layer { }", "beside layers of a later form"),
    "no type": (INPUT + "layers { layer { name: 'x' } }", "layer 'x' has no type; there are acc"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED_BY_US.values(), ids=REFUSED_BY_US)
def test_what_bvlc_upgrades_to_something_else(text: str, said: str) -> None:
    test_what_cannot_be_upgraded(text, said)


def test_of_the_net_everything_is_kept() -> None:
    """BVLC's upgrade forgets all but name, input, input_dim and force_backward."""
    fields = "name: 'n' force_backward: true debug_info: true state { level: 3 } "
    upgraded = upgrade_net(net(fields + "input: 'data' input_shape { dim: 5 }" + v0("relu")))
    assert list(upgraded.layer[0].input_param.shape[0].dim) == [5]
    upgraded.ClearField("layer")
    assert upgraded == net(fields)


# -- binary ---------------------------------------------------------------------------------

WEIGHTS = (
    INPUT
    + PAD
    + v0(
        "conv",
        "num_output: 2 kernelsize: 1 blobs { num: 2 channels: 1 height: 1 width: 1 data: 1 "
        "data: 2 } blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 }",
        "bottom: 'p' top: 'x'",
    )
    + v0("relu", "", "bottom: 'x' top: 'x'", "r")
)


def test_weights_of_a_v0_file_go_by_name(tmp_path: Path) -> None:
    path = tmp_path / "old.caffemodel"
    path.write_bytes(net(WEIGHTS).SerializeToString())
    _, layer, _ = read_weights(path)
    assert (layer.name, layer.type) == ("x", "Convolution")
    assert [blob.ravel().tolist() for blob in layer.blobs] == [[1, 2], [3, 4]]
    assert [blob.shape for blob in layer.blobs] == [(2, 1, 1, 1), (1, 1, 1, 2)]


@pytest.mark.parametrize(
    "more", ["layer { name: 'new' }", "layers { name: 'v1' type: RELU }"], ids=["today's", "V1"]
)
def test_weights_of_two_forms_in_one_file(tmp_path: Path, more: str) -> None:
    path = tmp_path / "mixed.caffemodel"
    for text in (WEIGHTS + more, more + WEIGHTS):
        path.write_bytes(net(text).SerializeToString())
        with pytest.raises(FormatError, match="holds layers of two forms"):
            read_weights(path)


# -- against BVLC ---------------------------------------------------------------------------

ALL = INPUT + "".join(
    v0(kind, field + value, name=f"{kind}/{field}")
    for kind in TYPES
    for field, value in [*((f, v) for f, (v, _) in FIELDS.items()), ("", "")]
)
KEPT_BY_ALL = INPUT + "".join(
    v0(kind, given, name=f"{kind}/{field}") for kind in TYPES for field, (given, _) in KEPT.items()
)
GOOD = {
    "every field of every type": ALL,
    "what all types have": KEPT_BY_ALL,
    "enum": INPUT + "".join(v0("pool", f"pool: {m}") for m in ("MAX", "AVE", "STOCHASTIC")),
    "weights": WEIGHTS,
    **{name: INPUT + text for name, (text, _) in FOLDED.items()},
    **{f"padding {name}": INPUT + text for name, (text, _, _) in PADDED.items()},
}


def bvlcs_answer(bvlc: Build, program: str, content: str | bytes) -> bytes:
    """What the program writes; with status 1 where it left out a field with a warning."""
    files = {"old": content}
    return bvlc.program(program, "old", "new", files=files, fetch=["new"], check=False).files["new"]


@pytest.mark.oracle
@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_nets_as_bvlc_upgrades_them(bvlc: Build, text: str) -> None:
    expected = net(bvlcs_answer(bvlc, "upgrade_net_proto_text", text).decode())
    assert without_empty(upgrade_net(net(text))) == without_empty(expected)


@pytest.mark.oracle
@pytest.mark.parametrize("text", [ALL, WEIGHTS], ids=["fields", "weights"])
def test_binary_nets_as_bvlc_upgrades_them(bvlc: Build, text: str) -> None:
    old = net(text).SerializeToString()
    expected = NetParameter.FromString(bvlcs_answer(bvlc, "upgrade_net_proto_binary", old))
    upgraded = upgrade_net(NetParameter.FromString(old))
    assert without_empty(upgraded) == without_empty(expected)


@pytest.mark.oracle
@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_bvlc_too_refuses(bvlc: Build, text: str, said: str) -> None:
    with pytest.raises(BvlcError, match=r"Check failed|Unknown (blob|layer)"):
        bvlcs(bvlc, "upgrade_net_proto_text", text)


@pytest.mark.oracle
@pytest.mark.parametrize(("text", "said"), REFUSED_BY_US.values(), ids=REFUSED_BY_US)
def test_bvlc_lets_pass(bvlc: Build, text: str, said: str) -> None:
    upgraded = net(bvlcs_answer(bvlc, "upgrade_net_proto_text", text).decode())
    types = [layer.type for layer in upgraded.layer]
    assert types != ["Input", "ReLU", "ReLU"]
    assert len(types) < 3 or "" in types


@pytest.mark.oracle
def test_bvlc_loads_v0_weights_by_name(bvlc: Build) -> None:
    question = """
import caffe, json, sys
net = caffe.Net("new.prototxt", caffe.TEST)
net.copy_from("old.caffemodel")
json.dump([blob.data.tolist() for blob in net.params["x"]], sys.stdout)
"""
    upgraded = upgrade_net(net(WEIGHTS))
    for layer in upgraded.layer:
        layer.ClearField("blobs")
    files = {
        "new.prototxt": text_format.MessageToString(upgraded).replace("dim: 2", "dim: 1"),
        "old.caffemodel": net(WEIGHTS).SerializeToString(),
    }
    weights, bias = bvlc.python(question, files=files).json()
    assert np.ravel(weights).tolist() == [1, 2]
    assert bias == [3, 4]
