"""Write a deploy net and its weights as an ONNX model.

The graph takes what the net takes, after mean, scale and crop: these are not in it. Its opset is
the newest that the packages here have; its first axis follows the batch wherever Caffe's own
shapes do. Tensors are named after the blobs; a layer that works in place gives its blob a second
name, ``blob~layer``, and the last one has the blob's own. What ``--metadata`` says, such as the
labels and the preprocessing, goes into the model's ``metadata_props``.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import prototxt, scoring
from caffetools.cli import ToolError, run
from caffetools.files import whole_file
from caffetools.onnx_export import (  # noqa: F401  each registers its layers
    convolution,
    neurons,
    normalisation,
    pooling,
    products,
    structure,
)
from caffetools.onnx_export.graph import (
    OPSET,
    FollowsBatchError,
    Graph,
    Layer,
    NotExportedError,
    Shape,
    exporting,
)

os.environ.setdefault("GLOG_minloglevel", "1")
import caffe

LOG = logging.getLogger("caffetools.onnx_export")

# On BVLC's build, which has no exceptions of its own, what is wrong ends the process.
_CaffeError = getattr(caffe, "CaffeError", RuntimeError)
_SOURCES = ("Input",)

_Sizes = Mapping[str, tuple[int, ...]]  # of a net's blobs


def export(net: Any, message: Any, metadata: Optional[Mapping[str, str]] = None) -> Any:
    """The ModelProto of a net in its TEST phase.

    Args:
        net: the ``caffe.Net`` with its weights.
        message: the NetParameter that it was made of.
        metadata: what to write into ``metadata_props``.

    Raises:
        NotExportedError: a layer has no form in ONNX, or one of its settings has none, or the
            package onnx is not installed or older than the opset.
    """
    onnx = _onnx()
    sizes = _sizes(net)
    larger = _sizes_of_a_larger_batch(net, sizes)
    try:
        graph = _graph(onnx, net, message, _following(sizes, larger))
    except FollowsBatchError as error:
        LOG.info("%s: so the model is for batches of the net's own size alone", error)
        larger = sizes
        graph = _graph(onnx, net, message, sizes)
    model = _model(onnx, net, message.name, graph, _told(net, sizes, larger))
    onnx.helper.set_model_props(model, dict(metadata or {}))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ToolError(
            f"net {message.name!r}: what its export made is no valid ONNX, which is a mistake of "
            f"the exporter; please report it ({error})"
        ) from error
    return model


def _graph(onnx: Any, net: Any, message: Any, shapes: Mapping[str, Shape]) -> Graph:
    graph = Graph()
    current = {name: name for name in net.inputs}
    layers = [
        layer for layer in prototxt.phase_view(message, prototxt.TEST) if layer.type not in _SOURCES
    ]
    writers = {blob: layer.name for layer in layers for blob in layer.top}
    for layer in layers:
        function = exporting(layer)
        seen = Layer(
            graph,
            layer,
            [current[blob] for blob in layer.bottom],
            [shapes[blob] for blob in layer.bottom],
            [shapes[blob] for blob in layer.top],
            [np.array(blob.data) for blob in net.params.get(layer.name, [])],
        )
        before = len(graph.nodes)
        made = function(seen)
        wanted = [
            blob if writers[blob] == layer.name else f"{blob}~{layer.name}" for blob in layer.top
        ]
        current.update(zip(layer.top, _renamed(graph.nodes[before:], made, wanted)))
    # A blob that is another one's tensor, as after Dropout, gets one of its own name.
    for blob in net.outputs:
        if current[blob] != blob:
            graph.nodes.append(
                onnx.helper.make_node("Identity", [current[blob]], [blob], name=blob)
            )
    return graph


def require(package: str) -> Any:
    """The package ``onnx`` or ``onnxruntime``; :class:`NotExportedError` where it is absent."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise NotExportedError(
            f"the package {package} is not installed ({error}); `pip install {package}`"
        ) from error


def _onnx() -> Any:
    onnx = require("onnx")
    newest = onnx.defs.onnx_opset_version()
    if newest < OPSET:
        raise NotExportedError(
            f"onnx {onnx.__version__} knows opsets up to {newest}, expected {OPSET}; "
            "`pip install --upgrade onnx`"
        )
    return onnx


