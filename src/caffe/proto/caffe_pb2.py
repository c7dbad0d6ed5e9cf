"""Every message and enum of Caffe, named as in the module that protoc would generate.

>>> SolverParameter(base_lr=0.01).type
'SGD'
"""

from __future__ import annotations

from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from recaffe.proto import schema

DESCRIPTOR = schema.FILE


def _generated_names() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, message in schema.message_types().items():
        names[name] = schema.message_class(name)
        names[name].__module__ = __name__  # where pickle finds it again
        names[f"_{name.upper()}"] = message
        for nested in message.enum_types:
            names[f"_{name.upper()}_{nested.name.upper()}"] = nested
    for name, enum in schema.enum_types().items():
        names[name] = EnumTypeWrapper(enum)
        names[f"_{name.upper()}"] = enum
        names.update((value.name, value.number) for value in enum.values)
    return names


globals().update(_generated_names())


def __getattr__(name: str) -> Any:
    """Reached only for names that the schema does not have."""
    raise AttributeError(f"caffe_pb2 has no message or enum {name!r}; see caffe.proto")
