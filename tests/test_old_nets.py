"""Nets of Caffe's older formats: read, patched, and alike on both builds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import bvlc as bvlc_build
import pytest

from caffetools import patch, prototxt, upgrade
from caffetools.cli import ToolError

V1 = """
name: "old"
layers { name: "data" type: DATA top: "data" top: "label"
         data_param { source: "x" batch_size: 4 scale: 0.5 mirror: true crop_size: 8 } }
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
         weight_decay: 1 weight_decay: 0 convolution_param { num_output: 3 kernel_size: 3 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc"
         inner_product_param { num_output: 5 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" }
"""
V0 = """
name: "old"
layers { layer { name: "data" type: "data" source: "x" batchsize: 4 scale: 0.5 mirror: true
                 cropsize: 8 } top: "data" top: "label" }
layers { layer { name: "conv" type: "conv" num_output: 3 kernelsize: 3 blobs_lr: 1 blobs_lr: 2
                 weight_decay: 1 weight_decay: 0 } bottom: "data" top: "conv" }
layers { layer { name: "fc" type: "innerproduct" num_output: 5 } bottom: "conv" top: "fc" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "fc" bottom: "label" }
"""
SETTINGS = {
    **{"head": "fc", "new_head": "fc_new", "classes": 3, "freeze": ["conv"], "mirror": False},
    "input_shape": [1, 9, 9],
}
ARGUMENTS = ["--net=net", "--solver=solver", f"--settings={json.dumps(SETTINGS)}", "--output=out"]
SOLVER = 'base_lr: 1 lr_policy: "fixed"'


@pytest.mark.parametrize("text", [V1, V0], ids=["V1", "V0"])
def test_old_net_is_read_in_todays_form(text: str, tmp_path: Path) -> None:
    (tmp_path / "net").write_text(text)
    net = prototxt.read_net(tmp_path / "net")
    assert [layer.type for layer in net.layer] == [
        *("Data", "Convolution", "InnerProduct", "SoftmaxWithLoss"),
    ]
    assert net.layer[0].transform_param.crop_size == 8
    assert [(spec.lr_mult, spec.decay_mult) for spec in net.layer[1].param] == [(1, 1), (2, 0)]


@pytest.mark.oracle
@pytest.mark.parametrize("text", [V1, V0], ids=["V1", "V0"])
def test_old_net_is_patched_alike_on_both_builds(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bvlc: bvlc_build.Build
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").write_text(text)
    (tmp_path / "solver").write_text(SOLVER)
    patch.main(ARGUMENTS)
    with bvlc.workplace({"net": text, "solver": SOLVER}) as place:
        place.module("caffetools.patch", *ARGUMENTS)
        for name in ("train_val.prototxt", "deploy.prototxt", "patch.json"):
            assert (place.path / "out" / name).read_bytes() == (
                tmp_path / "out" / name
            ).read_bytes()
    patched = prototxt.read_net(tmp_path / "out" / "train_val.prototxt")
    assert prototxt.heads(patched) == ["fc_new"]


def test_net_that_the_program_refuses_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "net").write_text(V1 + 'layer { name: "new" type: "ReLU" }')
    with pytest.raises(ToolError, match=r"net: its layers are written .*does not upgrade it \(st"):
        prototxt.read_net(tmp_path / "net")


def test_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").write_text(V1)
    monkeypatch.setattr(upgrade.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="upgrade_net_proto_text, which upgrades it, is neither"):
        prototxt.read_net(tmp_path / "net")
    # One on the PATH does as well.
    (tmp_path / "upgrade_net_proto_text").write_text('#!/bin/sh\necho \'name: "new"\' > "$2"\n')
    subprocess.run(["/bin/chmod", "+x", tmp_path / "upgrade_net_proto_text"], check=True)
    assert prototxt.read_net(tmp_path / "net").name == "new"
