"""caffe.Net, as pycaffe users know it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe.hooks import HookedNet
from recaffe.blob import Blob
from recaffe.errors import NetError, NoSuchBlobError, NoSuchLayerError, ShapeMismatchError
from recaffe.layers import Layer
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

Arrays = dict[str, np.ndarray]
Integer = int | np.integer

_BY_PHASE = ("phase", "level", "stages", "weights")
_BY_WEIGHTS = ("weights", "phase")


class Net(HookedNet):
    """A net from a prototxt, with weights if given.

    ``Net(file, phase, level=0, stages=None, weights=None)`` or ``Net(file, weights, phase)``;
    all of them may be given by name, the file's is ``network_file``.
    """

    def __init__(self, network_file: str | Path, *args: Any, **kwargs: Any) -> None:
        has_weights_first = bool(args) and isinstance(args[0], str | Path)
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
        super().__init__(
            read_message(network_file, NetParameter()),
            int(given["phase"]),
            level=int(level),
            stages=list(stages),
            origin=str(network_file),
        )
        if given["weights"]:
            self.copy_from(given["weights"])

    @classmethod
    def from_param(cls, param: Any, phase: int, **kwargs: Any) -> Net:
        """A net from a NetParameter; what solvers make their nets with."""
        net = cls.__new__(cls)
        HookedNet.__init__(net, param, phase, **kwargs)
        return net

    # -- names ------------------------------------------------------------------------

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return OrderedDict(zip(self.layer_names, self.layers, strict=True))

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The names of each layer's tops, by its name."""
        return OrderedDict((layer.name, layer.top_names) for layer in self.layers)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The names of each layer's bottoms, by its name."""
        return OrderedDict((layer.name, list(layer.param.bottom)) for layer in self.layers)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of every blob, 0 for those that are no loss."""
        weights = OrderedDict((name, 0.0) for name in self.blobs)
        for layer, layer_weights in zip(self.layers, self.loss_weights, strict=True):
            weights.update(zip(layer.top_names, layer_weights, strict=True))
        return weights

    @property
    def _layer_names(self) -> list[str]:
        return self.layer_names

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return self._ids(self.inputs)

    @property
    def _outputs(self) -> list[int]:
        return self._ids(self.outputs)

    def _top_ids(self, index: int) -> list[int]:
        return self._ids(self.layers[index].top_names)

    def _bottom_ids(self, index: int) -> list[int]:
        return self._ids(self.layers[index].param.bottom)

    def _ids(self, names: Iterable[str]) -> list[int]:
        places = {name: index for index, name in enumerate(self.blobs)}
        return [places[name] for name in names]

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
        self._fill(inputs, self.inputs, "data", "Input blob arguments do not match net inputs")
        last = self._index(end, len(self.layers) - 1)
        self._forward(self._index(start, 0), last)
        names = self.outputs if end is None else self.layers[last].top_names
        return {name: self._blob(name).data for name in [*names, *(blobs or ())]}

    def _forward(self, start: int, end: int) -> float:
        self.forward_layers(start, end)
        return self.loss(start, end)

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
        self._fill(outputs, self.outputs, "diff", "Top diff arguments do not match net outputs")
        last = self._index(end, 0)
        self._backward(self._index(start, len(self.layers) - 1), last)
        names = self.inputs if end is None else list(self.layers[last].param.bottom)
        return {name: self._blob(name).diff for name in [*names, *(diffs or ())]}

    def _backward(self, start: int, end: int) -> None:
        self.backward_layers(start, end)

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: np.ndarray) -> Arrays:
        """Run forward over any number of items, a batch at a time; return the outputs by name.

        Args:
            blobs: further blobs to return.
            inputs: values for all input blobs, of as many items each.
        """
        wanted = list(blobs or ())
        found = _Collected()
        for batch in self._batch(inputs):
            found.add(self.forward(blobs=wanted, **batch))
        return found.arrays(_items(inputs), self._batch_size)

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
        outputs, input_diffs = _Collected(), _Collected()
        for batch in self._batch(arrays):
            forward = {name: batch[name] for name in self.inputs if name in batch}
            backward = {name: batch[name] for name in self.outputs if name in batch}
            outputs.add(self.forward(blobs=wanted, **forward))
            input_diffs.add(self.backward(diffs=wanted_diffs, **backward))
        items = _items(arrays)
        return (
            outputs.arrays(items, self._batch_size),
            input_diffs.arrays(items, self._batch_size),
        )

    @property
    def _batch_size(self) -> int:
        return next(iter(self.blobs.values())).shape[0]

    def _batch(self, arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Batches of the net's size; the last one is filled up with zeros."""
        size = self._batch_size
        for first in range(0, _items(arrays), size):
            yield {
                name: _filled_up(np.asarray(array[first : first + size]), size)
                for name, array in arrays.items()
            }

    def _fill(self, values: Arrays, names: Sequence[str], side: str, mistake: str) -> None:
        if values and set(values) != set(names):
            raise NetError(
                f"{mistake}: expected values for {sorted(names)}, found {sorted(values)}"
            )
        for name, value in values.items():
            target = getattr(self.blobs[name], side)
            try:
                if np.shape(value)[:1] != target.shape[:1]:
                    raise ValueError("not as many items")
                target[...] = value
            except ValueError as error:
                raise ShapeMismatchError(
                    f"blob '{name}' has the shape {list(target.shape)}, the value given for it "
                    f"{list(np.shape(value))}; reshape the blob first, or the value"
                ) from error

    def _index(self, layer_name: str | None, default: int) -> int:
        if layer_name is None:
            return default
        if layer_name not in self.layer_names:
            raise NoSuchLayerError(
                f"no layer '{layer_name}'; the net has {', '.join(self.layer_names)}"
            )
        return self.layer_names.index(layer_name)

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise NoSuchBlobError(f"no blob '{name}'; the net has {', '.join(self.blobs)}")
        return self.blobs[name]

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give a net whose first layer is MemoryData its images and labels, in float32.

        Args:
            data: ``(n, channels, height, width)``, C contiguous, a whole number of batches.
            labels: ``(n,)`` or ``(n, 1, 1, 1)``.
        """
        first = self.layers[0] if self.layers else None
        if not isinstance(first, MemoryData):
            found = f"'{first.name}' ({first.type})" if first else "missing"
            raise NetError(
                "set_input_arrays is for nets whose first layer is MemoryData; this one's is "
                + found
            )
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        first.reset(data, labels)

    # -- weights ----------------------------------------------------------------------

    def copy_from(
        self,
        weights: str | Path | Sequence[str | Path] | RuntimeNet,
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
        if isinstance(weights, RuntimeNet):
            return copy_weights(self, weights, heads)
        return load_weights(self, weights, heads)

    def load_hdf5(self, path: str | Path) -> LoadReport:
        """Copy the weights of an HDF5 file into the layers of the same names."""
        return load_weights(self, path)

    def share_with(self, other: RuntimeNet) -> None:
        """Use the parameters of ``other``'s layers of the same names as this net's own."""
        share_weights(self, other)

    def save(self, path: str | Path) -> None:
        """Write the weights as a ``.caffemodel``."""
        save_weights(self, path)

    def save_hdf5(self, path: str | Path) -> None:
        """Write the weights as HDF5, whatever the file's name is."""
        save_hdf5(self, path)


class _Collected:
    """Arrays of one batch after the other, by name."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def add(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            # What is a single number, a loss say, is one for each batch.
            self._parts.setdefault(name, []).append(np.array(array, ndmin=1))

    def arrays(self, items: int, batch_size: int) -> Arrays:
        """All batches in one array, without what filled up the last one."""
        filled_up = -(-items // batch_size) * batch_size
        joined = {name: np.concatenate(parts) for name, parts in self._parts.items()}
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
