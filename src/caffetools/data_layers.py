"""Pointing the data layers of a net at other LMDBs, another mean and another crop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.prototxt import PHASES, TRAIN, copy_net
from caffetools.suggest import did_you_mean


def point_data(
    net: Any, phase: int, source: Optional[str], batch_size: Optional[int] = None
) -> Any:
    """The net with the Data layers of one phase reading the LMDB ``source``.

    None leaves the source, or the batch size, as it is. A Data layer that serves both
    phases becomes two, one for each.
    """
    if source is None and batch_size is None:
        return net
    if not any(_is_data(layer) and phase in _phases(layer) for layer in net.layer):
        raise ToolError(
            f"no layer of type Data serves the {PHASES[phase]} phase, so its source and "
            f"batch size cannot be set; what brings data to this net: {_data_layers(net)}"
        )
    patched = _split_net(net)
    for layer in filter(_is_data, patched.layer):
        if phase in _phases(layer):
            _point(layer.data_param, source, batch_size)
    return patched


def set_crop(net: Any, crop_size: Optional[int], mirror: Optional[bool]) -> Any:
    """The net with Data layers that crop to ``crop_size`` (0: not at all), and that mirror.

    None leaves the one or the other as it is. Mirroring is for the TRAIN phase alone.
    """
    if crop_size is None and mirror is None:
        return net
    _require_data(net, "crop_size and mirror")
    patched = copy_net(net) if mirror is None else _split_net(net)
    for layer in filter(_is_data, patched.layer):
        if crop_size:
            layer.transform_param.crop_size = crop_size
        elif crop_size == 0:
            layer.transform_param.ClearField("crop_size")
        if mirror is not None and TRAIN in _phases(layer):
            layer.transform_param.mirror = mirror
        _clear_if_empty(layer)
    return patched


def set_shuffle(net: Any, shuffle: Optional[bool]) -> Any:
    """The net with TRAIN Data layers that read in a new order each turn; None leaves it.

    Raises :class:`ToolError` where the Caffe at work has no such field, as BVLC's.
    """
    if shuffle is None:
        return net
    _require_own(caffe_pb2.DataParameter, "shuffle", "write the LMDB shuffled (shuffle_seed)")
    _require_data(net, "shuffle")
    patched = _split_net(net)
    for layer in _training(patched):
        layer.data_param.shuffle = shuffle
    return patched


def set_augmentation(net: Any, fields: Optional[Mapping[str, float]]) -> Any:
    """The net with TRAIN Data layers whose images are changed at random as ``fields`` say.

    They are those of AugmentationParameter; without any there is no augmentation. None leaves it.

    Raises :class:`ToolError` where the Caffe at work has no such field, as BVLC's.
    """
    if fields is None:
        return net
    _require_own(caffe_pb2.TransformationParameter, "augmentation", "leave it out")
    known = sorted(caffe_pb2.AugmentationParameter.DESCRIPTOR.fields_by_name)
    for name in fields:
        if name not in known:
            raise ToolError(
                f"augmentation has no {name!r}{did_you_mean(name, known)}; it has "
                f"{', '.join(known)}"
            )
    _require_data(net, "augmentation")
    patched = _split_net(net)
    for layer in _training(patched):
        layer.transform_param.ClearField("augmentation")
        for name, value in fields.items():
            setattr(layer.transform_param.augmentation, name, value)
        _clear_if_empty(layer)
    return patched


def _training(net: Any) -> Iterator[Any]:
    return (layer for layer in net.layer if _is_data(layer) and TRAIN in _phases(layer))


def _require_own(message: Any, field: str, instead: str) -> None:
    if field not in message.DESCRIPTOR.fields_by_name:
        raise ToolError(
            f"{field} is for Recaffe's runtime; the Caffe at work here has none: {instead}, or "
            "take that runtime"
        )


def set_mean(net: Any, mean_file: Optional[str]) -> Any:
    """The net with all Data layers subtracting the mean in ``mean_file``, or with None no file.

    Values in ``mean_value`` make way for a file, since Caffe refuses both; without a file
    they stay.
    """
    if mean_file is not None:
        _require_data(net, "the mean_file")
    patched = copy_net(net)
    for layer in filter(_is_data, patched.layer):
        layer.transform_param.ClearField("mean_file")
        if mean_file is not None:
            layer.transform_param.ClearField("mean_value")
            layer.transform_param.mean_file = mean_file
        _clear_if_empty(layer)
    return patched


def set_mean_values(net: Any, values: Sequence[float]) -> Any:
    """The net with all Data layers subtracting ``values``, one or one a channel."""
    _require_data(net, "the mean_value")
    patched = copy_net(net)
    for layer in filter(_is_data, patched.layer):
        layer.transform_param.ClearField("mean_file")
        layer.transform_param.ClearField("mean_value")
        layer.transform_param.mean_value.extend(values)
    return patched


def require_fitting_means(net: Any, channels: int) -> None:
    """Raise ToolError where a Data layer has several mean_values, but not one a channel.

    BVLC's build ends the process there.
    """
    for layer in filter(_is_data, net.layer):
        values = list(layer.transform_param.mean_value)
        if len(values) not in (0, 1, channels):
            raise ToolError(
                f"layer {layer.name!r} subtracts {len(values)} mean_values "
                f"({', '.join(map(str, values))}) from images of {channels} channels; expected "
                "one, or one a channel: set mean_value, or subtract the images' own mean"
            )


def _require_data(net: Any, what: str) -> None:
    if not any(map(_is_data, net.layer)):
        raise ToolError(
            f"no layer of type Data can take {what}; what brings data to this net: "
            f"{_data_layers(net)}"
        )


def _clear_if_empty(layer: Any) -> None:
    if not layer.transform_param.ListFields():
        layer.ClearField("transform_param")


def _split_net(net: Any) -> Any:
    """The net with two layers, one for each phase, for each Data layer that serves both."""
    split = copy_net(net)
    split.ClearField("layer")
    for layer in net.layer:
        for part in _split_by_phase(layer) if _is_data(layer) else [layer]:
            split.layer.add().CopyFrom(part)
    return split


def _point(parameters: Any, source: Optional[str], batch_size: Optional[int]) -> None:
    if source is not None:
        parameters.source = source
        parameters.backend = caffe_pb2.DataParameter.LMDB
    if batch_size is not None:
        parameters.batch_size = batch_size


def _is_data(layer: Any) -> bool:
    return bool(layer.type == "Data")


def _data_layers(net: Any) -> str:
    sources = [f"{layer.name!r} ({layer.type})" for layer in net.layer if not layer.bottom]
    return ", ".join(sources) or "no layer (is it a deploy net?)"


def _phases(layer: Any) -> list[int]:
    """The phases in which the layer can take part, at some level and stages."""
    if layer.include:
        return [
            phase for phase in PHASES if any(_may_be_met(rule, phase) for rule in layer.include)
        ]
    return [
        phase
        for phase in PHASES
        if not any(_may_be_met(rule, phase) and _names_phase_only(rule) for rule in layer.exclude)
    ]


def _may_be_met(rule: Any, phase: int) -> bool:
    return not rule.HasField("phase") or rule.phase == phase


def _names_phase_only(rule: Any) -> bool:
    return all(field.name == "phase" for field, _ in rule.ListFields())


def _split_by_phase(layer: Any) -> list[Any]:
    if len(_phases(layer)) < len(PHASES):
        return [layer]
    return [_only_in(phase, layer) for phase in PHASES]


def _only_in(phase: int, layer: Any) -> Any:
    """The layer restricted to one phase, its rules of stage and level kept."""
    part = caffe_pb2.LayerParameter()
    part.CopyFrom(layer)
    if layer.exclude:
        for other in PHASES:
            if other != phase:
                part.exclude.add(phase=other)
        return part
    part.ClearField("include")
    for rule in layer.include or [caffe_pb2.NetStateRule()]:
        if _may_be_met(rule, phase):
            part.include.add().CopyFrom(rule)
            part.include[-1].phase = phase
    return part
