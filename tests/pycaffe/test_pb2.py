"""caffe.proto.caffe_pb2 on both builds: a module as protoc would generate it."""

import copy
import pickle
import subprocess
import sys

import numpy as np
from google.protobuf import json_format, text_format

import caffe
import caffe.proto.caffe_pb2
from caffe.proto import caffe_pb2

NET = """
name: "net"
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "data"
  top: "ip"
  param { lr_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "pool" type: "Pooling" bottom: "ip" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 } include { phase: TEST } }
"""


def net():
    return text_format.Merge(NET, caffe_pb2.NetParameter())


def raises(kind, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except kind:
        return True
    return False


def test_module():
    assert caffe.proto.caffe_pb2 is caffe_pb2
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
    assert caffe_pb2.DESCRIPTOR.name == "caffe/proto/caffe.proto"
    assert caffe_pb2.__name__ == "caffe.proto.caffe_pb2"


def test_star():
    names = {}
    exec("from caffe.proto.caffe_pb2 import *", names)
    assert names["NetParameter"] is caffe_pb2.NetParameter
    assert (names["TRAIN"], names["TEST"]) == (0, 1)


def test_class_of_a_message():
    kind = caffe_pb2.NetParameter
    assert kind.__name__ == "NetParameter"
    assert kind.__module__ == "caffe.proto.caffe_pb2"
    assert kind.DESCRIPTOR.full_name == "caffe.NetParameter"
    assert isinstance(net(), kind)
    assert isinstance(net().layer[0], caffe_pb2.LayerParameter)


def test_every_message_can_be_made():
    for name in caffe_pb2.DESCRIPTOR.message_types_by_name:
        message = getattr(caffe_pb2, name)()
        assert message == pickle.loads(pickle.dumps(message))
        assert message.SerializePartialToString() == b""
        assert getattr(caffe_pb2, "_" + name.upper()) is message.DESCRIPTOR


def test_phase():
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert caffe_pb2.Phase.Name(1) == "TEST"
    assert caffe_pb2.Phase.Value("TRAIN") == 0
    assert list(caffe_pb2.Phase.keys()) == ["TRAIN", "TEST"]
    assert list(caffe_pb2.Phase.values()) == [0, 1]
    assert caffe_pb2.Phase.items() == [("TRAIN", 0), ("TEST", 1)]
    assert raises(ValueError, caffe_pb2.Phase.Name, 9)
    assert raises(ValueError, caffe_pb2.Phase.Value, "NONE")


def test_enums_of_messages():
    assert caffe_pb2.PoolingParameter.AVE == 1
    assert caffe_pb2.PoolingParameter.PoolMethod.Name(0) == "MAX"
    assert caffe_pb2.V1LayerParameter.RELU == 18
    assert caffe_pb2.V1LayerParameter.LayerType.Value("CONVOLUTION") == 4
    assert caffe_pb2.SolverParameter.SolverMode.Value("GPU") == caffe_pb2.SolverParameter.GPU == 1
    assert caffe_pb2.DataParameter.LMDB == 1
    assert caffe_pb2.PoolingParameter.PoolMethod.DESCRIPTOR.values_by_name["MAX"].number == 0


def test_descriptors_by_their_generated_names():
    assert caffe_pb2._LAYERPARAMETER.fields_by_name["name"].number == 1
    assert caffe_pb2._PHASE.values_by_name["TEST"].number == 1
    assert caffe_pb2._POOLINGPARAMETER_POOLMETHOD.values_by_number[1].name == "AVE"
    assert caffe_pb2._V1LAYERPARAMETER_LAYERTYPE.values_by_number[18].name == "RELU"


def test_field_numbers():
    assert caffe_pb2.NetParameter.LAYER_FIELD_NUMBER == 100
    assert caffe_pb2.BlobProto.DATA_FIELD_NUMBER == 5


def test_defaults():
    solver = caffe_pb2.SolverParameter()
    assert solver.type == "SGD"
    assert solver.iter_size == 1
    assert solver.delta == np.float32(1e-8)
    assert caffe_pb2.LayerParameter().pooling_param.stride == 1
    assert caffe_pb2.FillerParameter().type == "constant"
    assert caffe_pb2.Datum().encoded is False


def test_has_field():
    message = net()
    assert message.HasField("name")
    assert not message.HasField("state")
    assert message.layer[0].HasField("inner_product_param")
    assert not message.layer[0].HasField("convolution_param")
    assert not message.layer[0].inner_product_param.HasField("bias_filler")
    message.layer[0].inner_product_param.bias_filler.value = 0
    assert message.layer[0].inner_product_param.HasField("bias_filler")
    message.ClearField("name")
    assert not message.HasField("name")
    assert raises(ValueError, message.HasField, "layer")  # repeated
    assert raises(ValueError, message.HasField, "nothing")


def test_list_fields():
    names = [field.name for field, _ in net().layer[0].ListFields()]
    assert names == ["name", "type", "bottom", "top", "param", "inner_product_param"]


def test_equality():
    assert net() == net()
    other = net()
    other.layer[1].pooling_param.stride = 1  # its default, but set
    assert net() != other
    assert net() != caffe_pb2.SolverParameter()
    assert raises(TypeError, hash, net())


def test_copies():
    message = net()
    for copied in (copy.copy(message), copy.deepcopy(message), caffe_pb2.NetParameter()):
        copied.CopyFrom(message)
        assert copied == message
        copied.layer[0].name = "other"
        assert message.layer[0].name == "ip"


def test_merge():
    message = net()
    message.MergeFrom(net())
    assert [layer.name for layer in message.layer] == ["ip", "pool", "ip", "pool"]


def test_pickle():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(net(), protocol)) == net()
    layer = net().layer[1]
    assert pickle.loads(pickle.dumps(layer)).pooling_param.pool == caffe_pb2.PoolingParameter.AVE


