"""caffe.proto: compiled as it stands, equal to BVLC's, and alone in its process or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bvlc import Build
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from grpc_tools import protoc

from recaffe.proto import schema

SOURCE = Path(schema.__file__).with_name("caffe.proto")


def test_compiled_schema_is_that_of_the_source(tmp_path: Path) -> None:
    compiled = tmp_path / "caffe.protoset"
    arguments = [f"--proto_path={SOURCE.parent}", f"--descriptor_set_out={compiled}", SOURCE.name]
    assert protoc.main(["protoc", *arguments]) == 0
    fresh, kept = (
        descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
        for path in (compiled, SOURCE.with_suffix(".protoset"))
    )
    assert kept == fresh, "run `make proto`"


# --- against BVLC ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def bvlc_schema(bvlc: Build) -> FileDescriptor:
    script = """
from caffe.proto import caffe_pb2
with open("schema", "wb") as stream:
    stream.write(caffe_pb2.DESCRIPTOR.serialized_pb)
"""
    serialized = bvlc.python(script, fetch=["schema"]).files["schema"]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(serialized)
    name = descriptor_pb2.FileDescriptorProto.FromString(serialized).name
    return pool.FindFileByName(name)


def messages(scope: FileDescriptor | Descriptor) -> dict[str, Descriptor]:
    """Every message by its full name, nested ones too."""
    file = isinstance(scope, FileDescriptor)
    found: dict[str, Descriptor] = {}
    for message in scope.message_types_by_name.values() if file else scope.nested_types:
        found |= {message.full_name: message} | messages(message)
    return found


def enums(file: FileDescriptor) -> dict[str, dict[str, int]]:
    """The values of every enum by its full name, nested ones too."""
    found: list[EnumDescriptor] = list(file.enum_types_by_name.values())
    found += [enum for message in messages(file).values() for enum in message.enum_types]
    return {enum.full_name: {v.name: v.number for v in enum.values} for enum in found}


def fields(message: Descriptor) -> dict[str, dict[str, Any]]:
    """All that decides what a field means in text and on the wire."""
    plain = descriptor_pb2.DescriptorProto()
    message.CopyToProto(plain)
    described = {}
    for field in plain.field:
        described[field.name] = {
            "number": field.number,
            "label": field.label,
            "type": (field.type, field.type_name),
            "default": message.fields_by_name[field.name].default_value,
            "packed": field.options.packed,
        }
    return described


@pytest.mark.oracle
def test_messages_and_enums_are_bvlcs(bvlc_schema: FileDescriptor) -> None:
    assert set(messages(schema.FILE)) == set(messages(bvlc_schema))
    assert len(messages(schema.FILE)) > 50
    assert enums(schema.FILE) == enums(bvlc_schema)
    assert enums(schema.FILE)["caffe.Phase"] == {"TRAIN": 0, "TEST": 1}


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(messages(schema.FILE)))
def test_fields_of_a_message_are_bvlcs(name: str, bvlc_schema: FileDescriptor) -> None:
    assert fields(messages(schema.FILE)[name]) == fields(messages(bvlc_schema)[name])


# --- beside another caffe_pb2 ---------------------------------------------------------

OTHER = """
from google.protobuf import descriptor_pb2, descriptor_pool

other = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
message = other.message_type.add(name="NetParameter")
message.field.add(name="not_caffes", number=1, type=3, label=1)
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
"""
OURS = """
from caffe.proto import caffe_pb2
from google.protobuf import text_format

assert text_format.Parse('name: "ours"', caffe_pb2.NetParameter()).name == "ours"
"""
BOTH = """
theirs = descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
assert [field.name for field in theirs.fields] == ["not_caffes"]
assert "not_caffes" not in caffe_pb2.NetParameter.DESCRIPTOR.fields_by_name
"""


@pytest.mark.parametrize("order", [(OTHER, OURS), (OURS, OTHER)], ids=["before", "after"])
def test_another_caffe_pb2_in_the_process_does_not_clash(order: tuple[str, str]) -> None:
    script = "".join([*order, BOTH])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
