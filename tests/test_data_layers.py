"""Pointing a net's data layers at LMDBs and a mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.data_layers import (
    point_data,
    require_fitting_means,
    set_augmentation,
    set_crop,
    set_mean,
    set_mean_values,
    set_shuffle,
)
from caffetools.prototxt import TEST, TRAIN, phase_view


def net_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def data_net(rules: str, rest: str = 'data_param { source: "old" batch_size: 8 }') -> Any:
    return net_of(
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" {rules} {rest} }}'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" }'
    )


def data_params(net: Any, phase: int, stages: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    parameters = [layer.data_param for layer in phase_view(net, phase, stages) if not layer.bottom]
    return [(data.source, data.batch_size, data.backend) for data in parameters]


LEVELDB, LMDB = caffe_pb2.DataParameter.LEVELDB, caffe_pb2.DataParameter.LMDB


def test_only_the_phase_that_is_named_changes() -> None:
    net = net_of(
        'layer { name: "a" type: "Data" data_param { source: "a" batch_size: 1 } '
        "include { phase: TRAIN } }"
        'layer { name: "b" type: "Data" data_param { source: "b" batch_size: 2 } '
        "exclude { phase: TRAIN } }"
    )
    before = net.SerializeToString()
    patched = point_data(net, TEST, "val", 5)
    assert data_params(patched, TRAIN) == [("a", 1, LEVELDB)]
    assert data_params(patched, TEST) == [("val", 5, LMDB)]
    assert net.SerializeToString() == before
    assert point_data(net, TRAIN, None, None) == net


def test_source_and_batch_size_are_set_apart() -> None:
    net = data_net("include { phase: TRAIN }")
    assert data_params(point_data(net, TRAIN, "new"), TRAIN) == [("new", 8, LMDB)]
    assert data_params(point_data(net, TRAIN, None, 4), TRAIN) == [("old", 4, LEVELDB)]


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "include { phase: TRAIN } include { phase: TEST }",
        "include { min_level: 0 }",
        'exclude { stage: "deploy" }',
        'exclude { phase: TEST stage: "deploy" }',
    ],
)
def test_layer_of_both_phases_becomes_two(rules: str) -> None:
    patched = point_data(point_data(data_net(rules), TRAIN, "train"), TEST, "val")
    assert [layer.name for layer in patched.layer] == ["data", "data", "ip"]
    assert data_params(patched, TRAIN) == [("train", 8, LMDB)]
    assert data_params(patched, TEST) == [("val", 8, LMDB)]


def test_stages_are_kept_when_a_layer_is_split() -> None:
    net = data_net('include { stage: "s" }')
    patched = point_data(point_data(net, TRAIN, "train"), TEST, "val")
    assert data_params(patched, TEST) == []
    assert data_params(patched, TEST, ("s",)) == [("val", 8, LMDB)]
    assert data_params(patched, TRAIN, ("s",)) == [("train", 8, LMDB)]


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (data_net("include { phase: TRAIN }"), "'data' (Data)"),
        (net_of('layer { name: "images" type: "ImageData" top: "x" }'), "'images' (ImageData)"),
        (net_of('layer { name: "ip" bottom: "data" }'), "no layer (is it a deploy net?)"),
    ],
)
def test_phase_without_data_layer_is_refused(net: Any, found: str) -> None:
    with pytest.raises(ToolError, match=f"serves the TEST phase.*{re.escape(found)}"):
        point_data(net, TEST, "val")


def test_mean_file_takes_the_place_of_mean_values() -> None:
    net = data_net("", "transform_param { mean_value: 104 scale: 2 }")
    assert set_mean(net, "m") == data_net("", 'transform_param { mean_file: "m" scale: 2 }')
    assert set_mean(net, None) == net


def test_no_mean_file_removes_the_nets_own() -> None:
    net = data_net("", 'transform_param { mean_file: "m" }')
    assert set_mean(net, None) == data_net("", "")


def test_mean_without_data_layer_is_refused() -> None:
    with pytest.raises(ToolError, match="no layer of type Data can take the mean_file"):
        set_mean(net_of('layer { name: "images" type: "ImageData" }'), "m")


# --- crop, mirror, values of the mean -----------------------------------------------------


def transforms(net: Any, phase: int) -> list[str]:
    layers = [layer for layer in phase_view(net, phase) if not layer.bottom]
    return [text_format.MessageToString(x.transform_param, as_one_line=True) for x in layers]


def test_crop_is_of_both_phases_and_mirror_of_training() -> None:
    net = data_net("")
    patched = set_crop(net, 24, True)
    assert transforms(patched, TRAIN) == ["mirror: true crop_size: 24"]
    assert transforms(patched, TEST) == ["crop_size: 24"]
    assert len(set_crop(net, 24, None).layer) == len(net.layer)
    assert set_crop(net, None, None) == net
    assert net == data_net("")


def test_crop_and_mirror_are_taken_away() -> None:
    own = data_net("include { phase: TRAIN }", "transform_param { crop_size: 24 mirror: true }")
    assert transforms(set_crop(own, None, False), TRAIN) == ["mirror: false crop_size: 24"]
    assert transforms(set_crop(own, 0, None), TRAIN) == ["mirror: true"]
    only_crop = data_net("", "transform_param { crop_size: 24 }")
    assert set_crop(only_crop, 0, None) == data_net("", "")


def test_shuffling_is_for_training() -> None:
    net = data_net("")
    patched = set_shuffle(net, True)
    told = [
        [layer.data_param.shuffle for layer in phase_view(patched, phase) if not layer.bottom]
        for phase in (TRAIN, TEST)
    ]
    assert told == [[True], [False]]
    assert set_shuffle(net, None) == net == data_net("")
    assert not any(layer.data_param.shuffle for layer in set_shuffle(patched, False).layer)


def test_augmentation_is_for_training_and_replaces_what_was_there() -> None:
    own = data_net("", "transform_param { crop_size: 24 augmentation { hue: 0.1 } }")
    patched = set_augmentation(own, {"min_area": 0.5, "rotation": 10})
    expected = "crop_size: 24 augmentation { min_area: 0.5 rotation: 10.0 }"
    assert transforms(patched, TRAIN) == [expected]
    assert set_augmentation(own, None) == own
    assert transforms(set_augmentation(own, {}), TRAIN) == ["crop_size: 24"]


def test_augmentation_has_a_closed_set_of_fields() -> None:
    with pytest.raises(ToolError, match=r"no 'rotate'; did you mean 'rotation'\?; it has bright"):
        set_augmentation(data_net(""), {"rotate": 10})


def test_mean_values_take_the_place_of_what_was_subtracted() -> None:
    for own in ('mean_file: "m"', "mean_value: 1 mean_value: 2"):
        patched = set_mean_values(data_net("", f"transform_param {{ {own} scale: 2 }}"), [5, 6, 7])
        expected = "transform_param { scale: 2 mean_value: 5 mean_value: 6 mean_value: 7 }"
        assert patched == data_net("", expected)


def test_mean_values_fit_the_channels() -> None:
    three = data_net("", "transform_param { mean_value: 104 mean_value: 117 mean_value: 123 }")
    require_fitting_means(three, 3)
    require_fitting_means(data_net("", "transform_param { mean_value: 104 }"), 3)
    require_fitting_means(data_net(""), 3)
    message = "'data' subtracts 3 mean_values (104.0, 117.0, 123.0) from images of 1 channels"
    with pytest.raises(ToolError, match=re.escape(message)):
        require_fitting_means(three, 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda net: set_crop(net, 24, None), "crop_size and mirror"),
        (lambda net: set_mean_values(net, [1]), "the mean_value"),
        (lambda net: set_shuffle(net, True), "shuffle"),
        (lambda net: set_augmentation(net, {"hue": 0.1}), "augmentation"),
    ],
)
def test_transformation_without_data_layer_is_refused(change: Any, what: str) -> None:
    with pytest.raises(ToolError, match=f"no layer of type Data can take {what}"):
        change(net_of('layer { name: "images" type: "ImageData" }'))
