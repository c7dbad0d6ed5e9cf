"""caffe.Net, as pycaffe users know it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recaffe.blob import Blob
from recaffe.errors import NetError, ShapeMismatchError
from recaffe.layers.memory_data import MemoryData
from recaffe.net import LoadReport, load_weights, save_weights, share_weights
from recaffe.net import Net as RuntimeNet
from recaffe.proto.schema import NetParameter
from recaffe.proto.text import read_message


class Net(RuntimeNet):
    """A net from a prototxt, with weights if given.

    ``Net(file, phase)``, ``Net(file, weights, phase)`` or ``Net(network_file=file,
    phase=phase, level=0, stages=["deploy"], weights=weights)``.
    """

    def __init__(self, network_file: str, *args: Any, **kwargs: Any) -> None:
        names = ("weights", "phase") if len(args) == 2 else ("phase",)
        given = dict(zip(names, args, strict=False))
        duplicate = given.keys() & kwargs.keys()
        unknown = kwargs.keys() - {"phase", "level", "stages", "weights"}
        if len(args) > 2 or duplicate or unknown or "phase" not in {**given, **kwargs}:
            raise TypeError(
                "Net takes (network_file, phase), (network_file, weights, phase) or the keywords "
                f"network_file, phase, level, stages, weights; got {args!r} and {kwargs!r}"
            )
        given.update(kwargs)
        super().__init__(
            read_message(network_file, NetParameter()),
            given["phase"],
            level=given.get("level", 0),
            stages=given.get("stages") or (),
            origin=str(network_file),
        )
        if given.get("weights"):
            self.copy_from(given["weights"])

    @classmethod
    def from_param(cls, param: Any, phase: int, **kwargs: Any) -> Net:
        """A net from a NetParameter; what solvers make their nets with."""
        net = cls.__new__(cls)
        RuntimeNet.__init__(net, param, phase, **kwargs)
        return net

    @property
    def _layer_names(self) -> list[str]:
        return self.layer_names

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The loss weight of every blob, 0 for those that are no loss."""
        weights = OrderedDict((name, 0.0) for name in self.blobs)
        for layer, layer_weights in zip(self.layers, self.loss_weights, strict=True):
            weights.update(zip(layer.param.top, layer_weights, strict=True))
        return weights

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run forward; return the outputs by name.

        Args:
            blobs: further blobs to return.
            start, end: the first and the last layer to run; with ``end`` its tops are returned.
            inputs: values for the input blobs; if any is given, all are.
        """
        self._fill(inputs, self.inputs, "data")
        last = self._index(end, len(self.layers) - 1)
        self.forward_layers(self._index(start, 0), last)
        names = self.outputs if end is None else list(self.layers[last].param.top)
        return {name: self._blob(name).data for name in [*names, *(blobs or ())]}

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **outputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run backward; return the diffs of the inputs by name.

        Args:
            diffs: further blobs whose diffs to return.
            start, end: the first layer to run, from the back, and the last one; with ``end``
                the diffs of its bottoms are returned.
            outputs: diffs for the output blobs.
        """
        self._fill(outputs, self.outputs, "diff")
        last = self._index(end, 0)
        self.backward_layers(self._index(start, len(self.layers) - 1), last)
        names = self.inputs if end is None else list(self.layers[last].param.bottom)
        return {name: self._blob(name).diff for name in [*names, *(diffs or ())]}

    def _fill(self, values: dict[str, np.ndarray], names: Sequence[str], side: str) -> None:
        if values and set(values) != set(names):
            raise NetError(f"expected values for {sorted(names)}, found {sorted(values)}")
        for name, value in values.items():
            target = getattr(self.blobs[name], side)
            if np.shape(value) != target.shape:
                raise ShapeMismatchError(
                    f"blob '{name}' has the shape {list(target.shape)}, the value given for it "
                    f"{list(np.shape(value))}; reshape the blob first, or the value"
                )
            target[...] = value

    def _index(self, layer_name: str | None, default: int) -> int:
        if layer_name is None:
            return default
        if layer_name not in self.layer_names:
            raise NetError(f"no layer '{layer_name}'; the net has {', '.join(self.layer_names)}")
        return self.layer_names.index(layer_name)

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise NetError(f"no blob '{name}'; the net has {', '.join(self.blobs)}")
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

    def copy_from(
        self,
        weights: str | Path | Sequence[str | Path],
        heads: Collection[str] | None = None,
    ) -> LoadReport:
        """Copy the weights of a ``.caffemodel`` into the layers of the same names.

        Args:
            weights: the file, or several of which the later ones count.
            heads: the layers that are to keep their new values, and no others; ``None`` does
                not mind which do.

        Returns:
            What was copied and what was not; as text it is a table.

        Raises:
            CaffeError: a file that is none, a layer that does not fit, other layers than
                ``heads`` left over; nothing is copied then.
        """
        return load_weights(self, weights, heads)

    def share_with(self, other: RuntimeNet) -> None:
        """Use the parameters of ``other``'s layers of the same names as this net's own."""
        share_weights(self, other)

    def save(self, path: str | Path) -> None:
        """Write the weights as a ``.caffemodel``."""
        save_weights(self, path)
