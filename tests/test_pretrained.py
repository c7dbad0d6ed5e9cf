"""The registry of published models, its reader, and the command that shows it."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import pytest
import yaml

from caffetools.cli import ToolError
from caffetools.pretrained import registry
from caffetools.pretrained.__main__ import KINDS, main
from caffetools.pretrained.nets import NETS
from caffetools.pretrained.registry import FIGURES, OF_THE_PROTOTXT, find, load

ASKED_FOR = (
    *("caffenet", "alexnet", "googlenet", "rcnn", "vgg16", "vgg19"),
    *("resnet50", "resnet101", "resnet152", "squeezenet1.1", "mobilenet_v1", "mobilenet_v2"),
)


def blocks() -> Any:
    return yaml.safe_load(registry.FILE.read_text(encoding="utf-8"))


def loaded(block: Any, folder: Path) -> Any:
    """What the reader makes of a registry with one block."""
    path = folder / "registry.yaml"
    path.write_text(yaml.safe_dump({"net": block}), encoding="utf-8")
    return load(path)["net"]


# --- what it says ---------------------------------------------------------------------


def test_every_model_is_there_with_its_net() -> None:
    assert tuple(load()) == ASKED_FOR
    assert tuple(NETS) == ASKED_FOR


def test_checksums_of_the_zoo() -> None:
    """As BVLC's own files of the model zoo tell them."""
    assert {name: find(name).sha1 for name in ASKED_FOR[:4]} == {
        "caffenet": "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
        "alexnet": "9116a64c0fbe4459d18f4bb6b56d647b63920377",
        "googlenet": "405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        "rcnn": "bdd8abb885819cba5e2fe1eb36235f2319477e64",
    }


def test_the_strongest_checksum_is_taken() -> None:
    assert find("caffenet").checksum == ("sha256", find("caffenet").sha256)
    assert find("rcnn").checksum == ("sha1", find("rcnn").sha1)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_no_two_models_share_weights(name: str) -> None:
    model = find(name)
    others = [other for other in load().values() if other is not model]
    assert not set(model.urls) & {url for other in others for url in other.urls}
    assert model.checksum not in [other.checksum for other in others]


# --- its reader -----------------------------------------------------------------------


def test_a_block_that_is_whole_is_read(tmp_path: Path) -> None:
    assert loaded(blocks()["vgg16"], tmp_path).title == "VGG-16"


@pytest.mark.parametrize("field", [field.name for field in fields(registry.Model)][1:])
def test_every_field_must_be_there(field: str, tmp_path: Path) -> None:
    block = blocks()["vgg16"]
    del block[field]
    with pytest.raises(ToolError, match=f"net: no {field}; what is not known is told by null"):
        loaded(block, tmp_path)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_needs_its_source(figure: str, tmp_path: Path) -> None:
    block = blocks()["vgg16"]
    source = block["sources"].pop(figure)
    with pytest.raises(ToolError, match=f"net: no source is told for {figure};"):
        loaded(block, tmp_path)
    block["sources"][figure] = source
    block[figure] = [] if figure == "urls" else None
    with pytest.raises(ToolError, match="a source is told for (mirrors|urls|" + figure + "), wh"):
        loaded(block, tmp_path)


def test_mirrors_need_their_source(tmp_path: Path) -> None:
    block = blocks()["vgg16"]
    del block["sources"]["mirrors"]
    with pytest.raises(ToolError, match="net: no source is told for mirrors;"):
        loaded(block, tmp_path)


def test_a_scale_needs_its_source_and_none_needs_none(tmp_path: Path) -> None:
    block = blocks()["mobilenet_v1"]
    source = block["sources"].pop("scale")
    with pytest.raises(ToolError, match="net: no source is told for scale;"):
        loaded(block, tmp_path)
    block["sources"]["scale"], block["scale"] = source, 1
    with pytest.raises(ToolError, match="a source is told for scale, which is not given"):
        loaded(block, tmp_path)


