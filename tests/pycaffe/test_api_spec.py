"""NetSpec: what is written for empty settings, and its exceptions."""

import copy

from api_nets import raised

import caffe
from caffe import layers as L

ONLY_OURS = {
    "test_a_name_that_is_not_there_is_no_attribute": "BVLC's hasattr raises its KeyError",
    "test_a_spec_can_be_copied_and_its_blobs_deleted": "BVLC's looks for these methods as blobs",
}


def last_layer(top):
    return top.to_proto().layer[-1]


def test_empty_settings_write_nothing():
    for settings in (
        {"convolution_param": {}},
        {"weight_filler": {}},
        {"convolution_param": {"weight_filler": {}}},
    ):
        layer = last_layer(L.Convolution(L.Input(), **settings))
        assert not layer.HasField("convolution_param"), settings
    assert len(last_layer(L.Convolution(L.Input(), param=[{}, {}])).param) == 2
    assert len(last_layer(L.Convolution(L.Input(), include={})).include) == 1


def test_unknown_settings_are_attribute_errors():
    for top in (
        L.Convolution(L.Input(), q=1),
        L.Convolution(L.Input(), convolution_param={"q": 1}),
        L.Convolution(L.Input(), weight_filler={"q": 1}),
        L.Foo(L.Input(), q=1),
    ):
        assert isinstance(raised(top.to_proto), AttributeError)


def test_a_name_that_is_not_there_is_a_key_error():
    spec = caffe.NetSpec()
    spec.data = L.Input()
    assert isinstance(raised(lambda: spec.nothing), KeyError)
    assert isinstance(raised(lambda: spec["nothing"]), KeyError)
    assert isinstance(raised(delattr, spec, "nothing"), AttributeError)


def test_a_name_that_is_not_there_is_no_attribute():
    spec = caffe.NetSpec()
    spec.data = L.Input()
    assert hasattr(spec, "data")
    assert not hasattr(spec, "nothing")
    assert getattr(spec, "nothing", 3) == 3
    assert str(raised(lambda: spec.nothing)) == "no blob 'nothing'; known: data"


def test_a_spec_can_be_copied_and_its_blobs_deleted():
    spec = caffe.NetSpec()
    spec.data = L.Input()
    spec.relu = L.ReLU(spec.data)
    copied = copy.deepcopy(spec)
    del spec.relu
    assert (list(spec.tops), list(copied.tops)) == (["data"], ["data", "relu"])
    assert len(copied.to_proto().layer) == 2
    assert list(copy.copy(spec).tops) == ["data"]
