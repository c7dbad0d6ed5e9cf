"""Changing a solver's parameters."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.schedule import learning_rate, require_fields
from caffetools.suggest import did_you_mean

# Fields that a caller may not set, with who does it instead.
_SET_ELSEWHERE = {
    "net": "the path of the patched net goes there (--net-path)",
    "snapshot_prefix": "the trainer sets it to its folder of snapshots",
    "solver_type": "it is the old name of type, as in type: 'Adam'",
    "test_net": "net names the one net of both phases",
    "train_net": "net names the one net of both phases",
}

# The other ways to name a net; beside ``net`` Caffe refuses them.
_OTHER_NETS = ("net_param", "train_net", "train_net_param", "test_net", "test_net_param")


def patch_solver(solver: Any, fields: Mapping[str, Any], net_path: str) -> Any:
    """A solver for the net at ``net_path``, with ``fields`` set as told.

    ``fields`` are scalar fields of SolverParameter, or lists for repeated ones (where one
    value stands for a list of one); None removes a field, so that its default holds. An
    enum is given by name. Raises ToolError for a field that is not known or not of that
    type, and for an lr_policy without the fields that it needs.
    """
    patched = caffe_pb2.SolverParameter()
    patched.CopyFrom(solver)
    for other in _OTHER_NETS:
        patched.ClearField(other)
    patched.net = net_path
    for name, value in fields.items():
        _require_settable(name)
        if name == "type":
            patched.ClearField("solver_type")
        set_field(patched, name, value)
    require_fields(patched)
    learning_rate(patched, 0)
    return patched


def _require_settable(name: str) -> None:
    known = {
        field.name
        for field in caffe_pb2.SolverParameter.DESCRIPTOR.fields
        if field.message_type is None and field.name not in _SET_ELSEWHERE
    }
    if name in _SET_ELSEWHERE:
        raise ToolError(f"solver.{name} is not for the settings: {_SET_ELSEWHERE[name]}")
    if name not in known:
        raise ToolError(
            f"solver.{name} is no scalar field of Caffe's solver{did_you_mean(name, known)}"
        )


def set_field(message: Any, name: str, value: Any) -> None:
    """Set a scalar field or, where it is repeated, all of it; None removes it.

    Raises :class:`ToolError` for a value that is not of the field's kind.
    """
    message.ClearField(name)
    if value is None:
        return
    field = message.DESCRIPTOR.fields_by_name[name]
    current = getattr(message, name)
    try:
        # Protobuf's versions differ in how a descriptor says "repeated"; its values do not.
        if hasattr(current, "extend"):
            items = value if isinstance(value, list) else [value]
            current.extend([_scalar(field, item) for item in items])
        else:
            setattr(message, name, _scalar(field, value))
    except ValueError as error:
        raise ToolError(f"solver.{name}: {value!r} is out of its range ({error})") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# By the kind of a field: which values it takes, and what to say of them.
_KINDS: dict[int, tuple[Callable[[Any], bool], str]] = {
    FieldDescriptor.CPPTYPE_BOOL: (lambda value: isinstance(value, bool), "true or false"),
    FieldDescriptor.CPPTYPE_FLOAT: (_is_number, "a number (in YAML 1.0e-3, not 1e-3)"),
    FieldDescriptor.CPPTYPE_INT32: (_is_integer, "an integer"),
    FieldDescriptor.CPPTYPE_INT64: (_is_integer, "an integer"),
    FieldDescriptor.CPPTYPE_STRING: (lambda value: isinstance(value, str), "a string"),
}


def _scalar(field: Any, value: Any) -> Any:
    """The value as the field holds it; an enum's name becomes its number."""
    if field.enum_type is not None:
        values = field.enum_type.values_by_name
        if value not in list(values):
            raise ToolError(
                f"solver.{field.name} is {value!r}; expected one of {', '.join(values)}"
            )
        return values[value].number
    fits, expected = _KINDS[field.cpp_type]
    if not fits(value):
        raise ToolError(f"solver.{field.name} is {value!r}; expected {expected}")
    return value