@pytest.mark.parametrize("field", OF_THE_PROTOTXT)
def test_without_a_prototxt_the_nets_form_needs_its_source(field: str, tmp_path: Path) -> None:
    block = blocks()["vgg16"]
    assert loaded(block, tmp_path).source(field) == block["prototxt"]
    load.cache_clear()
    block["prototxt"] = None
    block["sources"].update({name: f"http://127.0.0.1/{name}" for name in OF_THE_PROTOTXT})
    assert loaded(block, tmp_path).source(field) == f"http://127.0.0.1/{field}"
    load.cache_clear()
    del block["sources"][field]
    with pytest.raises(ToolError, match=f"net: no source is told for {field};"):
        loaded(block, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("sha1", "4c8d77", "40 hexadecimal digits"),
        ("sha1", "G" * 40, "40 hexadecimal digits"),
        ("sha256", "a" * 40, "64 hexadecimal digits"),
        ("sha256", 1, "64 hexadecimal digits"),
        ("urls", ["ftp://127.0.0.1/w"], "http or https addresses"),
        ("urls", "http://127.0.0.1/w", "a list"),
        ("prototxt", "here", "an http or https address or null"),
        ("bytes", -1, "an integer or null"),
        ("bytes", True, "an integer or null"),
        ("input", [3, 224], "channels, height and width"),
        ("input", [3, 224, 0], "channels, height and width"),
        ("channel_order", "bgr", "BGR, RGB or null"),
        ("mean", [104], "three numbers or null"),
        ("mean", ["a", "b", "c"], "three numbers or null"),
        ("scale", "1e-2", "a number"),
        ("classes", 0, "at least 1"),
        ("heads", [], "a list of names"),
        ("heads", "fc8", "a list of names"),
        ("accuracy", {"top1": 57.4}, "top1 and top5"),
        ("accuracy", {"top1": 57.4, "top5": 804}, "top1 and top5 in percent"),
        ("license", "", "a string or null"),
        ("solver", "fixed", "fields or null"),
        ("sources", {"urls": "somewhere"}, "an address by field"),
    ],
)
def test_a_value_of_another_kind_is_named(
    field: str, value: Any, expected: str, tmp_path: Path
) -> None:
    block = {**blocks()["vgg16"], field: value}
    with pytest.raises(ToolError, match=f"net: {field} is .*; expected .*{expected}"):
        loaded(block, tmp_path)


def test_an_unknown_field_is_told_the_right_one(tmp_path: Path) -> None:
    block = {**blocks()["vgg16"], "sha265": "0" * 64}
    with pytest.raises(ToolError, match="net: unknown field 'sha265'; did you mean 'sha256'"):
        loaded(block, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "no YAML"), ("[]", "expected a block for each model"), ("a: 1", "expected the fields")],
)
def test_what_is_no_registry_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ToolError, match=reason):
        load(tmp_path / "r.yaml")


def test_a_misspelt_name_is_told_the_right_one() -> None:
    with pytest.raises(ToolError, match=r"named 'googelnet'; did you mean 'googlenet'\? Known: ca"):
        find("googelnet")
    with pytest.raises(ToolError, match=r"named 'xyz'\. Known: caffenet, alexnet,"):
        find("xyz")


# --- the command ----------------------------------------------------------------------


def test_list_has_a_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *ASKED_FOR]
    assert "57.4" in lines[1]
    assert "not known" in lines[4]


@pytest.mark.parametrize("name", ASKED_FOR)
def test_show_tells_every_figure_with_its_source_or_that_it_is_not_known(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["show", name])
    lines = capsys.readouterr().out.splitlines()
    block = blocks()[name]
    assert sum(line.endswith("not known") for line in lines) == sum(
        value is None for value in block.values()
    )
    sourceless = [line.partition(":")[0] for line in lines if not line.endswith("]")]
    known = {"name", "model", "prototxt"} | ({"scale"} if block["scale"] == 1 else set())
    assert {each for each in sourceless if f"{each}: not known" not in lines} == known
    for source in block["sources"].values():
        assert any(line.endswith(f"[{source}]") for line in lines)
    for url in block["urls"]:
        assert any(url in line for line in lines)


def test_prototxt_is_shown_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        main(["prototxt", "googlenet", "--kind", kind])
        shown = capsys.readouterr().out
        main(["prototxt", "googlenet", "--kind", kind, "--output", str(tmp_path / kind)])
        assert (tmp_path / kind).read_text() == shown
        assert shown.startswith(f"# The {kind} of BVLC GoogLeNet,")
    assert capsys.readouterr().out == ""


def test_a_solver_that_is_not_known_is_said_so() -> None:
    with pytest.raises(ToolError, match="no solver is known by which MobileNet v1 was trained;"):
        main(["prototxt", "mobilenet_v1", "--kind", "solver"])


def test_listing_needs_no_caffe() -> None:
    code = "import sys; from caffetools.pretrained.__main__ import main; main(['list']); "
    code += "print([name for name in sys.modules if name in ('caffe', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


@pytest.mark.oracle
def test_bvlcs_interpreter_lists_and_shows_alike(
    bvlc: bvlc_build.Build, capsys: pytest.CaptureFixture[str]
) -> None:
    with bvlc.workplace() as place:
        for arguments in (["list"], ["show", "rcnn"], ["show", "mobilenet_v2"]):
            main(arguments)
            theirs = place.module("caffetools.pretrained", *arguments).stdout
            assert theirs == capsys.readouterr().out
