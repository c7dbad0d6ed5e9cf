"""Weights and solver states as HDF5: ``.caffemodel.h5`` and ``.solverstate.h5``.

::

    data/<layer>/<index>    a layer's parameters; one that is shared stands at its owner only
    diff/<layer>/<index>    their diffs, if asked for, shared ones at every layer

    iter, current_step, learned_net    of a solver state
    history/<index>                    its history

Source: ``Net::ToHDF5`` in ``net.cpp``, ``SnapshotSolverStateToHDF5`` in ``sgd_solver.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from recaffe.errors import FormatError
from recaffe.files import whole_file
from recaffe.proto.schema import SolverState
from recaffe.shapes import MAX_COUNT, why_impossible

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Compressed values may be many times the file: by so much, and no more, may a file grow.
_MOST_GROWTH = 100
_SMALL = 1 << 28
# Fields of a binary state that Caffe's parser skips are in this attribute, which BVLC skips too.
_SKIPPED = "skipped_fields"
_LONGEST_TEXT = 1 << 16
# What h5py raises at one or another kind of damage.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError,
           MemoryError)  # fmt: skip


@dataclass
class SparseWeights:
    """A layer's blobs by their index; those that the file leaves to another layer are absent.

    ``problem`` says why they cannot be read.
    """

    name: str
    blobs: dict[int, np.ndarray] = field(default_factory=dict)
    problem: str = ""


def is_hdf5(path: str | Path) -> bool:
    """Whether the file holds HDF5, whatever its name is; an absent one is told by its name."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return Path(path).suffix == ".h5"


class _Reader:
    """Reads groups and arrays of a file that may be damaged, or made to do harm."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.file = file
        self.path = path
        self._room = max(_SMALL, _MOST_GROWTH * path.stat().st_size)

    def error(self, message: str) -> FormatError:
        return FormatError(f"{self.path}: {message}")

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        found = self._member(parent, name)
        if not isinstance(found, h5py.Group):
            raise self.error(f"expected '{name}' in {parent.name} to be a group")
        return found

    def array(self, parent: h5py.Group, name: str) -> np.ndarray:
        """The values of a dataset of numbers, as float32 or what the file holds."""
        dataset = self._dataset(parent, name)
        self._check_numbers(dataset)
        return np.asarray(dataset[()])

    def integer(self, parent: h5py.Group, name: str) -> int:
        dataset = self._dataset(parent, name)
        self._check_numbers(dataset)
        if dataset.size != 1 or dataset.dtype.kind not in "iu":
            raise self.error(f"expected '{name}' to be one integer")
        value = int(np.asarray(dataset[()]).reshape(-1)[0])
        if not 0 <= value <= MAX_COUNT:
            raise self.error(f"{name} is {value}")
        return value

    def text(self, parent: h5py.Group, name: str) -> str:
        dataset = self._dataset(parent, name)
        if dataset.size != 1 or h5py.check_string_dtype(dataset.dtype) is None:
            raise self.error(f"expected '{name}' to be a text")
        if dataset.dtype.itemsize > _LONGEST_TEXT:
            raise self.error(f"'{name}' is longer than any path")
        value = np.asarray(dataset[()]).reshape(-1)[0]
        return value.decode() if isinstance(value, bytes) else str(value)

    def skipped_fields(self) -> bytes:
        """What :func:`write_state` stored of fields that Caffe's parser skips."""
        value = np.asarray(self.file.attrs.get(_SKIPPED, np.zeros(0, "u1")))
        return value.tobytes() if value.dtype == np.uint8 else b""

    def _member(self, parent: h5py.Group, name: str) -> Any:
        # A path would lead through groups whose links nobody looks at.
        link = None if "/" in name else parent.get(name, getlink=True)
        if link is None:
            raise self.error(f"no '{name}' in {parent.name}; is this another program's HDF5 file?")
        if not isinstance(link, h5py.HardLink):
            raise self.error(f"'{name}' in {parent.name} points elsewhere, which is not followed")
        return parent[name]

    def _dataset(self, parent: h5py.Group, name: str) -> h5py.Dataset:
        found = self._member(parent, name)
        if not isinstance(found, h5py.Dataset):
            raise self.error(f"expected '{name}' in {parent.name} to be a dataset")
        if found.shape is None:
            raise self.error(f"{found.name} holds no values")
        if found.external or found.is_virtual:
            raise self.error(f"{found.name} keeps its values in another file, which is not read")
        return found

    def _check_numbers(self, dataset: h5py.Dataset) -> None:
        kind = dataset.id.get_type().get_class()
        if kind not in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
            raise self.error(f"{dataset.name} holds values of type {dataset.dtype}, not numbers")
        if problem := why_impossible(dataset.shape):
            raise self.error(problem)
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        stored = dataset.id.get_storage_size()
        if stored < size and not (stored and dataset.id.get_create_plist().get_nfilters()):
            raise self.error(
                f"{dataset.name} of shape {list(dataset.shape)} should have {size} bytes, "
                f"but {stored} are there"
            )
        self._room -= size
        if self._room < 0:
            raise self.error(f"{dataset.name} is larger than a file of this size can mean")


@contextmanager
def _reading(path: Path, what: str) -> Iterator[_Reader]:
    if not path.is_file():
        raise FormatError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with h5py.File(path, "r") as file:
            yield _Reader(file, path)
    except _DAMAGE as error:
        raise FormatError(
            f"{path}: not a whole {what} in HDF5: {error}. Is the download complete?"
        ) from None


