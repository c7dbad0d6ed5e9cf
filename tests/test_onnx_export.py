"""Nets as ONNX models, in onnxruntime, against our runtime: every layer and whole nets."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import deployed_nets
import numpy as np
import pytest
from google.protobuf import text_format
from layer_cases import CASES, Case

import caffe
from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.onnx_export import check, export, graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# What has no form in ONNX, with the reason that is given.
OUTSIDE = "lies wholly beyond the image"
AXES = "spatial axes; expected one to 3"
REFUSED = {
    "convolution 4-D": AXES,
    "convolution 5-D, group, dilation": AXES,
    "convolution axis -1": AXES,
    "convolution no spatial axes": AXES,
    "convolution no spatial axes, group": AXES,
    "deconvolution 4-D": AXES,
    "deconvolution no spatial axes": AXES,
    "pooling average, empty windows": OUTSIDE,
    "pooling empty windows": OUTSIDE,
}
# Caffe lets no NaN through and gives its lowest float for -inf; ONNX has no word on either.
UNLIKE = {
    "pooling not a number",
    "pooling nothing but -inf",
    "pooling partly not a number",
}
EXPORTED = [
    case
    for case in CASES
    if case.type in graph.exportable() and case.name not in UNLIKE and case.type != "Silence"
]


def made(folder: Path, text: str) -> tuple[caffe.Net, object]:
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), caffe.TEST), prototxt.read_net(path)


def of_case(case: Case, folder: Path) -> tuple[caffe.Net, object]:
    """The case as a net in TEST, with random parameters; variances are above zero."""
    net, message = made(folder, case.net(force_backward=False))
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    for index, blob in enumerate(net.params.get("it", [])):
        blob.data[...] = random.normal(size=blob.data.shape)
        if (case.type, index) in (("BatchNorm", 1), ("BatchNorm", 2), ("BN", 3)):
            blob.data[...] = np.abs(blob.data) + 0.1
    return net, message


@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
def test_onnxruntime_gives_what_caffe_gives(case: Case, tmp_path: Path) -> None:
    net, message = of_case(case, tmp_path)
    if case.name in REFUSED:
        with pytest.raises(ToolError, match=REFUSED[case.name]):
            export.export(net, message)
        return
    inputs = {
        f"b{index}": np.asarray(bottom, np.float32) for index, bottom in enumerate(case.bottoms)
    }
    for name, values in inputs.items():
        net.blobs[name].data[...] = values
    expected = {name: np.array(blob) for name, blob in net.forward().items()}
    model = export.export(net, message)
    found = check.Session(model).run(inputs)
    assert found.keys() == expected.keys()
    for name, blob in expected.items():
        assert found[name].shape == blob.shape
        assert found[name].dtype == np.float32
        finite = np.isfinite(blob)
        np.testing.assert_array_equal(found[name][~finite], blob[~finite])
        largest = np.abs(blob[finite]).max(initial=0)
        np.testing.assert_allclose(
            found[name][finite], blob[finite], rtol=0, atol=1e-5 * largest + 1e-30
        )


def test_every_type_that_can_be_exported_has_a_case() -> None:
    assert {case.type for case in EXPORTED} == set(graph.exportable()) - {"Silence"}
    assert REFUSED.keys() <= {case.name for case in EXPORTED}
    assert {case.name for case in CASES} >= UNLIKE


def test_silence_takes_a_blob_from_the_outputs(tmp_path: Path) -> None:
    text = (
        deployed_input("a", 1, 2)
        + deployed_input("b", 1, 2)
        + ('layer { name: "it" type: "Silence" bottom: "a" }')
    )
    model = export.export(*made(tmp_path, text))
    assert [output.name for output in model.graph.output] == ["b"]


def deployed_input(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


# -- whole nets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in deployed_nets.BIG else name
        for name in deployed_nets.NETS
    ],
)
def test_whole_nets_with_another_batch_than_their_own(name: str, tmp_path: Path) -> None:
    deploy, weights = deployed_nets.write(name, tmp_path)
    net = caffe.Net(str(deploy), str(weights), caffe.TEST)
    shape = net.blobs["data"].data.shape
    model = export.export(net, prototxt.read_net(deploy))
    assert net.blobs["data"].data.shape == shape
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["N", *shape[1:]]
    images = np.random.default_rng(5).standard_normal((3, *shape[1:]), np.float32)
    net.blobs["data"].reshape(*images.shape)
    expected = np.array(net.forward(data=images)["prob"])
    # Images are told apart, so that agreement means something.
    assert np.abs(expected - expected[:1]).max() > 1e-3
    found = check.Session(model).run({"data": images})["prob"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert 0 < check.require_alike(net, model) < 2e-5


def test_tensors_are_named_after_blobs_and_metadata_is_kept(tmp_path: Path) -> None:
    deploy, weights = deployed_nets.write("residual", tmp_path)
    net = caffe.Net(str(deploy), str(weights), caffe.TEST)
    message = prototxt.read_net(deploy)
    model = export.export(net, message, {"labels": '["ä", "b"]'})
    outputs = {output for node in model.graph.node for output in node.output}
    # conv2 is worked on in place twice.
    assert {"conv1", "conv2", "conv2~conv2", "conv2~bn2", "sum", "prob"} <= outputs
    assert [entry.value for entry in model.metadata_props] == ['["ä", "b"]']
    export.write(model, tmp_path / "a.onnx")
    export.write(export.export(net, message, {"labels": '["ä", "b"]'}), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_an_output_may_be_another_blobs_tensor(tmp_path: Path) -> None:
    text = deployed_input("a", 2, 3) + (
        'layer { name: "drop" type: "Dropout" bottom: "a" top: "b" }'
        'layer { name: "split" type: "Split" bottom: "b" top: "c" top: "d" }'
    )
    net, message = made(tmp_path, text)
    values = np.float32([[1, 2, 3], [4, 5, 6]])
    found = check.Session(export.export(net, message)).run({"a": values})
    assert found.keys() == {"c", "d"}
    for top in found.values():
        np.testing.assert_array_equal(top, values)


def test_a_layer_that_works_along_the_batch_fixes_it(tmp_path: Path) -> None:
    text = deployed_input("a", 4, 3) + (
        'layer { name: "it" type: "Slice" bottom: "a" top: "b" top: "c" slice_param { axis: 0 } }'
    )
    model = export.export(*made(tmp_path, text))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [4, 3]


def test_a_reshape_that_names_the_batch_fixes_it(tmp_path: Path) -> None:
    text = deployed_input("a", 2, 6) + (
        'layer { name: "it" type: "Reshape" bottom: "a" top: "b" '
        "reshape_param { shape { dim: 2 dim: 3 dim: 2 } } }"
    )
    net, message = made(tmp_path, text)
    model = export.export(net, message)
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 6]
    assert check.require_alike(net, model) == 0


def declared(values: Any) -> list[list[Any]]:
    """The lengths of each input's or output's axes; None is one of which nothing is said."""
    return [
        [dim.dim_param or dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in values
    ]


def test_lengths_that_follow_the_batch_in_another_way_are_not_called_n(tmp_path: Path) -> None:
    text = deployed_input("a", 2, 5, 3) + (
        'layer { name: "rows" type: "Reshape" bottom: "a" top: "b" '
        "reshape_param { shape { dim: -1 dim: 3 } } }"
        'layer { name: "scores" type: "InnerProduct" bottom: "b" top: "c" '
        'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
        'layer { name: "back" type: "Reshape" bottom: "c" top: "d" '
        "reshape_param { shape { dim: -1 dim: 5 dim: 2 } } }"
        'layer { name: "other" type: "ReLU" bottom: "c" top: "e" }'
    )
    net, message = made(tmp_path, text)
    model = export.export(net, message)
    assert net.blobs["a"].data.shape == (2, 5, 3)
    assert declared(model.graph.input) == [["N", 5, 3]]
    told = dict(zip(net.outputs, declared(model.graph.output), strict=True))
    assert told == {"d": ["N", 5, 2], "e": [None, 2]}
    assert check.require_alike(net, model) < 1e-6
    assert check.Session(model).run({"a": np.ones((7, 5, 3), np.float32)})["e"].shape == (35, 2)


def test_inputs_of_several_lengths_have_no_batch(tmp_path: Path) -> None:
    text = (
        deployed_input("a", 2, 3)
        + deployed_input("b", 4, 3)
        + 'layer { name: "it" type: "Concat" bottom: "a" bottom: "b" top: "c" '
        "concat_param { axis: 0 } }"
    )
    net, message = made(tmp_path, text)
    model = export.export(net, message)
    assert declared(model.graph.input) == [[2, 3], [4, 3]]
    assert declared(model.graph.output) == [[6, 3]]
    assert check.require_alike(net, model) == 0


def test_a_padding_of_one_axis_leaves_the_other_without(tmp_path: Path) -> None:
    text = deployed_input("a", 1, 2, 5, 7) + (
        'layer { name: "it" type: "Convolution" bottom: "a" top: "b" convolution_param { '
        'num_output: 3 kernel_h: 1 kernel_w: 3 pad_w: 1 weight_filler { type: "xavier" } } }'
    )
    net, message = made(tmp_path, text)
    assert net.blobs["b"].data.shape == (1, 3, 5, 7)
    assert check.require_alike(net, export.export(net, message)) < 1e-6


@pytest.mark.parametrize("own", [1, 2, 3])
def test_the_batch_that_is_compared_is_not_the_nets_own(
    own: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, message = made(
        tmp_path,
        deployed_input("a", own, 3) + 'layer { name: "it" type: "ReLU" bottom: "a" top: "b" }',
    )
    model = export.export(net, message)
    run, asked = check.Session.run, []
    monkeypatch.setattr(
        check.Session,
        "run",
        lambda self, inputs: asked.append(len(inputs["a"])) or run(self, inputs),
    )
    assert check.require_alike(net, model) == 0
    assert asked[0] != own
    assert net.blobs["a"].data.shape == (own, 3)


def test_a_nan_in_a_later_output_is_not_alike(tmp_path: Path) -> None:
    text = deployed_input("a", 2, 3) + (
        'layer { name: "one" type: "ReLU" bottom: "a" top: "b" }\n'
        'layer { name: "other" type: "Log" bottom: "a" top: "c" }'
    )
    net, message = made(tmp_path, text)
    with pytest.raises(ToolError, match="on random inputs onnxruntime is nan"):
        check.require_alike(net, export.export(net, message))


# -- the registry, the opset ---------------------------------------------------------------


def test_an_unknown_layer_is_told_what_can_be_exported() -> None:
    layer = text_format.Parse('name: "it" type: "LSTM"', caffe_pb2.LayerParameter())
    with pytest.raises(ToolError, match=r"'it' is of type LSTM, .*: AbsVal, ArgMax, .*, Upsample"):
        graph.exporting(layer)


def test_two_functions_for_a_type_are_refused() -> None:
    with pytest.raises(ValueError, match="two functions export layers of type ReLU"):
        graph.exports("ReLU")(lambda layer: [])


def test_the_opset_is_the_newest_that_both_packages_have() -> None:
    assert onnx.defs.onnx_opset_version() == graph.OPSET


# -- the command ----------------------------------------------------------------------------


def arguments(folder: Path, *more: str) -> list[str]:
    deploy, weights = deployed_nets.write("lenet", folder)
    files = ("--net", str(deploy), "--weights", str(weights), "--output", str(folder / "a.onnx"))
    return [*files, *more]


def test_the_command_writes_a_model_that_onnxruntime_reads(tmp_path: Path) -> None:
    export.main(arguments(tmp_path, "--metadata", "labels=a=b"))
    model = onnx.load(str(tmp_path / "a.onnx"))
    assert {entry.key: entry.value for entry in model.metadata_props} == {"labels": "a=b"}
    made_of = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    assert [output.name for output in made_of.get_outputs()] == ["prob"]


def test_the_command_writes_nothing_that_is_another_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = export.export

    def wrong(*given):
        model = exported(*given)
        bias = [array for array in model.graph.initializer if len(array.dims) == 1][-1]
        values = onnx.numpy_helper.to_array(bias) * np.float32(1.1)
        bias.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(export, "export", wrong)
    with pytest.raises(ToolError, match=r"onnxruntime is .* of the largest output from Caffe"):
        export.main(arguments(tmp_path))
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--metadata", "labels"], "expected NAME=TEXT, found 'labels'"),
        (["--weights", "absent"], "--weights: expected a file absent"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, more: list[str], complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        export.main(arguments(tmp_path, *more))


def test_without_the_package_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(graph.NotExportedError, match="the package onnx is not installed"):
        export.export(*made(tmp_path, deployed_input("a", 1, 2)))


def test_an_older_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 21)
    complaint = r"onnx [\d.]+ knows opsets up to 21, expected 28; `pip install --upgrade onnx`"
    with pytest.raises(graph.NotExportedError, match=complaint):
        export.export(*made(tmp_path, deployed_input("a", 1, 2)))
