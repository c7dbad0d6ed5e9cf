"""caffe.Net, as pycaffe users know it."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe.hooks import Hook, HookedNet
from caffe.nccl import NCCL
from caffe.views import Views
from recaffe.blob import Blob
from recaffe.errors import NetError, NoSuchBlobError, NoSuchLayerError, ShapeMismatchError
from recaffe.layers.memory_data import MemoryData
from recaffe.net import (
    LoadReport,
    copy_weights,
    load_weights,
    save_hdf5,
    save_weights,
    share_weights,
)
from recaffe.net import Net as RuntimeNet
from recaffe.proto.schema import NetParameter
from recaffe.proto.text import read_message
from recaffe.user import UserBlob, UserBlobs, UserLayer

Arrays = dict[str, np.ndarray]
FileName = str | bytes | Path
Integer = int | np.integer

_BY_PHASE = ("phase", "level", "stages", "weights")
_BY_WEIGHTS = ("weights", "phase")


class Net:
    """A net from a prototxt, with weights if given.

    ``Net(file, phase, level=0, stages=None, weights=None)`` or ``Net(file, weights, phase)``;
    all of them may be given by name, the file's is ``network_file``.

    It holds the net of the runtime and has pycaffe's names alone, so that users may set what
    they like on it; see docs/decisions/0010-faces-that-hold.md.
    """

    def __init__(self, network_file: FileName, *args: Any, **kwargs: Any) -> None:
        has_weights_first = bool(args) and isinstance(args[0], FileName)
        names = _BY_WEIGHTS if has_weights_first else _BY_PHASE
        given: dict[str, Any] = dict(zip(names, args, strict=False))
        duplicate = given.keys() & kwargs.keys()
        unknown = kwargs.keys() - set(_BY_PHASE)
        given = {"level": 0, "stages": None, "weights": None, **given, **kwargs}
        phase, level, stages = given.get("phase"), given["level"], given["stages"] or ()
        fits = isinstance(phase, Integer) and isinstance(level, Integer)
        if (
            not fits
            or not isinstance(stages, Iterable)
            or len(args) > len(names)
            or duplicate
            or unknown
        ):
            raise TypeError(
                "Net takes (network_file, phase), (network_file, weights, phase) or the keywords "
                f"network_file, phase, level, stages, weights; got {args!r} and {kwargs!r}"
            )
        name = os.fsdecode(network_file)
        net = HookedNet(
            read_message(name, NetParameter()),
            int(given["phase"]),
            level=int(level),
            stages=list(stages),
            origin=name,
        )
        self._runtime, self._views = net, Views(net)
        if given["weights"]:
            self.copy_from(given["weights"])

    # -- names ------------------------------------------------------------------------

    @property
    def layers(self) -> list[UserLayer]:
        """The layers in the order they run; those of a user's class are the user's objects."""
        return self._views.layers

    @property
    def layer_dict(self) -> OrderedDict[str, UserLayer]:
        """The layers by name."""
        return self._views.layer_dict

    @property
    def blobs(self) -> OrderedDict[str, UserBlob]:
        """The blobs by name, in the order they are first produced."""
        return self._views.blobs

    @property
    def params(self) -> OrderedDict[str, UserBlobs]:
        """The parameters of each layer that has some, by its name."""
        return self._views.params

    @property
    def inputs(self) -> list[str]:
        """The tops of the Input layers."""
        return self._views.inputs

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer consumes."""
        return self._views.outputs

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The names of each layer's tops, by its name."""
        return self._views.top_names

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The names of each layer's bottoms, by its name."""
        return self._views.bottom_names

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of every blob, 0 for those that are no loss."""
        return self._views.blob_loss_weights

    @property
    def _layer_names(self) -> list[str]:
        return list(self._runtime.layer_names)

    @property
    def _blob_names(self) -> list[str]:
        return list(self._runtime.blobs)

    @property
    def _blobs(self) -> list[UserBlob]:
        return [UserBlob(blob) for blob in self._runtime.blobs.values()]

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self._views.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return self._views.ids(self._runtime.inputs)

    @property
    def _outputs(self) -> list[int]:
        return self._views.ids(self._runtime.outputs)

    def _top_ids(self, index: int) -> list[int]:
        return self._views.ids(self._runtime.layers[index].top_names)

    def _bottom_ids(self, index: int) -> list[int]:
        return self._views.ids(self._runtime.layers[index].param.bottom)

    # -- running ----------------------------------------------------------------------

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> Arrays:
        """Run forward; return the outputs by name.

        Args:
            blobs: further blobs to return.
            start, end: the first and the last layer to run; with ``end`` its tops are returned.
            inputs: values for the input blobs; if any is given, all are.
        """
        net = self._runtime
        mistake = "Input blob arguments do not match net inputs"
        _fill(net, inputs, self.inputs, "data", mistake)
        last = _index(net, end, len(net.layers) - 1)
        self._forward(_index(net, start, 0), last)
        names = self.outputs if end is None else net.layers[last].top_names
        return {name: _blob(net, name).data for name in [*names, *(blobs or ())]}

    def _forward(self, start: int, end: int) -> float:
        self._runtime.forward_layers(start, end)
        return self._runtime.loss(start, end)

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **outputs: np.ndarray,
    ) -> Arrays:
        """Run backward; return the diffs of the inputs by name.

        Args:
            diffs: further blobs whose diffs to return.
            start, end: the first layer to run, from the back, and the last one; with ``end``
                the diffs of its bottoms are returned.
            outputs: diffs for the output blobs; if any is given, all are.
        """
        net = self._runtime
        mistake = "Top diff arguments do not match net outputs"
        _fill(net, outputs, self.outputs, "diff", mistake)
        last = _index(net, end, 0)
        self._backward(_index(net, start, len(net.layers) - 1), last)
        names = self.inputs if end is None else list(net.layers[last].param.bottom)
        return {name: _blob(net, name).diff for name in [*names, *(diffs or ())]}

    def _backward(self, start: int, end: int) -> None:
        self._runtime.backward_layers(start, end)

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: np.ndarray) -> Arrays:
        """Run forward over any number of items, a batch at a time; return the outputs by name.

        Args:
            blobs: further blobs to return.
            inputs: values for all input blobs, of as many items each.
        """
        wanted = list(blobs or ())
        found = _Collected([*self.outputs, *wanted])
        for batch in self._batch(inputs):
            found.add(self.forward(blobs=wanted, **batch))
        return found.arrays(_items(inputs), _batch_size(self._runtime))

    def forward_backward_all(
        self,
        blobs: Iterable[str] | None = None,
        diffs: Iterable[str] | None = None,
        **arrays: np.ndarray,
    ) -> tuple[Arrays, Arrays]:
        """Run forward and backward over any number of items, a batch at a time.

        Args:
            blobs, diffs: further blobs whose data and diffs to return.
            arrays: values for all input blobs, diffs for all output blobs, or both; what is
                not given is as it is in the net.

        Returns:
            The outputs' data and the inputs' diffs, by name.
        """
        if unknown := arrays.keys() - set(self.inputs) - set(self.outputs):
            raise NetError(
                f"forward_backward_all was given {', '.join(sorted(unknown))}; the net has the "
                f"inputs {', '.join(self.inputs)} and the outputs {', '.join(self.outputs)}"
            )
        wanted, wanted_diffs = list(blobs or ()), list(diffs or ())
        outputs = _Collected([*self.outputs, *wanted])
        input_diffs = _Collected([*self.inputs, *wanted_diffs])
        for batch in self._batch(arrays):
            forward = {name: batch[name] for name in self.inputs if name in batch}
            backward = {name: batch[name] for name in self.outputs if name in batch}
            outputs.add(self.forward(blobs=wanted, **forward))
            input_diffs.add(self.backward(diffs=wanted_diffs, **backward))
        items, size = _items(arrays), _batch_size(self._runtime)
        return outputs.arrays(items, size), input_diffs.arrays(items, size)

    def _batch(self, arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Batches of the net's size; the last one is filled up with zeros."""
        size = _batch_size(self._runtime)
        for first in range(0, _items(arrays), size):
            yield {
                name: _filled_up(np.asarray(array[first : first + size]), size)
                for name, array in arrays.items()
            }

    def reshape(self) -> None:
        """Let the shapes of all blobs follow from those of the inputs."""
        self._runtime.reshape()

    def clear_param_diffs(self) -> None:
        """Make the diffs of all parameters zero."""
        self._runtime.clear_param_diffs()

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give a net whose first layer is MemoryData its images and labels, in float32.

        Args:
            data: ``(n, channels, height, width)``, C contiguous, a whole number of batches.
            labels: ``(n,)`` or ``(n, 1, 1, 1)``.
        """
        layers = self._runtime.layers
        first = layers[0] if layers else None
        if not isinstance(first, MemoryData):
            found = f"'{first.name}' ({first.type})" if first else "missing"
            raise NetError(
                "set_input_arrays is for nets whose first layer is MemoryData; this one's is "
                + found
            )
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        first.reset(data, labels)

    # -- hooks ------------------------------------------------------------------------

    def before_forward(self, hook: Hook) -> None:
        """Call ``hook(index)`` before each layer's forward."""
        self._runtime.before_forward(hook)

    def after_forward(self, hook: Hook) -> None:
        """Call ``hook(index)`` after each layer's forward."""
        self._runtime.after_forward(hook)

    def before_backward(self, hook: Hook) -> None:
        """Call ``hook(index)`` before each layer's backward, also where it has nothing to do."""
        self._runtime.before_backward(hook)

    def after_backward(self, hook: Hook | NCCL) -> None:
        """Call ``hook(index)`` after each layer's backward, also where it has nothing to do.

        An NCCL joins its solver instead, as ``solver.add_callback`` of it does.
        """
        self._runtime.after_backward(hook)

    # -- weights ----------------------------------------------------------------------

    def copy_from(
        self,
        weights: FileName | Sequence[FileName] | Net,
        heads: Collection[str] | None = None,
    ) -> LoadReport:
        """Copy the weights of a ``.caffemodel`` or a net into the layers of the same names.

        Args:
            weights: the file, HDF5 or not, or several of which the later ones count; or a net.
            heads: the layers that are to keep their new values, and no others; ``None`` does
                not mind which do.

        Returns:
            What was copied and what was not; as text it is a table.

        Raises:
            CaffeError: a file that is none, a layer that does not fit, other layers than
                ``heads`` left over; nothing is copied then.
        """
        if isinstance(weights, Net):
            return copy_weights(self._runtime, weights._runtime, heads)
        files = [weights] if isinstance(weights, FileName) else weights
        return load_weights(self._runtime, [os.fsdecode(file) for file in files], heads)

    def load_hdf5(self, path: FileName) -> LoadReport:
        """Copy the weights of an HDF5 file into the layers of the same names."""
        return load_weights(self._runtime, os.fsdecode(path))

    def share_with(self, other: Net) -> None:
        """Use the parameters of ``other``'s layers of the same names as this net's own."""
        if not isinstance(other, Net):
            raise TypeError(f"expected a Net to share with, found a {type(other).__name__}")
        share_weights(self._runtime, other._runtime)

    def save(self, path: FileName) -> None:
        """Write the weights as a ``.caffemodel``."""
        save_weights(self._runtime, os.fsdecode(path))

    def save_hdf5(self, path: FileName) -> None:
        """Write the weights as HDF5, whatever the file's name is."""
        save_hdf5(self._runtime, os.fsdecode(path))


