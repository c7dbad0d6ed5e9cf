"""Reading and writing prototxt files, and the questions to a net's graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError


def net_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def layer_of(text: str) -> Any:
    return text_format.Parse(text, caffe_pb2.LayerParameter())


# --- reading and writing --------------------------------------------------------------

SOLVER = (
    "base_lr: 0.0005\ngamma: 0.00390625\nmomentum: 0.9\nweight_decay: 1e-07\n"
    'snapshot_prefix: "모델/lenet"\nsolver_mode: CPU\nclip_gradients: 16777216.0\n'
)


def test_written_text_is_short_and_reads_back_equal(tmp_path: Path) -> None:
    (tmp_path / "in.prototxt").write_text(SOLVER, encoding="utf-8")
    solver = prototxt.read_solver(tmp_path / "in.prototxt")
    prototxt.write(tmp_path / "out.prototxt", solver)
    assert (tmp_path / "out.prototxt").read_text(encoding="utf-8") == SOLVER
    assert prototxt.read_solver(tmp_path / "out.prototxt") == solver


@pytest.mark.oracle
def test_bvlcs_protobuf_writes_the_same_bytes(bvlc: bvlc_build.Build) -> None:
    script = (
        "from pathlib import Path\nfrom caffetools import prototxt\n"
        "prototxt.write(Path('out'), prototxt.read_solver(Path('in')))\n"
    )
    result = bvlc.python(script, files={"in": SOLVER}, fetch=["out"], caffetools=True)
    assert result.files["out"].decode() == SOLVER


def test_comments_and_a_byte_order_mark_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('# 층\nname: "n"  # the name\n', encoding="utf-8-sig")
    assert prototxt.read_net(path).name == "n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            b'layer {\n  nmae: "x"\n}',
            ":2:3: LayerParameter has no field 'nmae'; did you mean 'name'",
        ),
        (b'layer {\n  name: "x"\n', ':2:9: Expected "}".'),
        (b"layer { name: 3 }", ":1:15: Expected string but found: '3'"),
        (b"layer { include { phase: TARIN } }", "Phase has no value TARIN: expected one of TRAIN"),
        (
            b"layer { pooling_param { pool: MAXX } }",
            "PoolingParameter.PoolMethod has no value MAXX: expected one of MAX, AVE",
        ),
        (b'name: "a"\nname: "b"', ':2:7: Message type "caffe.NetParameter" should not have'),
        (b"# fine\n\x80\x02c", ":2: byte 0x80 is not UTF-8"),
    ],
)
def test_what_does_not_parse_is_named_with_its_place(
    text: bytes, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(text)
    with pytest.raises(ToolError) as error:
        prototxt.read_net(path)
    assert str(error.value).startswith(f"{path}:")
    assert complaint in str(error.value)


# --- phases ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "train", "test", "test_with_stage"),
    [
        ("", True, True, True),
        ("include { phase: TRAIN }", True, False, False),
        ("include { phase: TRAIN } include { phase: TEST }", True, True, True),
        ("exclude { phase: TRAIN }", False, True, True),
        ('include { phase: TEST stage: "s" }', False, False, True),
        ('include { phase: TEST not_stage: "s" }', False, True, False),
        ("include { min_level: 1 }", False, False, False),
        ("include { max_level: 0 }", True, True, True),
        ('exclude { phase: TEST stage: "s" }', True, True, False),
    ],
)
def test_rules_of_phase_stage_and_level(
    rules: str, train: bool, test: bool, test_with_stage: bool
) -> None:
    layer = layer_of(rules)
    assert prototxt.in_phase(layer, prototxt.TRAIN) is train
    assert prototxt.in_phase(layer, prototxt.TEST) is test
    assert prototxt.in_phase(layer, prototxt.TEST, ["s"]) is test_with_stage


def test_include_beside_exclude_is_refused_as_in_caffe() -> None:
    layer = layer_of('name: "x" include { phase: TRAIN } exclude { phase: TEST }')
    with pytest.raises(ToolError, match="'x' has include and exclude rules"):
        prototxt.in_phase(layer, prototxt.TRAIN)


# --- layers and blobs -----------------------------------------------------------------

FORK = """
layer { name: "data" type: "Data" top: "data" top: "label" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "side" type: "InnerProduct" bottom: "conv" top: "side" }
layer { name: "aux" type: "InnerProduct" bottom: "conv" top: "aux" }
layer { name: "main" type: "Convolution" bottom: "conv" top: "main" }
layer { name: "drop" type: "Dropout" bottom: "main" top: "main" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "main" bottom: "label" top: "loss" }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" loss_weight: 0 }
layer { name: "accuracy" type: "Accuracy" bottom: "main" bottom: "label"
        include { phase: TEST } }
