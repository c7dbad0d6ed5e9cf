"""caffe.draw on both builds, on a stand-in for pydot that writes down what it is asked for."""

import pathlib
import sys
import types

from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2

ONLY_OURS = {
    "test_without_pydot": "BVLC's module cannot be imported then",
    "test_without_graphviz": "BVLC passes the operating system's error on",
}

NET = """
name: "net"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 7 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
  convolution_param { num_output: 6 } param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" param { lr_mult: 1 }
  param { lr_mult: 2.5 } inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }
"""


class Node:
    def __init__(self, label, **style):
        self.label, self.style = label, style


class Edge:
    def __init__(self, source, target, label):
        self.words = (source.label, target.label, label)


class Dot:
    def __init__(self, name, graph_type, rankdir):
        self.words = (name, graph_type, rankdir)
        self.nodes, self.edges = [], []

    def add_node(self, node):
        self.nodes.append(node)

    def add_edge(self, edge):
        self.edges.append(edge)

    def create(self, format):
        return ("%s %d" % (format, len(self.nodes))).encode()


def draw():
    """The module, with the stand-in."""
    sys.modules["pydotplus"] = types.ModuleType("pydotplus")
    vars(sys.modules["pydotplus"]).update(Dot=Dot, Node=Node, Edge=Edge)
    import caffe.draw

    return caffe.draw


def net(text=NET):
    return text_format.Merge(text, caffe_pb2.NetParameter())


def layer(name):
    return next(layer for layer in net().layer if layer.name == name)


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


def refusal(function, *arguments):
    try:
        function(*arguments)
    except caffe.CaffeError as error:
        return str(error)
    return ""


def test_styles():
    assert draw().LAYER_STYLE_DEFAULT["shape"] == "record"
    assert draw().LAYER_STYLE_DEFAULT["fillcolor"] == "#6495ED"
    assert draw().NEURON_LAYER_STYLE["fillcolor"] == "#90EE90"
    assert draw().BLOB_STYLE == {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}


def test_pooling_types():
    assert draw().get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}


def test_edge_labels():
    labels = {each.name: draw().get_edge_label(each) for each in net().layer}
    assert labels["data"] == "Batch 7"
    assert (labels["conv"], labels["up"], labels["ip"]) == ("4", "6", "10")
    assert labels["pool"] == labels["relu"] == '""'


def test_rates():
    get = draw().get_layer_lr_mult
    assert get(layer("conv")) == (2, 1)
    assert get(layer("up")) == (0, 0)
    assert get(layer("ip")) == (1, 2.5)
    assert get(caffe_pb2.LayerParameter(type="Convolution")) == (1, 1)
    assert raises(ValueError, get, layer("pool"))
    three = caffe_pb2.LayerParameter(type="Convolution", param=[{}, {}, {}])
    assert raises(ValueError, get, three)


def test_labels_of_layers():
    get = draw().get_layer_label
    assert get(layer("relu"), "LR") == '"relu\\n(ReLU)"'
    assert get(layer("relu"), "TB") == get(layer("relu"), "BT") == '"relu (ReLU)"'
    assert get(layer("pool"), "TB") == '"pool (Pooling AVE) kernel size: 3 stride: 2 pad: 0"'
    assert (
        get(layer("conv"), "LR") == '"conv\\n(Convolution)\\nkernel size: 5\\nstride: 2\\npad: 1"'
    )
    assert get(layer("up"), "TB") == '"up (Deconvolution) kernel size: 1 stride: 1 pad: 0"'


def test_labels_with_rates():
    get = draw().get_layer_label
    assert get(layer("ip"), "TB", True) == '"ip (InnerProduct) lr mult: 1.0, 2.5"'
    assert get(layer("ip"), "TB", display_lrm=False) == '"ip (InnerProduct)"'
    assert "lr mult" not in get(layer("up"), "TB", display_lrm=True)  # both are 0
    assert "lr mult" not in get(layer("pool"), "TB", display_lrm=True)


def test_colors():
    get = draw().choose_color_by_layertype
    assert get("Convolution") == get("Deconvolution") == "#FF5050"
    assert (get("Pooling"), get("InnerProduct")) == ("#FF9900", "#CC33FF")
    assert get("Softmax") == "#6495ED"


