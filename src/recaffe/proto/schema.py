"""Message classes made from ``caffe.proto``, in a descriptor pool of their own.

The pool is private, so that another package's ``caffe_pb2`` in the same process (there
are many, all registering ``caffe.proto``) neither clashes with ours nor changes it.

>>> LayerParameter(name="ip1").convolution_param.stride_h
0
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor

_PACKAGE = "caffe"
_NAME = "caffe/proto/caffe.proto"  # as in BVLC's build


def _load_pool() -> tuple[descriptor_pool.DescriptorPool, Any]:
    compiled = files(__package__).joinpath("caffe.protoset").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    (file_proto,) = descriptor_pb2.FileDescriptorSet.FromString(compiled).file
    file_proto.name = _NAME
    pool.AddSerializedFile(file_proto.SerializeToString())
    return pool, pool.FindFileByName(file_proto.name)


POOL, FILE = _load_pool()


def message_class(name: str) -> Any:
    """The class of the message ``name``, without its package: ``"BlobProto"``."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def message_types() -> dict[str, Descriptor]:
    """All top-level messages by name."""
    return dict(FILE.message_types_by_name)


def enum_types() -> dict[str, EnumDescriptor]:
    """All top-level enums by name."""
    return dict(FILE.enum_types_by_name)


BlobProto: Any = message_class("BlobProto")
Datum: Any = message_class("Datum")
FillerParameter: Any = message_class("FillerParameter")
LayerParameter: Any = message_class("LayerParameter")
NetParameter: Any = message_class("NetParameter")
NetState: Any = message_class("NetState")
NetStateRule: Any = message_class("NetStateRule")
ParamSpec: Any = message_class("ParamSpec")
SolverParameter: Any = message_class("SolverParameter")
SolverState: Any = message_class("SolverState")
TransformationParameter: Any = message_class("TransformationParameter")
V0LayerParameter: Any = message_class("V0LayerParameter")
V1LayerParameter: Any = message_class("V1LayerParameter")

TRAIN: int = enum_types()["Phase"].values_by_name["TRAIN"].number
TEST: int = enum_types()["Phase"].values_by_name["TEST"].number