def _sizes_of_a_larger_batch(net: Any, sizes: _Sizes) -> _Sizes:
    """Each blob's shape with one item more in all inputs; ``sizes`` where there is no such net."""
    given = {name: sizes[name] for name in net.inputs}
    if len(_batches(given)) != 1:  # which of them the batch would be is not told
        return sizes
    try:
        resize(
            net,
            {name: (shape[0] + 1, *shape[1:]) if shape else () for name, shape in given.items()},
        )
        return _sizes(net)
    except _CaffeError:  # such as of a Reshape that names the batch size
        return sizes
    finally:
        resize(net, given)


def _batches(given: _Sizes) -> set[int]:
    """The lengths of the inputs' first axes."""
    return {shape[0] for shape in given.values() if shape}


def _following(sizes: _Sizes, larger: _Sizes) -> dict[str, Shape]:
    """Each blob's shape, None for lengths that are others in a larger batch."""
    return {
        name: tuple(a if a == b else None for a, b in zip(shape, larger[name]))
        for name, shape in sizes.items()
    }


def _told(net: Any, sizes: _Sizes, larger: _Sizes) -> dict[str, Any]:
    """Each blob's shape as the model declares it.

    "N" is a length that is the batch in both sizes; what follows it in another way, such as a
    multiple of it, has no name that ONNX would understand, and is None.
    """
    batch, more = (_batches({name: each[name] for name in net.inputs}) for each in (sizes, larger))
    return {
        name: [
            length if length == other else "N" if ({length}, {other}) == (batch, more) else None
            for length, other in zip(shape, larger[name])
        ]
        for name, shape in sizes.items()
    }


def _sizes(net: Any) -> _Sizes:
    return {name: tuple(blob.data.shape) for name, blob in net.blobs.items()}


def resize(net: Any, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the net's inputs these shapes, and its other blobs those that follow."""
    for name, shape in shapes.items():
        if shape:  # pycaffe cannot reshape to no axes
            net.blobs[name].reshape(*shape)
    net.reshape()


def _renamed(nodes: Sequence[Any], made: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Give the tensors ``made`` the names ``wanted``, where ``nodes`` make them; the names."""
    own = {output for node in nodes for output in node.output}
    new = {old: name for old, name in zip(made, wanted) if old in own}
    for node in nodes:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    return [new.get(name, name) for name in made]


def _model(onnx: Any, net: Any, name: str, graph: Graph, shapes: Mapping[str, Any]) -> Any:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT

    def described(blobs: Sequence[str]) -> list[Any]:
        return [helper.make_tensor_value_info(blob, kind, shapes[blob]) for blob in blobs]

    made = helper.make_graph(
        graph.nodes,
        name or "net",
        described(net.inputs),
        described(net.outputs),
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        made,
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
        producer_name="recaffe",
    )


def write(model: Any, path: Path) -> None:
    """Write a ModelProto, whole or not at all, the same bytes for the same model."""
    with whole_file(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def _metadata(entries: Sequence[str]) -> dict[str, str]:
    for entry in entries:
        if "=" not in entry:
            raise ToolError(f"--metadata: expected NAME=TEXT, found {entry!r}")
    return dict(entry.split("=", 1) for entry in entries)


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.onnx_export.export --net FILE --weights FILE --output FILE``."""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.onnx_export.export", description=__doc__
    )
    parser.add_argument("--net", type=Path, required=True, help="deploy.prototxt")
    parser.add_argument("--weights", type=Path, required=True, help=".caffemodel")
    parser.add_argument("--metadata", nargs="+", action="extend", default=[], metavar="NAME=TEXT")
    parser.add_argument("--output", type=Path, required=True, help="the .onnx to write")
    options = parser.parse_args(arguments)
    from caffetools.onnx_export.check import require_alike

    for name in ("net", "weights"):
        if not getattr(options, name).is_file():
            raise ToolError(f"--{name}: expected a file {getattr(options, name)}, found none")
    message = prototxt.read_net(options.net)
    net = scoring.load(message, options.weights)
    model = export(net, message, _metadata(options.metadata))
    apart = require_alike(net, model)
    write(model, options.output)
    LOG.info(
        "%s: opset %d; at most %.2g of the largest output from Caffe's, on random inputs",
        options.output, OPSET, apart,
    )  # fmt: skip
    return None


if __name__ == "__main__":
    run(main)
