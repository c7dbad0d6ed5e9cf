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
    names: dict[str, Any] = {name: schema.message_class(name) for name in schema.message_types()}
    for name, descriptor in schema.enum_types().items():
        names[name] = EnumTypeWrapper(descriptor)
        names.update((value.name, value.number) for value in descriptor.values)
    return names


globals().update(_generated_names())


def __getattr__(name: str) -> Any:
    """Reached only for names that the schema does not have."""
    raise AttributeError(f"caffe_pb2 has no message or enum {name!r}; see caffe.proto")