"""


def names(layers: Any) -> list[str]:
    return [layer.name for layer in layers]


def test_who_makes_and_who_reads_a_blob() -> None:
    net = net_of(FORK)
    assert names(prototxt.producers(net.layer, "conv")) == ["conv", "relu"]
    assert names(prototxt.consumers(net.layer, "main")) == ["drop", "loss", "accuracy"]
    train = prototxt.phase_view(net, prototxt.TRAIN)
    assert names(prototxt.consumers(train, "main")) == ["drop", "loss"]
    assert names(prototxt.downstream(net.layer, 5)) == ["drop", "loss", "accuracy"]
    assert prototxt.blob_names(net) == [
        *["data", "label", "conv", "side", "aux", "main", "loss"],
    ]


def test_heads_lead_to_a_loss_with_nothing_learnable_between() -> None:
    net = net_of(FORK)
    assert prototxt.heads(net) == ["main"]
    reasons = {name: prototxt.why_not_head(net, name) or "" for name in names(net.layer)}
    assert reasons["conv"] == "layers that learn depend on it: side, aux, main"
    assert reasons["side"] == "it leads to no loss"
    assert reasons["aux"] == "it leads to no loss"  # its loss has weight 0
    assert reasons["relu"] == "it is of type ReLU, expected Convolution or InnerProduct"
    assert reasons["accuracy"] == "it is of type Accuracy, expected Convolution or InnerProduct"
    net.layer[5].include.add(phase=prototxt.TEST)
    assert prototxt.why_not_head(net, "main") == "it has no part in the TRAIN phase"
    assert prototxt.why_not_head(net, "fc9") == "the net has no such layer"


def test_head_reaches_its_loss_through_other_blobs() -> None:
    chain = FORK.replace('bottom: "main" bottom', 'bottom: "scaled" bottom')
    power = 'layer { name: "power" type: "Power" bottom: "main" top: "scaled" }'
    loss = 'layer { name: "loss"'
    assert prototxt.heads(net_of(chain)) == []
    assert prototxt.heads(net_of(chain.replace(loss, power + loss))) == ["main"]


def test_layers_of_one_name_are_all_found_and_a_missing_one_is_suggested() -> None:
    net = net_of('layer { name: "data" top: "a" } layer { name: "data" top: "b" }')
    assert [layer.top[0] for layer in prototxt.layers_named(net, "data")] == ["a", "b"]
    with pytest.raises(ToolError, match=r"no layer 'dta'; did you mean 'data'\? Its layers: data$"):
        prototxt.layers_named(net, "dta")


# As BVLC's layers allocate them; the oracle test below asks it for the same.
LEARNABLE = {
    'type: "InnerProduct" bottom: "x" inner_product_param { num_output: 2 }': 2,
    'type: "InnerProduct" bottom: "x" inner_product_param { num_output: 2 bias_term: false }': 1,
    'type: "Convolution" bottom: "x" convolution_param { num_output: 2 kernel_size: 1 }': 2,
    'type: "Deconvolution" bottom: "x" convolution_param '
    "{ num_output: 2 kernel_size: 1 bias_term: false }": 1,
    'type: "Embed" bottom: "x" embed_param { num_output: 2 input_dim: 3 }': 2,
    'type: "BatchNorm" bottom: "x"': 3,
    'type: "Scale" bottom: "x"': 1,
    'type: "Scale" bottom: "x" scale_param { bias_term: true }': 2,
    'type: "Scale" bottom: "x" bottom: "c" scale_param { bias_term: true }': 1,
    'type: "Scale" bottom: "x" bottom: "c"': 0,
    'type: "Bias" bottom: "x"': 1,
    'type: "Bias" bottom: "x" bottom: "c"': 0,
    'type: "PReLU" bottom: "x"': 1,
    'type: "LSTM" bottom: "x" bottom: "cont" recurrent_param { num_output: 2 }': 3,
    'type: "LSTM" bottom: "x" bottom: "cont" bottom: "s" recurrent_param { num_output: 2 }': 4,
    'type: "RNN" bottom: "x" bottom: "cont" recurrent_param { num_output: 2 }': 5,
    'type: "RNN" bottom: "x" bottom: "cont" bottom: "s" recurrent_param { num_output: 2 }': 6,
    'type: "RNN" bottom: "x" bottom: "cont" bottom: "h" top: "o" '
    "recurrent_param { num_output: 2 expose_hidden: true }": 5,
    'type: "Parameter" parameter_param { shape { dim: 2 } }': 1,
    'type: "Pooling" bottom: "x" pooling_param { kernel_size: 1 }': 0,
}
INPUTS = """
layer { name: "in" type: "Input" top: "x" top: "c" top: "cont" top: "s" top: "h" input_param {
  shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 3 } shape { dim: 2 dim: 3 }
  shape { dim: 3 dim: 5 } shape { dim: 1 dim: 3 dim: 2 } } }
"""


@pytest.mark.parametrize(("text", "count"), LEARNABLE.items())
def test_how_many_blobs_a_layer_learns(text: str, count: int) -> None:
    assert prototxt.learnable_blobs(layer_of(text)) == count


@pytest.mark.oracle
def test_bvlcs_layers_learn_as_many(bvlc: bvlc_build.Build) -> None:
    script = (
        "import glob, json, sys, caffe\n"
        "nets = [caffe.Net(name, caffe.TEST) for name in sorted(glob.glob('*.prototxt'))]\n"
        "json.dump([len(net.params['l']) if 'l' in net.params else 0 for net in nets], sys.stdout)"
    )
    nets = {
        f"{place:02}.prototxt": f'{INPUTS} layer {{ name: "l" top: "t" {text} }}'
        for place, text in enumerate(LEARNABLE)
    }
    assert bvlc.python(script, files=nets).json() == list(LEARNABLE.values())
