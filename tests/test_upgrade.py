"""Older forms of nets and solvers, brought to today's: by table and against BVLC's programs."""

from __future__ import annotations

import pytest
from bvlc import Build, BvlcError
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from recaffe.errors import FormatError
from recaffe.proto.schema import NetParameter, SolverParameter, V1LayerParameter
from recaffe.proto.upgrade import V1_TYPES, upgrade_net, upgrade_solver


def net(text: str):
    return text_format.Parse(text, NetParameter())


def assert_upgraded(old: str, new: str) -> None:
    assert upgrade_net(net(old), "old.prototxt") == net(new)


# --- V1 -------------------------------------------------------------------------------

TODAYS_TYPES = """AbsVal Accuracy ArgMax BNLL Concat ContrastiveLoss Convolution Data Deconvolution
    Dropout DummyData Eltwise EuclideanLoss Exp Flatten HDF5Data HDF5Output HingeLoss Im2col
    ImageData InfogainLoss InnerProduct LRN MVN MemoryData MultinomialLogisticLoss Pooling Power
    ReLU Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss Split TanH
    Threshold WindowData"""

V1 = """
name: "old"
force_backward: true
layers {
  name: "data" type: DATA top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "lmdb" batch_size: 2 backend: LMDB scale: 0.5 crop_size: 3 mirror: true }
  transform_param { mean_value: 104 }
}
layers {
  name: "images" type: IMAGE_DATA top: "images" exclude { stage: "deploy" }
  image_data_param { source: "list" mean_file: "mean" }
}
layers {
  name: "window" type: WINDOW_DATA top: "w" window_data_param { scale: 2 crop_mode: "warp" }
}
layers {
  name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } }
}
layers {
  name: "shared" type: CONVOLUTION bottom: "data" top: "shared"
  param: "w" blob_share_mode: PERMISSIVE blob_share_mode: STRICT
  convolution_param { num_output: 4 kernel_size: 3 }
}
layers { name: "norm" type: LRN bottom: "conv" top: "norm" lrn_param { local_size: 3 } }
layers {
  name: "ip" type: INNER_PRODUCT bottom: "norm" top: "ip" weight_decay: 0.5
  inner_product_param { num_output: 2 }
  blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 }
}
layers { name: "relu" type: RELU bottom: "ip" top: "ip" relu_param { negative_slope: 0.1 } }
layers {
  name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss"
  loss_weight: 3 loss_param { ignore_label: 1 }
}
"""

V1_TODAY = """
name: "old"
force_backward: true
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "lmdb" batch_size: 2 backend: LMDB }
  transform_param { mean_value: 104 scale: 0.5 crop_size: 3 mirror: true }
}
layer {
  name: "images" type: "ImageData" top: "images" exclude { stage: "deploy" }
  image_data_param { source: "list" }
  transform_param { mean_file: "mean" }
}
layer {
  name: "window" type: "WindowData" top: "w"
  window_data_param { crop_mode: "warp" }
  transform_param { scale: 2 }
}
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } }
}
layer {
  name: "shared" type: "Convolution" bottom: "data" top: "shared"
  param { name: "w" share_mode: PERMISSIVE } param { share_mode: STRICT }
  convolution_param { num_output: 4 kernel_size: 3 }
}
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param { local_size: 3 } }
layer {
  name: "ip" type: "InnerProduct" bottom: "norm" top: "ip" param { decay_mult: 0.5 }
  inner_product_param { num_output: 2 }
  blobs { num: 1 channels: 1 height: 1 width: 2 data: 3 data: 4 }
}
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" relu_param { negative_slope: 0.1 } }
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  loss_weight: 3 loss_param { ignore_label: 1 }
}
"""


def test_v1_types_are_these() -> None:
    assert sorted(V1_TYPES.values()) == sorted(TODAYS_TYPES.split())
    names = {value.number: value.name for value in V1LayerParameter.LayerType.DESCRIPTOR.values}
    spelled = {names[number]: todays for number, todays in V1_TYPES.items()}
    for name, todays in spelled.items():
        if name != "SOFTMAX_LOSS":
            assert todays.upper() == name.replace("_", "")
    assert spelled["SOFTMAX_LOSS"] == "SoftmaxWithLoss"


def test_v1_net() -> None:
    assert_upgraded(V1, V1_TODAY)


def test_the_given_net_stays_as_it_is() -> None:
    old = net(V1)
    upgrade_net(old)
    assert old == net(V1)


def test_todays_net_stays_as_it_is() -> None:
    assert_upgraded(V1_TODAY, V1_TODAY)


def test_data_fields_of_a_v1_layer_of_another_type_stay() -> None:
    assert_upgraded(
        "layers { type: RELU data_param { scale: 2 } }",
        'layer { type: "ReLU" data_param { scale: 2 } }',
    )


