"""draw_net with Graphviz, here and on BVLC's build."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest
from bvlc import Build
from programs import assert_mistake, assert_mistake_within, program

NET = """
name: "drawn"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 7 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss"
  include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "conv" top: "prob" include { phase: TEST } }
"""
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
slow = pytest.mark.slow  # where .ci/run has installed Graphviz


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path


def words(svg: str) -> list[str]:
    """What is written in a picture, in order."""
    return re.findall(r"<text [^>]*>([^<]+)</text>", svg)


@slow
@needs_dot
def test_a_picture_shows_every_layer(here: Path) -> None:
    pytest.importorskip("pydot")
    for name in ("net.svg", "net.png"):
        done = program(here, "draw_net", "net.prototxt", name, "--display_lrm", "-rankdir=TB")
        assert done.returncode == 0, done.stderr
    assert cv2.imread(str(here / "net.png")).std() > 0
    shown = words((here / "net.svg").read_text())
    label = "conv (Convolution) kernel size: 5 stride: 2 pad: 1 lr mult: 2.0, 1.0"
    assert label in [text.replace("&#160;", " ") for text in shown]
    assert {"data", "label", "loss", "prob", "relu (ReLU)", "4", "Batch 7"} <= set(shown)


@slow
@needs_dot
def test_a_phase_leaves_out_the_layers_of_the_other(here: Path) -> None:
    pytest.importorskip("pydot")
    assert program(here, "draw_net", "net.prototxt", "t.svg", "--phase", "TEST").returncode == 0
    shown = words((here / "t.svg").read_text())
    assert "prob" in shown
    assert "loss" not in shown


@pytest.mark.oracle
@slow
@needs_dot
@pytest.mark.parametrize("flags", [(), ("--phase=TRAIN",), ("--rankdir", "BT", "-display_lrm")])
def test_bvlcs_build_draws_the_same(bvlc: Build, here: Path, flags: tuple[str, ...]) -> None:
    run = ("draw_net", "net.prototxt", "net.svg", *flags)
    assert program(here, *run).returncode == 0
    with bvlc.workplace({"net.prototxt": NET}) as place:
        place.module("caffetools.programs", *run)
        theirs = (place.path / "net.svg").read_text()
    assert sorted(words((here / "net.svg").read_text())) == sorted(words(theirs))


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (("bogus", "a.png"), "bogus"),
        (("net.prototxt", "picture"), "tells no kind of picture"),
        (("net.prototxt", "a.png", "--rankdir=XX"), "invalid choice: 'XX'"),
        (("net.prototxt", "a.png", "--phase=SOME"), "invalid choice: 'SOME'"),
        (("broken", "a.png"), "broken"),
    ],
    ids=str,
)
def test_mistakes(here: Path, run: tuple[str, ...], told: str) -> None:
    (here / "broken").write_text("layer { nmae: 'a' }")
    assert_mistake_within(here, told, "draw_net", *run)
    assert not (here / "a.png").exists()


@slow
@needs_dot
def test_a_kind_that_graphviz_does_not_know(here: Path) -> None:
    pytest.importorskip("pydot")
    assert_mistake(program(here, "draw_net", "net.prototxt", "a.bogus"), "bogus")
    assert not (here / "a.bogus").exists()
