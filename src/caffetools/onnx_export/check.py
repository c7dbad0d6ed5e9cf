"""Running an ONNX model in onnxruntime, beside the net that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffetools.cli import ToolError
from caffetools.onnx_export.export import require, resize

# Of an output's largest value: what other orders of float32 sums may make in a deep net.
TOLERANCE = 1e-4
# Of which one is another than the net's own.
_BATCHES = (2, 3)


class NotRunError(Exception):
    """onnxruntime is not installed, or cannot run the model."""


class Session:
    """A ModelProto in onnxruntime, on one thread of the CPU, so that sums have an order.

    Raises :class:`NotRunError` where onnxruntime is absent or cannot run it.
    """

    def __init__(self, model: Any) -> None:
        try:
            runtime = require("onnxruntime")
        except ToolError as error:
            raise NotRunError(str(error)) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no class in common but this
            raise NotRunError(f"onnxruntime cannot run the model: {error}") from error
        self.inputs = [given.name for given in self._session.get_inputs()]
        self.outputs = [made.name for made in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name. Raises :class:`NotRunError` where onnxruntime cannot run it."""
        try:
            return dict(zip(self.outputs, self._session.run(self.outputs, dict(inputs))))
        except Exception as error:
            raise NotRunError(f"onnxruntime cannot run the model: {error}") from error


def compare_on_random_inputs(net: Any, model: Any, seed: int = 0) -> float:
    """How far onnxruntime is from Caffe on normally distributed inputs.

    The largest ``|onnx - caffe|`` of each output over its largest ``|caffe|``, and of these
    the largest. The batch is another one than the net's own where the model's may be any.
    Raises :class:`ToolError` where shapes differ.
    """
    random = np.random.RandomState(seed)
    inputs = {}
    before = {given.name: tuple(net.blobs[given.name].data.shape) for given in model.graph.input}
    own = {shape[0] for shape in before.values() if shape}
    batch = next(batch for batch in _BATCHES if own != {batch})
    for given in model.graph.input:
        dims = given.type.tensor_type.shape.dim
        shape = [dim.dim_value if dim.HasField("dim_value") else batch for dim in dims]
        inputs[given.name] = random.normal(size=shape).astype(np.float32)
    resize(net, {name: values.shape for name, values in inputs.items()})
    expected = {name: np.array(blob) for name, blob in net.forward(**inputs).items()}
    found = Session(model).run(inputs)
    resize(net, before)
    # Not by Python's max(), in which a NaN may go under.
    return float(np.max([_apart(name, found[name], blob) for name, blob in expected.items()]))


def require_alike(net: Any, model: Any) -> float:
    """:func:`compare_on_random_inputs`, which must not be above ``TOLERANCE``.

    Raises :class:`ToolError` where it is, or where onnxruntime cannot run the model.
    """
    try:
        apart = compare_on_random_inputs(net, model)
    except NotRunError as error:
        raise ToolError(str(error)) from error
    if not apart <= TOLERANCE:
        raise ToolError(
            f"on random inputs onnxruntime is {apart:.3g} of the largest output from Caffe, more "
            f"than {TOLERANCE:g}; no model is written"
        )
    return apart


def _apart(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        raise ToolError(
            f"output {name!r}: Caffe gives the shape {expected.shape}, onnxruntime {found.shape}; "
            "the export is wrong, please report it"
        )
    largest = float(np.abs(expected).max(initial=0))
    return float(np.abs(found - expected).max(initial=0)) / (largest or 1.0)
