"""caffe.proto: compiled as it stands, BVLC's and the forks', and alone in its process or not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
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


# --- against BVLC's, and beyond it ------------------------------------------------------


# What the project's schema has beside BVLC's: fields, enum values and messages of forks, and a
# few of its own.
PRIVATE = 500_000_000
EXTRA_FIELDS = {
    "caffe.BatchNormParameter": {"engine"},
    "caffe.DataParameter": {"shuffle"},
    "caffe.DropoutParameter": {"scale_train"},
    "caffe.LayerParameter": {
        "bn_param",
        "interp_param",
        "norm_param",
        "permute_param",
        "relu6_param",
        "roi_pooling_param",
        "shuffle_channel_param",
        "smooth_l1_loss_param",
        "upsample_param",
    },
    "caffe.NetParameter": {"engine"},
    "caffe.PoolingParameter": {"ceil_mode"},
    "caffe.TransformationParameter": {"augmentation"},
}
INTEL = {"MKL2017": PRIVATE, "MKLDNN": PRIVATE + 1}
EXTRA_VALUES = {
    "caffe.ConvolutionParameter.Engine": INTEL,
    "caffe.LRNParameter.Engine": INTEL,
    "caffe.PoolingParameter.Engine": INTEL,
    "caffe.ReLUParameter.Engine": INTEL,
}
EXTRA_ENUMS = {
    "caffe.BatchNormParameter.Engine": {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2} | INTEL,
    "caffe.BNParameter.BNMode": {"LEARN": 0, "INFERENCE": 1},
    "caffe.BNParameter.Engine": {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2},
}
EXTRA_MESSAGES = {
    "caffe.AugmentationParameter",
    "caffe.BNParameter",
    "caffe.InterpParameter",
    "caffe.NormalizeParameter",
    "caffe.PermuteParameter",
    "caffe.ReLU6Parameter",
    "caffe.ROIPoolingParameter",
    "caffe.ShuffleChannelParameter",
    "caffe.SmoothL1LossParameter",
    "caffe.UpsampleParameter",
}

# Everything that BVLC's build of Caffe 1.0 has; test_known_schema_is_bvlcs asks the build itself.
KNOWN = json.loads(Path(__file__).with_name("caffe_schema.json").read_text())
KNOWN_FIELDS = {
    name: {field["name"]: field for field in fields} for name, fields in KNOWN["messages"].items()
}


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
    """All that decides what a field means in text and on the wire, as the known schema has it."""
    plain = descriptor_pb2.DescriptorProto()
    message.CopyToProto(plain)
    described = {}
    for field in plain.field:
        kind, label = (
            enum.Name(value).rsplit("_", 1)[1].lower()
            for enum, value in (
                (descriptor_pb2.FieldDescriptorProto.Type, field.type),
                (descriptor_pb2.FieldDescriptorProto.Label, field.label),
            )
        )
        one: dict[str, Any] = {"name": field.name, "number": field.number, "label": label}
        one["type"] = field.type_name.lstrip(".") or kind
        if field.HasField("default_value"):
            value = message.fields_by_name[field.name].default_value
            one["default"] = field.default_value if field.type_name else value
        if field.options.packed:
            one["packed"] = True
        described[field.name] = one
    return described


def rounded(fields: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """With the defaults of floats as the floats they become."""
    return {
        name: field | {"default": np.float32(field["default"])}
        if field["type"] == "float" and "default" in field
        else field
        for name, field in fields.items()
    }


def test_messages_and_enums_are_the_known_ones_and_the_forks() -> None:
    assert len(KNOWN_FIELDS) > 50
    assert set(messages(schema.FILE)) == set(KNOWN_FIELDS) | EXTRA_MESSAGES
    expected = {
        name: values | EXTRA_VALUES.get(name, {}) for name, values in KNOWN["enums"].items()
    }
    assert enums(schema.FILE) == expected | EXTRA_ENUMS
    assert enums(schema.FILE)["caffe.Phase"] == {"TRAIN": 0, "TEST": 1}


@pytest.mark.parametrize("name", sorted(KNOWN_FIELDS))
def test_fields_of_a_message_are_the_known_ones_and_the_forks(name: str) -> None:
    found = fields(messages(schema.FILE)[name])
    extra = EXTRA_FIELDS.get(name, set())
    assert set(found) - set(KNOWN_FIELDS[name]) == extra
    assert rounded({n: f for n, f in found.items() if n not in extra}) == rounded(
        KNOWN_FIELDS[name]
    )


def test_there_is_nothing_that_the_known_schema_could_not_tell() -> None:
    """Oneofs, extensions, groups and nested messages: Caffe has none, nor have we."""
    plain = descriptor_pb2.FileDescriptorProto()
    schema.FILE.CopyToProto(plain)
    assert (plain.package, plain.syntax) == ("caffe", "")  # proto2 leaves its name out
    assert not (plain.extension)
    assert not (plain.service)
    assert not (plain.dependency)
    assert not (plain.options.ByteSize())
    for message in plain.message_type:
        assert not (message.oneof_decl)
        assert not (message.extension)
        assert not (message.extension_range)
        assert not (message.nested_type)
        assert not (message.options.ByteSize())
        for field in message.field:
            assert field.type != field.TYPE_GROUP
            assert {option.name for option, _ in field.options.ListFields()} <= {"packed"}


def test_numbers_of_the_forks_fields_clash_with_nobodys() -> None:
    """Not with BVLC's and not with those that forks took, the highest seen being 8266712."""
    extra = {name: EXTRA_FIELDS.get(name, set()) for name in KNOWN_FIELDS}
    for name in EXTRA_MESSAGES:
        extra[name] = set(messages(schema.FILE)[name].fields_by_name)
    for name, names in extra.items():
        by_name = messages(schema.FILE)[name].fields_by_name
        numbers = [by_name[field].number for field in names]
        assert all(number >= PRIVATE for number in numbers), name
        assert len(set(numbers)) == len(numbers)


@pytest.mark.oracle
def test_known_schema_is_bvlcs(bvlc: Build) -> None:
    script = """
from caffe.proto import caffe_pb2
with open("schema", "wb") as stream:
    stream.write(caffe_pb2.DESCRIPTOR.serialized_pb)
"""
    serialized = bvlc.python(script, fetch=["schema"]).files["schema"]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(serialized)
    name = descriptor_pb2.FileDescriptorProto.FromString(serialized).name
    theirs = pool.FindFileByName(name)
    assert enums(theirs) == KNOWN["enums"]
    assert {name: rounded(fields(message)) for name, message in messages(theirs).items()} == {
        name: rounded(fields) for name, fields in KNOWN_FIELDS.items()
    }


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
