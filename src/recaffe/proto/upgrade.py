"""Older forms of nets and solvers, brought to today's.

Source: Caffe's ``util/upgrade_proto.cpp``; the tables below are its facts.
"""

from __future__ import annotations

from typing import Any

from recaffe.errors import FormatError
from recaffe.proto.schema import (
    LayerParameter,
    NetParameter,
    SolverParameter,
    V1LayerParameter,
)
from recaffe.proto.v0 import is_v0, upgrade_v0

_V1_ENUM = V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"]
# Most of today's type names are the V1 names in camel case; these are not.
_V1_SPELLINGS = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


def _camel_case(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


V1_TYPES: dict[int, str] = {
    value.number: _V1_SPELLINGS.get(value.name, _camel_case(value.name))
    for value in _V1_ENUM.values
    if value.name != "NONE"
}
_DATA_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAMS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "WindowData": "window_data_param",
}
# The mean, the variance and the factor of the moving average: what old files gave rates for.
_BATCH_NORM_BLOBS = 3
_INPUT_FIELDS = ("input", "input_dim", "input_shape")


def upgrade_net(net: Any, origin: str = "net") -> Any:
    """A copy of ``net`` in today's form; ``origin`` names it in errors.

    V0 layers become V1 ``layers`` and those become ``layer``; the transformation fields of a
    V1 data layer's parameters move to ``transform_param`` (in a ``layer`` Caffe skips those
    fields, so they stay where they are). Net-level ``input`` fields become an Input layer.
    The three parameters of a BatchNorm layer hold statistics and get ``lr_mult: 0`` and
    ``decay_mult: 0``.

    Raises:
        FormatError: layers of several forms in one net, or a layer or input that is not whole.
    """
    upgraded = NetParameter()
    upgraded.CopyFrom(net)
    if is_v0(upgraded):
        upgrade_v0(upgraded, origin)
    if upgraded.layers:
        _upgrade_v1_layers(upgraded, origin)
    for layer in upgraded.layer:
        if layer.type == "BatchNorm" and len(layer.param) == _BATCH_NORM_BLOBS:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0.0
    _upgrade_inputs(upgraded, origin)
    return upgraded


def _upgrade_v1_layers(net: Any, origin: str) -> None:
    if net.layer:
        raise FormatError(
            f"{origin}: holds both 'layer' and 'layers' blocks; rename them all to 'layer' "
            "with types in quotes, or all to 'layers' with types in capitals"
        )
    for old in net.layers:
        _upgrade_v1_layer(old, net.layer.add(), origin)
    net.ClearField("layers")


def _upgrade_v1_layer(old: Any, new: Any, origin: str) -> None:
    if old.type not in V1_TYPES:
        raise FormatError(f"{origin}: layer '{old.name}' has no type")
    new.type = V1_TYPES[old.type]
    renamed = {"type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer"}
    for descriptor, value in old.ListFields():
        if descriptor.name in renamed:
            continue
        if isinstance(value, str):
            setattr(new, descriptor.name, value)
        elif hasattr(value, "MergeFrom") and not hasattr(value, "CopyFrom"):
            getattr(new, descriptor.name).MergeFrom(value)
        else:
            getattr(new, descriptor.name).CopyFrom(value)
    per_blob = (old.param, old.blob_share_mode, old.blobs_lr, old.weight_decay)
    for index in range(max(map(len, per_blob))):
        spec = new.param.add()
        if index < len(old.param) and old.param[index]:
            spec.name = old.param[index]
        if index < len(old.blob_share_mode):
            spec.share_mode = old.blob_share_mode[index]
        if index < len(old.blobs_lr):
            spec.lr_mult = old.blobs_lr[index]
        if index < len(old.weight_decay):
            spec.decay_mult = old.weight_decay[index]
    _move_transform_fields(new)


def _move_transform_fields(layer: Any) -> None:
    name = _DATA_PARAMS.get(layer.type)
    if name is None:
        return
    parameter = getattr(layer, name)
    for field in _DATA_TRANSFORM_FIELDS:
        if parameter.HasField(field):
            setattr(layer.transform_param, field, getattr(parameter, field))
            parameter.ClearField(field)


def _upgrade_inputs(net: Any, origin: str) -> None:
    if not net.input:
        return
    shapes = [list(shape.dim) for shape in net.input_shape]
    if not shapes:
        dims = list(net.input_dim)
        shapes = [dims[start : start + 4] for start in range(0, len(dims) - 3, 4)]
    # Caffe, too, lets shapes be that no input has.
    shapes = shapes[: len(net.input)]
    if len(shapes) != len(net.input):
        raise FormatError(
            f"{origin}: {len(net.input)} input(s) need as many input_shape blocks or four "
            f"input_dim each, found {len(net.input_shape)} and {len(net.input_dim)}"
        )
    layer = LayerParameter(name="input", type="Input", top=list(net.input))
    for shape in shapes:
        layer.input_param.shape.add(dim=shape)
    layers = [layer, *net.layer]
    net.ClearField("layer")
    net.layer.extend(layers)
    for field in _INPUT_FIELDS:
        net.ClearField(field)


def upgrade_solver(solver: Any, origin: str = "solver") -> Any:
    """A copy of ``solver`` whose old enum ``solver_type`` has become ``type``.

    Raises:
        FormatError: both fields are there.
    """
    upgraded = SolverParameter()
    upgraded.CopyFrom(solver)
    if upgraded.HasField("solver_type"):
        if upgraded.HasField("type"):
            raise FormatError(f"{origin}: holds both 'type' and the old 'solver_type'; keep 'type'")
        names = {"SGD": "SGD", "NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad",
                 "RMSPROP": "RMSProp", "ADADELTA": "AdaDelta", "ADAM": "Adam"}  # fmt: skip
        enum = SolverParameter.DESCRIPTOR.enum_types_by_name["SolverType"]
        upgraded.type = names[enum.values_by_number[upgraded.solver_type].name]
        upgraded.ClearField("solver_type")
    return upgraded
