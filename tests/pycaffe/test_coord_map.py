"""caffe.coord_map on both builds."""

import numpy as np

import caffe
from caffe import layers as L
from caffe.coord_map import (
    PASS_THROUGH_LAYERS,
    AxisMismatchException,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    crop_params,
    inverse,
)


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


def data():
    return L.DummyData(dummy_data_param={"shape": {"dim": [1, 3, 32, 32]}})


def conv(bottom, kernel_size, **settings):
    return L.Convolution(bottom, kernel_size=kernel_size, num_output=4, **settings)


def same(found, expected):
    assert found[0] == expected[0], found
    for part, value in zip(found[1:], expected[1:]):
        np.testing.assert_allclose(part, value, rtol=0, atol=1e-12)


def test_conv_params():
    axis, stride, kernel, pad = conv_params(conv(data(), 3, stride=2, pad=1, dilation=4).fn)
    assert (axis, stride.tolist(), kernel.tolist(), pad.tolist()) == (1, [2], [9], [1])
    axis, stride, kernel, pad = conv_params(conv(data(), [3, 5], axis=2).fn)
    assert (axis, stride.tolist(), kernel.tolist(), pad.tolist()) == (2, [1], [3, 5], [0])
    param = {"num_output": 4, "kernel_size": 7, "pad": 3}
    assert conv_params(L.Deconvolution(data(), convolution_param=param).fn)[3].tolist() == [3]


def test_conv_params_take_no_legacy_fields():
    assert raises(AssertionError, conv_params, conv(data(), 3, pad_h=1).fn)
    assert raises(KeyError, conv_params, L.Pooling(data(), kernel_h=3, kernel_w=5).fn)


def test_crop_params():
    axis, offset = crop_params(L.Crop(data(), data()).fn)
    assert (axis, offset.tolist()) == (2, [0])
    axis, offset = crop_params(L.Crop(data(), data(), axis=1, offset=[2, 3]).fn)
    assert (axis, offset.tolist()) == (1, [2, 3])
    axis, offset = crop_params(L.Crop(data(), data(), crop_param={"axis": 3, "offset": 4}).fn)
    assert (axis, offset.tolist()) == (3, [4])


def test_maps_of_layers():
    same(coord_map(conv(data(), 3).fn), (1, 1, -1))
    same(coord_map(conv(data(), 3, pad=1).fn), (1, 1, 0))
    same(coord_map(conv(data(), 5, stride=2, pad=1).fn), (1, 0.5, -0.5))
    same(coord_map(L.Pooling(data(), kernel_size=2, stride=2).fn), (1, 0.5, -0.25))
    same(coord_map(L.Im2col(data(), convolution_param={"kernel_size": 3}).fn), (1, 1, -1))
    up = L.Deconvolution(data(), convolution_param={"kernel_size": 4, "stride": 2, "pad": 1})
    same(coord_map(up.fn), (1, 2, 0.5))
    same(coord_map(L.Crop(data(), data(), offset=[2, 3]).fn), (1, 1, [-2, -3]))
    same(coord_map(conv(data(), [3, 5], pad=[0, 1]).fn), (1, [1], [-1, -1]))


def test_layers_that_pass_through():
    assert len(PASS_THROUGH_LAYERS) == 19
    for name in PASS_THROUGH_LAYERS:
        same(coord_map(getattr(L, name)(data()).fn), (None, 1, 0))


def test_layers_without_a_map():
    assert raises(UndefinedMapException, coord_map, L.InnerProduct(data()).fn)
    assert raises(UndefinedMapException, coord_map, L.Softmax(data()).fn)


def test_compose_and_inverse():
    same(compose((1, 2, 3), (1, 5, 7)), (1, 10, 17))
    same(compose((None, 1, 0), (1, 5, 7)), (1, 5, 7))
    same(compose((2, 5, 7), (None, 1, 0)), (2, 5, 7))
    same(inverse((1, 2.0, 3)), (1, 0.5, -1.5))
    assert raises(AxisMismatchException, compose, (1, 2, 3), (2, 2, 3))


def test_map_of_padding_that_keeps_the_size():
    bottom = data()
    top = conv(bottom, 3, pad=1)
    same(coord_map_from_to(top, bottom), (1, 1, 0))


def test_map_there_and_back():
    bottom = data()
    top = L.Pooling(conv(L.ReLU(bottom), 5, stride=2, pad=2), kernel_size=3, stride=2)
    there, back = coord_map_from_to(bottom, top), coord_map_from_to(top, bottom)
    same(compose(there, back), (1, 1, 0))
    same(there, (1, 0.25, -0.5))


def test_map_by_way_of_a_common_blob():
    bottom = data()
    deep = L.Pooling(conv(bottom, 5, pad=100), kernel_size=2, stride=2)
    up = L.Deconvolution(deep, convolution_param={"kernel_size": 4, "stride": 2})
    beside = conv(bottom, 1)
    axis, scale, shift = coord_map_from_to(up, beside)
    assert (axis, scale, shift) == (1, 1, -99)


def test_map_through_a_crop():
    bottom = data()
    top = L.Crop(conv(bottom, 3), bottom, offset=2)
    same(coord_map_from_to(top, bottom), (1, 1, 3))


def test_map_through_several_bottoms():
    bottom = data()
    top = L.Eltwise(conv(bottom, 3), conv(bottom, 3))
    same(coord_map_from_to(top, bottom), (1, 1, 1))


def test_no_map():
    assert raises(RuntimeError, coord_map_from_to, data(), data())
    bottom = data()
    assert raises(RuntimeError, coord_map_from_to, L.InnerProduct(bottom), bottom)


def test_map_of_other_axes():
    bottom = data()
    top = conv(conv(bottom, 3), 3, axis=2)
    assert raises(AxisMismatchException, coord_map_from_to, top, bottom)


def test_crop():
    n = caffe.NetSpec()
    n.data = data()
    n.deep = L.Pooling(conv(n.data, 5, pad=20), kernel_size=2, stride=2)
    n.up = L.Deconvolution(
        n.deep, convolution_param={"kernel_size": 4, "stride": 2, "num_output": 1}
    )
    n.score = crop(n.up, n.data)
    layer = n.to_proto().layer[-1]
    assert (layer.name, layer.type, list(layer.bottom)) == ("score", "Crop", ["up", "data"])
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [19])
    with open("net.prototxt", "w") as stream:  # noqa: PTH123
        stream.write(str(n.to_proto()))
    net = caffe.Net("net.prototxt", caffe.TEST)
    assert list(net.blobs["score"].shape) == [1, 1, 32, 32]


def test_crop_of_two_axes():
    bottom = data()
    made = crop(conv(bottom, [3, 5], pad=[4, 4]), bottom).fn
    assert made.params["crop_param"]["axis"] == 2
    assert made.params["crop_param"]["offset"] == [3, 2]


def test_crop_that_cannot_be():
    bottom = data()
    assert raises(AssertionError, crop, conv(bottom, 3), bottom)  # begins before it
    assert raises(AssertionError, crop, conv(bottom, 3, stride=2, pad=9), bottom)  # is scaled
    assert raises(AssertionError, crop, conv(bottom, 4, pad=9), bottom)  # lies between pixels
