"""caffe.draw: nets drawn as graphs, by Graphviz.

Labels and colours need nothing; graphs need the package pydot, and pictures of them the program
``dot`` of Graphviz as well.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from caffe.proto import caffe_pb2
from recaffe.errors import CaffeError

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLORS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
_NO_LABEL = '""'


# --- labels ---------------------------------------------------------------------------


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the ways to pool by their numbers."""
    return {number: name for name, number in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_edge_label(layer: Any) -> str:
    """What is written at the edge from a layer to its tops: how much it makes, if it says so."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return _NO_LABEL


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """The multipliers of the learning rate for the weights and the bias of a layer."""
    if layer.type not in _LEARNING:
        raise ValueError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise ValueError(f"layer '{layer.name}' has {len(layer.param)} param, expected at most 2")
    weights, bias = ([spec.lr_mult for spec in layer.param] + [1.0, 1.0])[:2]
    return weights, bias


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """What is written in a layer's node.

    Args:
        layer: a LayerParameter.
        rankdir: the direction of the graph, "LR", "TB" or "BT".
        display_lrm: whether with the multipliers of the learning rate.
    """
    # Where the graph goes down or up, there is room beside; else below.
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    kind = layer.type
    if kind == "Pooling":
        kind += f" {get_pooling_types_dict()[layer.pooling_param.pool]}"
    parts = [layer.name, f"({kind})"]
    if window := _window(layer):
        names = ("kernel size", "stride", "pad")
        parts += [f"{name}: {size}" for name, size in zip(names, window, strict=True)]
    if display_lrm and layer.type in _LEARNING and any(get_layer_lr_mult(layer)):
        parts.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    return f'"{separator.join(parts)}"'


def _window(layer: Any) -> tuple[int, int, int] | None:
    """Kernel, stride and padding of a layer with a window, in its first axis."""
    if layer.type == "Pooling":
        pooling = layer.pooling_param
        return pooling.kernel_size, pooling.stride, pooling.pad
    if layer.type in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        kernel, stride, pad = param.kernel_size, param.stride, param.pad
        return [*kernel, 1][0], [*stride, 1][0], [*pad, 0][0]
    return None


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer's node."""
    return _COLORS.get(layertype, "#6495ED")


# --- graphs ---------------------------------------------------------------------------


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """A NetParameter as a graph of pydot.

    Args:
        caffe_net: the NetParameter.
        rankdir: the direction of the graph, "LR", "TB" or "BT".
        label_edges: whether to write at edges how much a layer makes.
        phase: the phase whose layers to draw; ``None`` draws all.
        display_lrm: whether to write the multipliers of the learning rate.

    Raises:
        CaffeError: pydot is not installed.
    """
    pydot = _pydot()
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str, str]] = []
    for layer in caffe_net.layer:
        if phase is not None and not _is_in_phase(layer, phase):
            continue
        in_place = len(layer.top) == 1 and list(layer.top) == list(layer.bottom)
        color = choose_color_by_layertype(layer.type)
        style = NEURON_LAYER_STYLE if in_place else {**LAYER_STYLE_DEFAULT, "fillcolor": color}
        layer_node = f"{layer.name}_{layer.type}"
        nodes[layer_node] = pydot.Node(get_layer_label(layer, rankdir, display_lrm), **style)
        for bottom in layer.bottom:
            nodes[f"{bottom}_blob"] = pydot.Node(bottom, **BLOB_STYLE)
            edges.append((f"{bottom}_blob", layer_node, _NO_LABEL))
        for top in layer.top:
            nodes[f"{top}_blob"] = pydot.Node(top)
            label = get_edge_label(layer) if label_edges else _NO_LABEL
            edges.append((layer_node, f"{top}_blob", label))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(nodes[source], nodes[target], label=label))
    return graph


def _is_in_phase(layer: Any, phase: int) -> bool:
    if layer.include and layer.exclude:
        raise ValueError(f"layer '{layer.name}' has both include and exclude specified")
    if layer.include:
        return any(rule.phase == phase for rule in layer.include)
    return all(rule.phase != phase for rule in layer.exclude)


def _pydot() -> ModuleType:
    """pydotplus if there is one, as in pycaffe, else pydot."""
    try:
        import pydotplus
    except ImportError:
        pass
    else:
        return pydotplus
    try:
        import pydot
    except ImportError:
        raise CaffeError(
            "drawing nets needs the package pydot, and Graphviz: `pip install pydot` and, on "
            "Debian, `apt-get install graphviz`"
        ) from None
    return pydot


def draw_net(
    caffe_net: Any,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """A picture of a NetParameter, as the bytes of a file.

    Args:
        caffe_net, rankdir, phase, display_lrm: see :func:`get_pydot_graph`.
        ext: what kind of file: "png", "svg", "pdf" ... or "raw", Graphviz's own text.

    Raises:
        CaffeError: pydot or Graphviz is not installed, or cannot draw such a file.
    """
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    try:
        return graph.create(format=ext)
    except FileNotFoundError:
        raise CaffeError(
            "drawing nets needs Graphviz's program dot; on Debian, `apt-get install graphviz`"
        ) from None
    except AssertionError as error:  # pydot's, for whatever dot says
        raise CaffeError(f"Graphviz cannot draw this as '{ext}': {error}") from None


def draw_net_to_file(
    caffe_net: Any,
    filename: str | Path,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write a picture of a NetParameter, of the kind that the file's name ends with.

    Raises:
        CaffeError: pydot or Graphviz is not installed.
    """
    picture = draw_net(caffe_net, rankdir, str(filename).rpartition(".")[2], phase, display_lrm)
    Path(filename).write_bytes(picture)