def shown(net: HookedNet) -> Net:
    """A net of the runtime as users see it; so solvers show theirs."""
    face = Net.__new__(Net)
    face._runtime, face._views = net, Views(net)
    return face


def _fill(net: RuntimeNet, values: Arrays, names: Sequence[str], side: str, mistake: str) -> None:
    if values and set(values) != set(names):
        raise NetError(f"{mistake}: expected values for {sorted(names)}, found {sorted(values)}")
    for name, value in values.items():
        target = getattr(net.blobs[name], side)
        try:
            if np.shape(value)[:1] != target.shape[:1]:
                raise ValueError("not as many items")
            target[...] = value
        except ValueError as error:
            raise ShapeMismatchError(
                f"blob '{name}' has the shape {list(target.shape)}, the value given for it "
                f"{list(np.shape(value))}; reshape the blob first, or the value"
            ) from error


def _index(net: RuntimeNet, layer_name: str | None, default: int) -> int:
    if layer_name is None:
        return default
    if layer_name not in net.layer_names:
        raise NoSuchLayerError(f"no layer '{layer_name}'; the net has {', '.join(net.layer_names)}")
    return net.layer_names.index(layer_name)


def _blob(net: RuntimeNet, name: str) -> Blob:
    if name not in net.blobs:
        raise NoSuchBlobError(f"no blob '{name}'; the net has {', '.join(net.blobs)}")
    return net.blobs[name]


def _batch_size(net: RuntimeNet) -> int:
    return next(iter(net.blobs.values())).shape[0]


class _Collected:
    """Arrays of one batch after the other, by name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def add(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            # What is a single number, a loss say, is one for each batch.
            self._parts[name].append(np.array(array, ndmin=1))

    def arrays(self, items: int, batch_size: int) -> Arrays:
        """All batches in one array, without what filled up the last one."""
        filled_up = -(-items // batch_size) * batch_size
        joined = {
            name: np.concatenate(parts) if parts else np.array([])
            for name, parts in self._parts.items()
        }
        return {
            name: array[:items] if len(array) == filled_up else array
            for name, array in joined.items()
        }


def _items(arrays: Mapping[str, Any]) -> int:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{length} for '{name}'" for name, length in lengths.items())
        raise NetError(f"expected arrays of as many items each, found {found or 'no array'}")
    return next(iter(lengths.values()))


def _filled_up(array: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(array)
    if not missing:
        return array
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]))])
