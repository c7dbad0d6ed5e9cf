"""Weight files: ``.caffemodel``, and the solver's ``.solverstate``.

A caffemodel is a NetParameter whose layers carry blobs, in today's form, in V1's or in V0's.
Only names, types and blobs are read, because forks of Caffe gave the same field numbers to
other parameters.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recaffe.errors import FormatError
from recaffe.files import write_whole
from recaffe.proto import arrays, wire
from recaffe.proto.schema import (
    LayerParameter,
    NetParameter,
    SolverState,
    V0LayerParameter,
    V1LayerParameter,
)
from recaffe.proto.upgrade import V1_TYPES
from recaffe.proto.v0 import V0_TYPES

Pieces = list[bytes | memoryview]


def _number(message: Any, name: str) -> int:
    return message.DESCRIPTOR.fields_by_name[name].number


_NET_NAME = _number(NetParameter, "name")
_NET_LAYER = _number(NetParameter, "layer")
_NET_V1_LAYER = _number(NetParameter, "layers")
_BLOBS = _number(LayerParameter, "blobs")
_V0_LAYER = _number(V1LayerParameter, "layer")
_HISTORY = _number(SolverState, "history")


@dataclass
class LayerWeights:
    """One layer of a weight file.

    Attributes:
        name, type: as the file has them; a type that this file cannot name is empty.
        blobs: the parameters in order.
        legacy: for each blob whether its shape is an older file's four numbers, which fit
            fewer axes too; empty says that none is.
        problem: why its blobs cannot be read; what is behind the one it names is left out.
    """

    name: str = ""
    type: str = ""
    blobs: list[np.ndarray] = field(default_factory=list)
    legacy: list[bool] = field(default_factory=list)
    problem: str = ""


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                raise FormatError(f"{path}: the file is empty; expected a file that Caffe wrote")
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as a file: {error.strerror}") from None


def read_weights(path: str | Path) -> list[LayerWeights]:
    """The layers of a ``.caffemodel``, those without blobs too.

    The arrays are views of the mapped file, read as they are copied. A blob that does not
    hold together is told in its layer's ``problem``: who has no use for it need not mind.

    Raises:
        FormatError: absent, cut short, or not a caffemodel; the message says which.
    """
    path = Path(path)
    if path.suffix == ".solverstate":
        raise FormatError(
            f"{path}: this is a solver state, not weights; restore the solver from it "
            "(-snapshot), or give the .caffemodel that was written with it"
        )
    message = _map(path)
    try:
        layers = list(_layers(message))
    except FormatError as error:
        raise FormatError(
            f"{path}: not a whole caffemodel: {error}. Is the download complete, "
            "and is it the binary file and not its prototxt?"
        ) from None
    if not layers:
        raise FormatError(f"{path}: expected a caffemodel, found no layer in it")
    forms = {form.message for form, _ in layers}
    if len(forms) > 1:
        raise FormatError(
            f"{path}: holds layers of two forms ({' and '.join(sorted(forms))}); Caffe writes "
            "files of one, so this may be two files in one"
        )
    return [layer for _, layer in layers]


@dataclass(frozen=True)
class _Form:
    """A form that layers have been stored in: its message's name and its fields' numbers."""

    message: str
    names: dict[int, str]

    @classmethod
    def of(cls, message: Any) -> _Form:
        names = ("name", "type", "blobs")
        return cls(message.DESCRIPTOR.name, {_number(message, name): name for name in names})


_TODAYS, _V1, _V0 = map(_Form.of, (LayerParameter, V1LayerParameter, V0LayerParameter))


def _layers(net: memoryview) -> Iterator[tuple[_Form, LayerWeights]]:
    for number, wire_type, value in wire.fields(net):
        if number in (_NET_NAME, _NET_LAYER, _NET_V1_LAYER):
            if wire_type != wire.LENGTH_DELIMITED or not isinstance(value, memoryview):
                raise FormatError(
                    f"field {number} is neither a net's name nor a layer (is this a solver state?)"
                )
            if number == _NET_LAYER:
                yield _TODAYS, _layer(value, _TODAYS)
            elif number == _NET_V1_LAYER:
                yield _old_layer(value)


def _old_layer(message: memoryview) -> tuple[_Form, LayerWeights]:
    """A layer of V1, or the V0 layer in it, which then is all there is."""
    for number, wire_type, value in wire.fields(message):
        if number == _V0_LAYER and wire_type == wire.LENGTH_DELIMITED:
            assert isinstance(value, memoryview)
            return _V0, _layer(value, _V0)
    return _V1, _layer(message, _V1)


def _layer(message: memoryview, form: _Form) -> LayerWeights:
    layer = LayerWeights()
    for number, wire_type, value in wire.fields(message):
        name = form.names.get(number)
        if isinstance(value, int):
            if name == "type" and form is _V1:
                layer.type = V1_TYPES.get(value, "")
        # As protobuf does, skip a field of ours that has another's wire type.
        elif wire_type == wire.LENGTH_DELIMITED:
            if name == "blobs":
                _add_blob(layer, value)
            elif name == "name":
                layer.name = _text(value)
            elif name == "type":
                layer.type = _text(value)
    if form is _V0:
        layer.type = V1_TYPES.get(V0_TYPES.get(layer.type, 0), "")
    return layer


def _add_blob(layer: LayerWeights, message: memoryview) -> None:
    try:
        blob = arrays.StoredBlob(message)
    except FormatError as error:
        raise FormatError(f"layer '{layer.name}', blob {len(layer.blobs)}: {error}") from None
    if layer.problem:
        return
    try:
        layer.blobs.append(blob.array())
    except FormatError as error:
        layer.problem = f"blob {len(layer.blobs)}: {error}"
    else:
        layer.legacy.append(blob.legacy)


def _text(value: memoryview) -> str:
    # Caffe takes names that are not UTF-8. No layer of a net has such a one, but their file
    # may hold others that are wanted.
    return bytes(value).decode(errors="backslashreplace")


def write_weights(
    path: str | Path,
    net_name: str,
    layers: Iterable[tuple[Any, Sequence[tuple[np.ndarray, np.ndarray | None]]]],
) -> None:
    """Write a ``.caffemodel``: each layer's LayerParameter with its ``(data, diff)`` blobs."""
    pieces: Pieces = list(arrays.framed(_NET_NAME, [net_name.encode()]))
    for parameter, blobs in layers:
        bare = LayerParameter()
        bare.CopyFrom(parameter)
        bare.ClearField("blobs")
        layer: Pieces = [bare.SerializeToString(deterministic=True)]
        for data, diff in blobs:
            layer += arrays.framed(_BLOBS, arrays.encode(data, diff))
        pieces += arrays.framed(_NET_LAYER, layer)
    write_whole(Path(path), pieces)


