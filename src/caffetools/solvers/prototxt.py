"""Writing and reading a solver's prototxt from names and values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.schedule import require_fields
from caffetools.solver import set_field
from caffetools.suggest import did_you_mean

_WORDS = {"true": True, "false": False}


class SolverProtoTXT:
    """A solver's settings by Caffe's own field names.

    Nothing is added to what is given: a field left out has Caffe's default.

    Args:
        parameters: the settings as a dict. A repeated field takes a list or one value, an enum
            its name, a bool also the words ``"true"`` and ``"false"``.
        fields: the same by keyword.

    Raises :class:`ToolError` for a field that Caffe lacks, a value that is not of its type, and
    settings that do not make a solver.
    """

    def __init__(self, parameters: Optional[Mapping[str, Any]] = None, **fields: Any) -> None:
        self._message = caffe_pb2.SolverParameter()
        self._parameters: dict[str, Any] = {}
        if parameters or fields:
            self.set_parameters({**(parameters or {}), **fields})

    def get_parameters(self) -> dict[str, Any]:
        """The settings as they were given or read."""
        return dict(self._parameters)

    def set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Take these settings, and forget those before."""
        message = caffe_pb2.SolverParameter()
        known = [
            field.name
            for field in caffe_pb2.SolverParameter.DESCRIPTOR.fields
            if field.message_type is None
        ]
        for name, value in parameters.items():
            if name not in known:
                raise ToolError(
                    f"solver.{name} is no plain field of Caffe's solver{did_you_mean(name, known)}"
                )
            is_bool = isinstance(getattr(message, name), bool)
            set_field(message, name, _WORDS.get(value, value) if is_bool else value)
        if not (message.net or message.train_net):
            raise ToolError(
                "the solver names no net; give net, one file for both phases, or train_net and "
                "test_net"
            )
        require_fields(message)
        self._message, self._parameters = message, dict(parameters)

    def write(self, prototxt_path: Union[str, Path]) -> None:
        """Write the prototxt, whole or not at all."""
        prototxt.write(Path(prototxt_path), self._message)

    def read(self, prototxt_path: Union[str, Path]) -> None:
        """Take the settings of the prototxt at that path."""
        message = prototxt.read_solver(Path(prototxt_path))
        self.set_parameters(
            {field.name: _value(field, value) for field, value in message.ListFields()}
        )

    def __str__(self) -> str:
        return prototxt.to_text(self._message)


def _value(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return list(value) if hasattr(value, "extend") else value
