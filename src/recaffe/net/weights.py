"""Weights of a net: copied from a file, shared with another net, saved.

Source: ``CopyTrainedLayersFrom``, ``ShareTrainedLayersWith`` and ``ToProto`` in ``net.cpp``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from recaffe.blob import Blob
from recaffe.errors import FormatError, NetError, ShapeMismatchError
from recaffe.log import tell
from recaffe.net.load_report import LoadReport
from recaffe.net.net import Net
from recaffe.proto import hdf5
from recaffe.proto.arrays import shape_fits
from recaffe.proto.weights import LayerWeights, read_weights, write_weights

logger = logging.getLogger(__name__)

Paths = str | Path | Sequence[str | Path]


def load_weights(net: Net, paths: Paths, heads: Collection[str] | None = None) -> LoadReport:
    """Copy the weights of a ``.caffemodel``, HDF5 or not, into the layers of the same names.

    Layers that only one side has are left alone. What was done is logged as a table; nothing
    is copied if anything is raised.

    Args:
        net: the net to fill.
        paths: one file, or several of which the later ones count where they agree on a name.
        heads: the layers that are to be newly initialised, and no others; ``None`` does not
            mind.

    Returns:
        What was copied and what was not.

    Raises:
        FormatError: a file is absent, cut short, or no caffemodel.
        ShapeMismatchError: a layer of the same name with other blobs.
        NetError: layers other than ``heads`` would be newly initialised.
    """
    files = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    sources = (
        (path, _read_hdf5(net, path) if hdf5.is_hdf5(path) else read_weights(path))
        for path in files
    )
    return _copy(net, sources, LoadReport(files), heads)


def copy_weights(net: Net, other: Net, heads: Collection[str] | None = None) -> LoadReport:
    """Copy the weights of another net, as :func:`load_weights` does those of a file."""
    origin = f"net '{other.name}'"
    layers = [
        LayerWeights(layer.name, layer.type, [blob.data for blob in layer.blobs])
        for layer in other.layers
    ]
    return _copy(net, [(origin, layers)], LoadReport([origin]), heads)


def _copy(
    net: Net,
    sources: Iterable[tuple[str, list[LayerWeights]]],
    report: LoadReport,
    heads: Collection[str] | None,
) -> LoadReport:
    chosen: list[LayerWeights] = []
    for origin, source in sources:
        chosen += _choose(net, source, origin, report)
    _sort_the_others(net, report)
    if report.mismatched:
        reasons = "\n".join(report.reasons.values())
        raise ShapeMismatchError(f"{reasons}\n{report}")
    if heads is not None:
        _check_heads(net, report, set(heads))
    for layer in chosen:
        for array, blob in zip(layer.blobs, _blobs(net, layer.name), strict=True):
            _fill(blob, array)
    logger.info("%s", report)
    return report


def _choose(
    net: Net, source: list[LayerWeights], path: str, report: LoadReport
) -> Iterator[LayerWeights]:
    """The layers of a file to copy; what becomes of each of its layers goes to the report."""
    for layer in source:
        shapes = _shapes(layer.blobs)
        if layer.name not in net.layer_names:
            tell("Ignoring source layer %s", layer.name)
            if shapes or layer.problem:
                report.ignored[layer.name] = shapes
            continue
        if layer.problem:
            raise FormatError(f"{path}: layer '{layer.name}', {layer.problem}")
        expected = _shapes(_blobs(net, layer.name))
        if reason := _mismatch(layer, expected):
            report.mismatched[layer.name] = shapes
            report.expected[layer.name] = expected
            report.reasons[layer.name] = f"{path}: {reason}"
        elif shapes:
            report.copied[layer.name] = expected
            yield layer


def _sort_the_others(net: Net, report: LoadReport) -> None:
    """Layers that no file names are new, unless all that they have is shared with copied ones."""
    copied = {id(blob.owner) for name in report.copied for blob in _blobs(net, name)}
    for name, blobs in net.params.items():
        if name not in report.copied and name not in report.mismatched:
            is_new = any(id(blob.owner) not in copied for blob in blobs)
            (report.fresh if is_new else report.copied)[name] = _shapes(blobs)


def _check_heads(net: Net, report: LoadReport, heads: set[str]) -> None:
    if unknown := heads.difference(net.params):
        raise NetError(
            f"{_listed(unknown)} to be newly initialised: the net has no such layer with "
            f"parameters; it has {', '.join(net.params)}"
        )
    wrong = []
    if more := set(report.fresh) - heads:
        wrong.append(f"{_listed(more)} would be newly initialised, too")
    if fewer := heads.difference(report.fresh):
        wrong.append(f"{_listed(fewer)} would be copied from the file; rename it in the net")
    if wrong:
        raise NetError(
            f"expected {_listed(heads) or 'no layer'} to be newly initialised and no others, "
            f"but {', and '.join(wrong)}\n{report}"
        )


def _listed(names: set[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


def _fill(blob: Blob, array: np.ndarray) -> None:
    """Let ``array``, of the same count, be the blob's data."""
    # The file's own bytes as they are, which need not lie where floats may.
    values = np.empty(blob.shape, np.float32)
    if array.dtype == values.dtype and array.flags.c_contiguous:
        values.reshape(-1).view(np.uint8)[...] = array.reshape(-1).view(np.uint8)
    else:
        values[...] = array.reshape(blob.shape)
    blob.set_data(torch.from_numpy(values).to(blob.device))