def test_graph():
    graph = draw().get_pydot_graph(net(), "LR")
    assert graph.words == ("net", "digraph", "LR")
    styles = {node.label: node.style for node in graph.nodes}
    assert list(styles) == [
        '"data\\n(Data)"',
        "data",
        "label",
        '"conv\\n(Convolution)\\nkernel size: 5\\nstride: 2\\npad: 1"',
        "conv",
        '"relu\\n(ReLU)"',
        '"pool\\n(Pooling AVE)\\nkernel size: 3\\nstride: 2\\npad: 0"',
        "pool",
        '"up\\n(Deconvolution)\\nkernel size: 1\\nstride: 1\\npad: 0"',
        "up",
        '"ip\\n(InnerProduct)"',
        "ip",
        '"loss\\n(SoftmaxWithLoss)"',
        "loss",
        '"prob\\n(Softmax)"',
        "prob",
    ]
    assert styles["data"] == styles["label"] == draw().BLOB_STYLE
    assert styles["loss"] == styles["prob"] == {}  # nobody's bottom
    assert styles['"relu\\n(ReLU)"'] == draw().NEURON_LAYER_STYLE
    assert styles['"ip\\n(InnerProduct)"']["fillcolor"] == "#CC33FF"
    assert [edge.words for edge in graph.edges[:6]] == [
        ('"data\\n(Data)"', "data", "Batch 7"),
        ('"data\\n(Data)"', "label", "Batch 7"),
        ("data", '"conv\\n(Convolution)\\nkernel size: 5\\nstride: 2\\npad: 1"', '""'),
        ('"conv\\n(Convolution)\\nkernel size: 5\\nstride: 2\\npad: 1"', "conv", "4"),
        ("conv", '"relu\\n(ReLU)"', '""'),
        ('"relu\\n(ReLU)"', "conv", '""'),
    ]


def test_graph_without_labels_or_name():
    graph = draw().get_pydot_graph(caffe_pb2.NetParameter(layer=net().layer), "TB", False)
    assert graph.words == ("Net", "digraph", "TB")
    assert {edge.words[2] for edge in graph.edges} == {'""'}


def names(graph):
    return {node.label.strip('"').split(" ")[0] for node in graph.nodes}


def test_graph_of_a_phase():
    every = names(draw().get_pydot_graph(net(), "TB"))
    train = names(draw().get_pydot_graph(net(), "TB", phase=caffe.TRAIN))
    test = names(draw().get_pydot_graph(net(), "TB", phase=caffe.TEST))
    assert every - train == {"prob"}
    assert every - test == {"loss"}


def test_graph_with_exclude():
    drop = 'layer { name: "drop" type: "Dropout" bottom: "a" top: "a" exclude { phase: TEST } }'
    # BVLC lets such a layer be in both phases: it takes a layer without include for one
    # that is in, and then asks the exclude rules.
    assert "drop" in names(draw().get_pydot_graph(net(drop), "TB", phase=caffe.TRAIN))
    assert "drop" not in names(draw().get_pydot_graph(net(drop), "TB", phase=caffe.TEST))
    both = drop.replace("exclude", "include { phase: TEST } exclude")
    assert raises(ValueError, draw().get_pydot_graph, net(both), "TB", True, caffe.TEST)


def test_graph_with_rates():
    graph = draw().get_pydot_graph(net(), "TB", display_lrm=True)
    assert '"ip (InnerProduct) lr mult: 1.0, 2.5"' in {node.label for node in graph.nodes}


def test_drawing_changes_no_style():
    before = dict(draw().BLOB_STYLE), dict(draw().NEURON_LAYER_STYLE)
    draw().get_pydot_graph(net(), "TB")
    assert before == (draw().BLOB_STYLE, draw().NEURON_LAYER_STYLE)


def test_draw_net():
    assert draw().draw_net(net(), "LR") == b"png 16"
    assert draw().draw_net(net(), "LR", "svg") == b"svg 16"
    assert draw().draw_net(net(), "LR", ext="raw", phase=caffe.TEST) == b"raw 14"


def test_draw_net_to_file():
    draw().draw_net_to_file(net(), "a.b.svg", "TB", caffe.TRAIN)
    assert pathlib.Path("a.b.svg").read_bytes() == b"svg 14"
    draw().draw_net_to_file(net(), "net.png")
    assert pathlib.Path("net.png").read_bytes() == b"png 16"


def test_without_pydot():
    module = draw()
    sys.modules["pydotplus"] = sys.modules["pydot"] = None
    try:
        assert "pip install pydot" in refusal(module.get_pydot_graph, net(), "TB")
    finally:
        del sys.modules["pydotplus"], sys.modules["pydot"]


def test_without_graphviz():
    module = draw()

    class Without(Dot):
        def create(self, format):
            raise FileNotFoundError("dot")

    sys.modules["pydotplus"].Dot = Without
    assert "Graphviz's program dot" in refusal(module.draw_net_to_file, net(), "net.png")
    assert not pathlib.Path("net.png").exists()