def test_data_fields_of_todays_layers_stay_as_caffe_skips_them() -> None:
    text = 'layer { type: "Data" data_param { scale: 2 mirror: true } }'
    assert_upgraded(text, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('layers { name: "x" type: RELU } layer { type: "ReLU" }', "both 'layer' and 'layers'"),
        ('layers { name: "x" }', "layer 'x' has no type"),
        ('layers { name: "x" type: NONE }', "layer 'x' has no type"),
        ('input: "a"', "1 input.* found 0 and 0"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 input.* found 1 and 0"),
        ('input: "a" input_dim: 1 input_dim: 2', "found 0 and 2"),
    ],
)
def test_what_cannot_be_upgraded(text: str, said: str) -> None:
    with pytest.raises(FormatError, match=f"^old.prototxt: .*{said}"):
        upgrade_net(net(text), "old.prototxt")


# --- inputs, batch norm ---------------------------------------------------------------

INPUT_DIMS = """
input: "a" input: "b"
input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4
input_dim: 5 input_dim: 6 input_dim: 7 input_dim: 8
layer { name: "r" type: "ReLU" bottom: "a" top: "r" }
"""
INPUT_SHAPES = """
input: "a" input_shape { dim: 1 dim: 2 } input: "b" input_shape { dim: 3 }
layers { name: "r" type: RELU bottom: "a" top: "r" }
"""
MORE_SHAPES = 'input: "a" input_shape { dim: 1 } input_shape { dim: 2 }'
MORE_DIMS = 'input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5'
SHAPES_AND_DIMS = MORE_DIMS + " input_shape { dim: 9 }"
BATCH_NORM = """
layer { name: "n" type: "BatchNorm" bottom: "a" top: "n"
  param { lr_mult: 1 } param { name: "q" decay_mult: 3 } param { } }
"""
# As many as today's BatchNorm layers refuse, unless they are 0: not an upgrade's business.
TWO_BATCH_NORM_RATES = 'layer { type: "BatchNorm" param { lr_mult: 1 } param { decay_mult: 3 } }'


def test_input_dims() -> None:
    assert_upgraded(
        INPUT_DIMS,
        """layer { name: "input" type: "Input" top: "a" top: "b" input_param {
             shape { dim: 1 dim: 2 dim: 3 dim: 4 } shape { dim: 5 dim: 6 dim: 7 dim: 8 } } }
           layer { name: "r" type: "ReLU" bottom: "a" top: "r" }""",
    )


def test_input_shapes() -> None:
    assert_upgraded(
        INPUT_SHAPES,
        """layer { name: "input" type: "Input" top: "a" top: "b" input_param {
             shape { dim: 1 dim: 2 } shape { dim: 3 } } }
           layer { name: "r" type: "ReLU" bottom: "a" top: "r" }""",
    )


@pytest.mark.parametrize(
    ("text", "dims"), [(MORE_SHAPES, [1]), (MORE_DIMS, [1, 2, 3, 4]), (SHAPES_AND_DIMS, [9])]
)
def test_input_shapes_without_an_input_are_left_out(text: str, dims: list[int]) -> None:
    (layer,) = upgrade_net(net(text)).layer
    assert [list(shape.dim) for shape in layer.input_param.shape] == [dims]


def test_other_numbers_of_batch_norm_rates_stay() -> None:
    assert_upgraded(TWO_BATCH_NORM_RATES, TWO_BATCH_NORM_RATES)


def test_batch_norm_statistics_are_not_learned() -> None:
    assert_upgraded(
        BATCH_NORM,
        """layer { name: "n" type: "BatchNorm" bottom: "a" top: "n"
             param { lr_mult: 0 decay_mult: 0 } param { name: "q" lr_mult: 0 decay_mult: 0 }
             param { lr_mult: 0 decay_mult: 0 } }""",
    )


# --- solvers --------------------------------------------------------------------------

SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def solver(text: str):
    return text_format.Parse(text, SolverParameter())


@pytest.mark.parametrize(("old", "new"), SOLVER_TYPES.items())
def test_solver_types(old: str, new: str) -> None:
    upgraded = upgrade_solver(solver(f"solver_type: {old} base_lr: 0.1"))
    assert upgraded == solver(f"type: '{new}' base_lr: 0.1")


def test_every_solver_type_is_here() -> None:
    assert set(SOLVER_TYPES) == set(SolverParameter.SolverType.keys())


def test_old_and_new_solver_type_at_once() -> None:
    with pytest.raises(FormatError, match=r"^s\.prototxt: holds both 'type' and .*'solver_type'"):
        upgrade_solver(solver("solver_type: ADAM type: 'SGD'"), "s.prototxt")


# --- against BVLC ---------------------------------------------------------------------


def without_empty(message):
    """``message`` without the empty messages that BVLC's upgrade leaves behind."""
    for layer in message.layer:
        for field, value in layer.ListFields():
            if field.name.endswith("_param") and value.ByteSize() == 0:
                layer.ClearField(field.name)
        for spec in layer.param:
            if spec.name == "":
                spec.ClearField("name")
    return message