def _read_hdf5(net: Net, path: str | Path) -> list[LayerWeights]:
    """Its layers; where it leaves a shared blob to the owner, the net's own stands for it."""
    owned, wanted = set(net.param_places), set(net.layer_names)
    layers = []
    for layer in hdf5.read_weights(path, wanted):
        blobs = dict(layer.blobs)
        for index, blob in enumerate(net.params.get(layer.name, [])):
            if (layer.name, index) not in owned:
                blobs.setdefault(index, blob.data)
        if layer.name in wanted and sorted(blobs) != list(range(len(blobs))):
            raise ShapeMismatchError(
                f"{path}: layer '{layer.name}' holds the blobs {sorted(layer.blobs)}, and "
                "the net's layer of that name shares no other"
            )
        arrays = [blobs[index] for index in sorted(blobs)]
        layers.append(LayerWeights(layer.name, "", arrays, problem=layer.problem))
    return layers


def _blobs(net: Net, layer_name: str) -> list[Blob]:
    return net.layers[net.layer_names.index(layer_name)].blobs


def _shapes(blobs: Sequence[Blob | np.ndarray]) -> list[tuple[int, ...]]:
    return [tuple(blob.shape) for blob in blobs]


def _mismatch(source: LayerWeights, expected: Sequence[tuple[int, ...]]) -> str:
    """Why a layer of a file does not fit one of these shapes; empty if it does."""
    if len(source.blobs) != len(expected):
        return (
            f"layer '{source.name}' holds {len(source.blobs)} blob(s), the net's layer of that "
            f"name has {len(expected)}; rename the net's layer to learn it afresh"
        )
    forms = source.legacy or [False] * len(expected)
    for index, (array, legacy, shape) in enumerate(zip(source.blobs, forms, expected, strict=True)):
        if not shape_fits(array.shape, legacy, shape):
            return (
                f"layer '{source.name}', blob {index}: the file holds the shape "
                f"{list(array.shape)}, the net's layer has {list(shape)}; rename the net's "
                "layer to learn it afresh, or give it the file's num_output and kernel"
            )
    return ""


def share_weights(net: Net, other: Net) -> None:
    """Let the parameters of ``net`` be those of ``other``'s layers of the same names.

    Both nets then have one array of values, but each has gradients of its own.

    Raises:
        ShapeMismatchError: a layer of the same name with other blobs.
    """
    for layer in net.layers:
        theirs = other.params.get(layer.name)
        if theirs is None:
            continue
        shapes, their_shapes = ([list(blob.shape) for blob in b] for b in (layer.blobs, theirs))
        if shapes != their_shapes:
            raise ShapeMismatchError(
                f"layer '{layer.name}': its parameters have the shapes {shapes}, those of the "
                f"net to share with {their_shapes}"
            )
        for blob, their_blob in zip(layer.blobs, theirs, strict=True):
            blob.share_data(their_blob)


def save_weights(net: Net, path: str | Path, with_diff: bool = False) -> None:
    """Write the layers of ``net`` and their weights; as HDF5 if ``path`` ends in ``.h5``."""
    if Path(path).suffix == ".h5":
        save_hdf5(net, path, with_diff)
        return
    write_weights(
        path,
        net.name,
        (
            (layer.param, [(blob.data, blob.diff if with_diff else None) for blob in layer.blobs])
            for layer in net.layers
        ),
    )


def save_hdf5(net: Net, path: str | Path, with_diff: bool = False) -> None:
    """Write the weights as HDF5; what layers share, once."""
    hdf5.write_weights(path, _sparse_blobs(net, with_diff))


def _sparse_blobs(
    net: Net, with_diff: bool
) -> list[tuple[str, list[tuple[np.ndarray | None, np.ndarray | None]]]]:
    owned = set(net.param_places)
    return [
        (
            layer.name,
            [
                (
                    blob.data if (layer.name, index) in owned else None,
                    blob.diff if with_diff else None,
                )
                for index, blob in enumerate(layer.blobs)
            ],
        )
        for layer in net.layers
    ]
