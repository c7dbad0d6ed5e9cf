"""Nets written in Python give the prototxt that BVLC's NetSpec gives."""

from __future__ import annotations

import sys

import pytest
from bvlc import Build
from google.protobuf import text_format

import caffe
from caffe import layers as L
from caffe.proto import caffe_pb2
from recaffe.errors import NetError

EVERYTHING = """
import caffe
from caffe import layers as L, params as P
n = caffe.NetSpec()
n.data, n.label = L.Data(source="x", backend=P.Data.LMDB, batch_size=3, ntop=2,
                         transform_param=dict(scale=0.5, mean_value=[1, 2, 3]))
n.conv = L.Convolution(n.data, kernel_size=3, num_output=4,
                       param=[dict(lr_mult=1), dict(lr_mult=2)], weight_filler=dict(type="xavier"))
n.relu = L.ReLU(n.conv, in_place=True)
n.pool = L.Pooling(L.ReLU(L.ReLU(n.relu, in_place=True)), pool=P.Pooling.AVE, kernel_size=2)
a = L.InnerProduct(n.pool, num_output=3, name="given")
b = L.Split(a, ntop=2)
n.x = L.Eltwise(*b, operation=P.Eltwise.MAX)
n.u = L.Slice(n.x, ntop=2, slice_point=[1])[1]
n.loss = L.SoftmaxWithLoss(n.x, n.label, include=dict(phase=caffe.TEST), loss_weight=2)
L.Silence(n.label, ntop=0)
n.z = L.Silence(n.u, ntop=0)
n.dc = L.Deconvolution(n.conv, convolution_param=dict(num_output=2, kernel_size=[1, 2]))
n["t/x"] = L.Python(n.dc, module="m", layer="l", param_str="s")
n.y = L.Reshape(n["t/x"], shape=dict(dim=[0, -1]))
n.d = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=4)], data_filler=dict(value=1), ntop=2)[0]
texts = [str(n.to_proto()), str(caffe.to_proto(n.loss, n.u)), str(n.relu.to_proto())]
"""


@pytest.mark.oracle
def test_layers_names_and_their_order_are_bvlcs(bvlc: Build):
    ending = "import json; print(json.dumps([caffe.__file__, *texts]))"
    found: dict = {}
    exec(compile(EVERYTHING, "everything", "exec"), found)
    where, *theirs = bvlc.python(EVERYTHING + ending).json()
    assert where.startswith("/usr/lib/python3/dist-packages/")
    ours = [text_format.Parse(text, caffe_pb2.NetParameter()) for text in found["texts"]]
    expected = [text_format.Parse(text, caffe_pb2.NetParameter()) for text in theirs]
    assert [str(net) for net in ours] == [str(net) for net in expected]
    assert len(ours[0].layer) == 16


def test_a_chain_longer_than_the_interpreters_stack():
    top = L.Input(shape={"dim": [1]})
    for _ in range(2 * sys.getrecursionlimit()):
        top = L.ReLU(top)
    assert len(caffe.to_proto(top).layer) == 2 * sys.getrecursionlimit() + 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: L.ReLU(L.Input(shape={"dim": 1}), negative_slop=1).to_proto(),
         "'ReLU1' .ReLU.: neither LayerParameter nor relu_param has a field 'negative_slop'"),
        (lambda: L.Deconvolution(L.Input(shape={"dim": 1}), num_output=1).to_proto(),
         "convolution_param=dict.num_output="),
        (lambda: L.Input(shape={"dims": 1}).to_proto(), "BlobShape has no field 'dims'"),
    ],
)  # fmt: skip
def test_unknown_settings_are_told(call, says):
    with pytest.raises(NetError, match=says):
        call()


def test_a_tuple_of_tops_is_no_input():
    with pytest.raises(TypeError, match="ReLU: input 0 is a tuple, not a Top"):
        L.ReLU(L.Split(L.Input(shape={"dim": 1}), ntop=2))


def test_names_that_are_not_there_are_told():
    spec = caffe.NetSpec()
    spec.data = L.Input(shape={"dim": [1, 2]})
    with pytest.raises(AttributeError, match="no blob 'dat'; known: data"):
        _ = spec.dat
    with pytest.raises(AttributeError, match="no message ConvParameter"):
        _ = caffe.params.Conv
    del spec.data
    assert not hasattr(spec, "data")