def bvlcs(bvlc: Build, program: str, text: str) -> str:
    done = bvlc.program(program, "old", "new", files={"old": text}, fetch=["new"])
    return done.files["new"].decode()


@pytest.mark.oracle
@pytest.mark.parametrize(
    "text",
    [
        V1,
        V1_TODAY,
        INPUT_DIMS,
        INPUT_SHAPES,
        MORE_SHAPES,
        MORE_DIMS,
        SHAPES_AND_DIMS,
        BATCH_NORM,
        TWO_BATCH_NORM_RATES,
        'layer { type: "Data" data_param { scale: 2 mirror: true } }',
        "layers { type: RELU data_param { scale: 2 } param: '' param: 'w' }",
        *(f"layers {{ type: {t} }}" for t in ("TANH", "HDF5_DATA", "SOFTMAX_LOSS", "IM2COL")),
    ],
)
def test_nets_as_bvlc_upgrades_them(bvlc: Build, text: str) -> None:
    expected = net(bvlcs(bvlc, "upgrade_net_proto_text", text))
    assert upgrade_net(net(text)) == without_empty(expected)


@pytest.mark.oracle
def test_v1_types_as_bvlc_names_them(bvlc: Build) -> None:
    names = {value.number: value.name for value in V1LayerParameter.LayerType.DESCRIPTOR.values}
    order = sorted(V1_TYPES)
    text = "".join(f"layers {{ type: {names[number]} }}\n" for number in order)
    upgraded = net(bvlcs(bvlc, "upgrade_net_proto_text", text))
    assert [layer.type for layer in upgraded.layer] == [V1_TYPES[number] for number in order]
    known = bvlc.python("import caffe, json; print(json.dumps(list(caffe.layer_type_list())))")
    assert set(V1_TYPES.values()) <= set(known.json())


@pytest.mark.oracle
@pytest.mark.parametrize("old", SOLVER_TYPES)
def test_solvers_as_bvlc_upgrades_them(bvlc: Build, old: str) -> None:
    text = f"solver_type: {old} base_lr: 0.5"
    expected = solver(bvlcs(bvlc, "upgrade_solver_proto_text", text))
    assert upgrade_solver(solver(text)) == expected


@pytest.mark.oracle
def test_bvlc_too_refuses_both_solver_types(bvlc: Build) -> None:
    with pytest.raises(BvlcError):
        bvlcs(bvlc, "upgrade_solver_proto_text", "solver_type: ADAM type: 'SGD'")


# What fields of each kind are given; messages get their first field.
GIVEN = {"FLOAT": "0.125", "UINT32": "7", "INT32": "7", "INT64": "7", "BOOL": "true"}


def given(field) -> str:
    """A field of a V1 layer with a value that is not its default."""
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_")
    if kind == "MESSAGE":
        return f"{field.name} {{ {given(field.message_type.fields[0])} }}"
    if kind == "ENUM":
        return f"{field.name}: {field.enum_type.values[-1].name}"
    return f"{field.name}: {GIVEN.get(kind, repr('text'))}"


V1_FIELDS = [field for field in V1LayerParameter.DESCRIPTOR.fields if field.name != "layer"]
EVERY_V1_FIELD = "".join(
    f"layers {{ {given(field)}{' type: SIGMOID' * (field.name != 'type')} }}\n"
    for field in V1_FIELDS
)


def test_every_v1_field_finds_its_place() -> None:
    old = net(EVERY_V1_FIELD)
    upgraded = upgrade_net(old)
    assert len(V1_FIELDS) > 40
    renamed = dict.fromkeys(("param", "blob_share_mode", "blobs_lr", "weight_decay"), "param")
    for field, before, after in zip(V1_FIELDS, old.layers, upgraded.layer, strict=True):
        todays = renamed.get(field.name, field.name)
        names = [name.name for name, _ in after.ListFields()]
        assert sorted(names) == sorted({todays, "type"}), field.name
        if field.name != "type" and field.name not in renamed:
            assert str(getattr(after, todays)) == str(getattr(before, todays))


@pytest.mark.oracle
def test_every_v1_field_as_bvlc_upgrades_it(bvlc: Build) -> None:
    expected = net(bvlcs(bvlc, "upgrade_net_proto_text", EVERY_V1_FIELD))
    assert without_empty(upgrade_net(net(EVERY_V1_FIELD))) == without_empty(expected)


@pytest.mark.oracle
@pytest.mark.parametrize("text", [V1, BATCH_NORM, INPUT_SHAPES])
def test_binary_nets_as_bvlc_upgrades_them(bvlc: Build, text: str) -> None:
    old = net(text).SerializeToString()
    done = bvlc.program("upgrade_net_proto_binary", "old", "new", files={"old": old}, fetch=["new"])
    expected = NetParameter.FromString(done.files["new"])
    assert without_empty(upgrade_net(NetParameter.FromString(old))) == without_empty(expected)