def read_state(path: str | Path) -> tuple[Any, list[np.ndarray]]:
    """A ``.solverstate``: the SolverState without its history, and the history's arrays.

    Raises:
        FormatError: absent, cut short, or not a solver state.
    """
    path = Path(path)
    if path.suffix == ".caffemodel":
        raise FormatError(
            f"{path}: these are weights, not a solver state; give the .solverstate "
            "that was written with them, or start afresh from them (-weights)"
        )
    header = bytearray()
    history: list[np.ndarray] = []
    message = _map(path)
    try:
        for number, wire_type, value in wire.fields(message):
            if number == _HISTORY and isinstance(value, memoryview):
                history.append(_history_array(value, len(history)))
            else:
                header += arrays.copy_field(number, wire_type, value)
        state = arrays.parse(SolverState, header)
    except FormatError as error:
        raise FormatError(f"{path}: not a whole solver state: {error}") from None
    if not state.HasField("iter"):
        raise FormatError(f"{path}: expected a solver state, found no iteration in it")
    return state, history


def _history_array(message: memoryview, index: int) -> np.ndarray:
    try:
        return arrays.decode(message)
    except FormatError as error:
        raise FormatError(f"history {index}: {error}") from None


def write_state(path: str | Path, state: Any, history: Sequence[np.ndarray]) -> None:
    """Write a ``.solverstate`` of ``state`` (without history) and the history's arrays."""
    pieces: Pieces = [state.SerializeToString(deterministic=True)]
    for array in history:
        pieces += arrays.framed(_HISTORY, arrays.encode(array))
    write_whole(Path(path), pieces)


def read_blob(path: str | Path) -> np.ndarray:
    """A BlobProto file such as ``mean.binaryproto``.

    Raises:
        FormatError: absent, cut short, or not a BlobProto.
    """
    path = Path(path)
    message = _map(path)
    try:
        blob = arrays.decode(message)
    except FormatError as error:
        raise FormatError(f"{path}: not a whole BlobProto (mean file): {error}") from None
    if not blob.size:
        raise FormatError(f"{path}: expected a BlobProto (mean file), found no values in it")
    return blob