def read_weights(path: str | Path, wanted: Container[str] | None = None) -> list[SparseWeights]:
    """The layers of a ``.caffemodel.h5`` that have blobs.

    Args:
        wanted: the names of those that must hold together, by default of all. Others may be
            anything, as other programs write it, and tell so in their ``problem``.

    Raises:
        FormatError: absent, cut short, or not a caffemodel; the message says which.
    """
    path = Path(path)
    with _reading(path, "caffemodel") as reader:
        if "data" not in reader.file and "history" in reader.file:
            raise FormatError(
                f"{path}: this is a solver state, not weights; restore the solver from it "
                "(-snapshot), or give the .caffemodel.h5 that was written with it"
            )
        data = reader.group(reader.file, "data")
        layers = [SparseWeights(name) for name in data]
        for layer in layers:
            try:
                _read_blobs(reader, data, layer)
            except _DAMAGE as error:
                if wanted is None or layer.name in wanted:
                    raise
                layer.blobs, layer.problem = {}, str(error)
    return [layer for layer in layers if layer.blobs or layer.problem]


def _read_blobs(reader: _Reader, data: h5py.Group, layer: SparseWeights) -> None:
    group = reader.group(data, layer.name)
    for name in group:
        if not name.isdecimal() or str(int(name)) != name:
            raise reader.error(f"layer '{layer.name}': '{name}' is no blob's index")
        layer.blobs[int(name)] = reader.array(group, name)


def read_arrays(path: str | Path, names: Sequence[str]) -> list[np.ndarray]:
    """The datasets of numbers of these names, which stand in the file's root, as float32.

    Raises:
        FormatError: absent, cut short, or without such a dataset.
    """
    with _reading(Path(path), "file of data") as reader:
        return [np.asarray(reader.array(reader.file, name), np.float32) for name in names]


def write_weights(
    path: str | Path,
    layers: Iterable[tuple[str, Sequence[tuple[np.ndarray | None, np.ndarray | None]]]],
) -> None:
    """Write a ``.caffemodel.h5``: each layer's name and its ``(data, diff)`` blobs.

    Data is ``None`` where another layer owns the blob, diff where none is to be written.

    Raises:
        FormatError: a layer's name that HDF5 cannot hold.
    """
    path = Path(path)
    layers = list(layers)
    with_diff = any(diff is not None for _, blobs in layers for _, diff in blobs)
    for name, _ in layers:
        check_layer_name(name, str(path))
    with whole_file(path) as partial, h5py.File(partial, "w") as file:
        for side, kind in enumerate(("data", "diff") if with_diff else ("data",)):
            groups = file.create_group(kind)
            for name, blobs in layers:
                group = groups.create_group(name)
                for index, blob in enumerate(blobs):
                    if blob[side] is not None:
                        group.create_dataset(str(index), data=blob[side], dtype="<f4")


def check_layer_name(name: str, path: str) -> None:
    """Refuse the names that HDF5 takes for something else, as BVLC does."""
    if "/" in name or name in ("", "."):
        raise FormatError(
            f"{path}: the layer name '{name}' cannot be a name in HDF5; rename the layer, or "
            "use snapshot_format: BINARYPROTO"
        )


def read_state(path: str | Path) -> tuple[Any, list[np.ndarray]]:
    """A ``.solverstate.h5``: a SolverState without its history, and the history's arrays.

    Raises:
        FormatError: absent, cut short, or not a solver state.
    """
    path = Path(path)
    with _reading(path, "solver state") as reader:
        if "data" in reader.file and "history" not in reader.file:
            raise FormatError(
                f"{path}: these are weights, not a solver state; give the .solverstate.h5 "
                "that was written with them, or start afresh from them (-weights)"
            )
        state = SolverState(
            iter=reader.integer(reader.file, "iter"),
            current_step=reader.integer(reader.file, "current_step"),
        )
        if "learned_net" in reader.file:
            state.learned_net = reader.text(reader.file, "learned_net")
        state.MergeFromString(reader.skipped_fields())
        group = reader.group(reader.file, "history")
        history = [reader.array(group, str(index)) for index in range(len(group))]
    return state, history


def write_state(path: str | Path, state: Any, history: Sequence[np.ndarray]) -> None:
    """Write a ``.solverstate.h5`` of ``state`` (without history) and the history's arrays."""
    with whole_file(Path(path)) as partial, h5py.File(partial, "w") as file:
        file.create_dataset("iter", data=[state.iter], dtype="<i4")
        _create_text(file, "learned_net", state.learned_net)
        file.attrs[_SKIPPED] = np.frombuffer(_skipped_fields(state), "u1")
        file.create_dataset("current_step", data=[state.current_step], dtype="<i4")
        group = file.create_group("history")
        for index, array in enumerate(history):
            group.create_dataset(str(index), data=array, dtype="<f4")


def _skipped_fields(state: Any) -> bytes:
    """What the message holds that its schema does not name, as bytes."""
    bare = type(state)()
    bare.CopyFrom(state)
    for descriptor, _ in state.ListFields():
        bare.ClearField(descriptor.name)
    return bare.SerializeToString(deterministic=True)


def _create_text(file: h5py.File, name: str, text: str) -> None:
    # BVLC reads it into a buffer of the text's length, and trusts it to end with a zero.
    raw = text.encode() + b"\0"
    text_type = h5py.h5t.C_S1.copy()
    text_type.set_size(len(raw))
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    untimed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    untimed.set_obj_track_times(False)
    dataset = h5py.h5d.create(file.id, name.encode(), text_type, space, untimed)
    dataset.write(space, space, np.array(raw, f"S{len(raw)}"), text_type)