def test_pickle_in_another_process():
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).layer[1].name)"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.communicate(pickle.dumps(net()))[0].strip() == b"pool"


def test_pickle_of_a_class():
    assert pickle.loads(pickle.dumps(caffe_pb2.Datum)) is caffe_pb2.Datum


def test_text():
    text = text_format.MessageToString(net())
    assert text_format.Parse(str(net()), caffe_pb2.NetParameter()) == net()
    assert text.startswith('name: "net"\nlayer {\n  name: "ip"\n  type: "InnerProduct"\n')
    assert text_format.Parse(text, caffe_pb2.NetParameter()) == net()
    unknown = "nothing: 1"
    assert raises(text_format.ParseError, text_format.Merge, unknown, caffe_pb2.NetParameter())


def test_json():
    text = json_format.MessageToJson(net(), preserving_proto_field_name=True)
    assert json_format.Parse(text, caffe_pb2.NetParameter()) == net()


def test_bytes():
    data = net().SerializeToString()
    assert caffe_pb2.NetParameter.FromString(data) == net()
    message = caffe_pb2.NetParameter()
    assert message.ParseFromString(data) == len(data) == net().ByteSize()
    assert message == net()
    assert raises(Exception, caffe_pb2.NetParameter.FromString, data[:-1])


def test_repeated_fields():
    message = net()
    added = message.layer.add(name="new", type="ReLU")
    added.bottom.extend(["a", "b"])
    added.top.append("c")
    assert [layer.name for layer in message.layer] == ["ip", "pool", "new"]
    del message.layer[0]
    message.layer.extend([caffe_pb2.LayerParameter(name="last")])
    assert [layer.name for layer in message.layer] == ["pool", "new", "last"]
    added = message.layer[1]
    added.bottom[:] = ["x"]
    added.top.remove("c")
    assert (list(added.bottom), list(added.top)) == (["x"], [])
    assert message.layer[-1].name == "last"


def test_mistakes():
    message = net()
    assert raises(AttributeError, setattr, message, "nothing", 1)
    assert raises(AttributeError, setattr, message, "layer", [])
    assert raises(TypeError, setattr, message, "name", 1)
    assert raises(ValueError, setattr, caffe_pb2.PoolingParameter(), "pool", 99)
    assert raises(ValueError, caffe_pb2.NetParameter, nothing=1)
    assert raises(AttributeError, getattr, caffe_pb2, "NetParam")


def test_numbers_of_numpy():
    layer = caffe_pb2.LayerParameter()
    layer.inner_product_param.num_output = np.int64(7)
    layer.loss_weight.extend(np.float32([0.5, 1]))
    assert layer.inner_product_param.num_output == 7
    assert list(layer.loss_weight) == [0.5, 1]


def test_oneofs_and_unknown_fields():
    data = b"\xfa\x7f\x03abc"  # field 2047, which no message has
    message = caffe_pb2.Datum.FromString(data + caffe_pb2.Datum(label=3).SerializeToString())
    assert message.label == 3
    assert data in message.SerializeToString()
    message.DiscardUnknownFields()
    assert message == caffe_pb2.Datum(label=3)
