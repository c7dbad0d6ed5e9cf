"""What the patch command does to nets, on BVLC's interpreter: the same bytes, and nets that run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import numpy as np
import pytest
from recipes import write_lmdb

from caffetools import patch, prototxt

# Something of everything that settings tell, in a net that takes a moment.
NET = """
name: "small"
layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "x" } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "side" type: "InnerProduct" bottom: "conv" top: "side"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "side_loss" type: "SoftmaxWithLoss" bottom: "side" bottom: "label" top: "side_loss"
        loss_weight: 0.3 }
layer { name: "mid" type: "InnerProduct" bottom: "conv" top: "mid"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "mid" top: "mid" }
layer { name: "fc" type: "InnerProduct" bottom: "mid" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
# Seeded: pixels of 0 to 255 saturate the softmax, and some weights drawn at random then give
# predictions that are a permutation of the labels, whose bias gradient is exactly zero.
SOLVER = 'random_seed: 1 base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 10'
SETTINGS: dict[str, Any] = {
    "head": ["fc", "side"],
    "new_head": ["fc_new", "side_new"],
    "classes": 3,
    "head_lr_mult": {"fc": 10, "side": 5},
    "head_bias_lr_mult": 7,
    "input_shape": [3, 9, 9],
    "train_source": "lmdb",
    "val_source": "lmdb",
    "batch_size": {"train": 4, "val": 4},
}
RESULTS = ["train_val.prototxt", "solver.prototxt", "deploy.prototxt", "patch.json"]
# What a net is after a step of training, as each Caffe sees it.
STEP = """
import json, sys, caffe, numpy as np
solver = caffe.get_solver('out/solver.prototxt')
before = {name: [blob.data.copy() for blob in blobs] for name, blobs in solver.net.params.items()}
solver.step(1)
deploy = caffe.Net('out/deploy.prototxt', caffe.TEST)
json.dump({
    'moved': {name: [bool(np.any(blob.data != old)) for blob, old in zip(blobs, before[name])]
              for name, blobs in solver.net.params.items()},
    'shapes': {name: list(blobs[0].data.shape) for name, blobs in solver.net.params.items()},
    'deploy': sorted(deploy.params), 'outputs': list(deploy.outputs),
}, sys.stdout)
"""


def seen_by_bvlc(
    bvlc: bvlc_build.Build, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Any:
    """Patch NET here and there, which must give the same bytes; what the step there tells."""
    monkeypatch.chdir(folder)
    (folder / "net").write_text(NET)
    (folder / "solver").write_text(SOLVER)
    images = np.random.default_rng(0).integers(0, 255, (8, *settings["input_shape"]), np.uint8)
    if not (folder / "lmdb").exists():
        write_lmdb(folder / "lmdb", images, np.arange(8) % 3)
    arguments = ["--net=net", "--solver=solver", f"--settings={json.dumps(settings)}", "--data=."]
    for split in ("train", "val"):
        (folder / "lmdb" / f"{split}.json").write_text('{"entries": 8}')
    files = {"net": NET, "solver": SOLVER, "lmdb": folder / "lmdb"}
    patch.main([*arguments, "--output=out"])
    with bvlc.workplace(files) as place:
        place.module("caffetools.patch", *arguments, "--output=out")
        for name in RESULTS:
            assert (place.path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()
        return place.python(STEP).json()


@pytest.mark.oracle
def test_frozen_layers_stay_with_their_statistics(
    bvlc: bvlc_build.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"freeze_up_to": "conv", "lr_mult": {"mid": [2, 0]}, "decay_mult": {"*": 0}}
    seen = seen_by_bvlc(bvlc, tmp_path, monkeypatch, {**SETTINGS, **told})
    assert seen["moved"]["conv"] == seen["moved"]["scale"] == [False, False]
    assert seen["moved"]["norm"] == [False, False, False]
    assert seen["moved"]["mid"] == [True, False]
    assert seen["moved"]["fc_new"] == [True, True]
    seen = seen_by_bvlc(bvlc, tmp_path, monkeypatch, {**SETTINGS, "batch_norm": "update"})
    assert seen["moved"]["norm"] == [True, True, True]


@pytest.mark.oracle
@pytest.mark.parametrize("told", [{"shuffle": True}, {"augmentation": {"rotation": 5}}])
def test_what_only_recaffe_has_is_told_on_bvlcs_interpreter(
    bvlc: bvlc_build.Build, told: dict[str, Any]
) -> None:
    manifest = '{"entries": 8, "channels": 3, "height": 9, "width": 9}'
    entries = {f"lmdb/{split}.json": manifest for split in ("train", "val")}
    with bvlc.workplace({"net": NET, "solver": SOLVER, **entries}) as place:
        arguments = ["--net=net", "--solver=solver", f"--settings={json.dumps(told)}", "--data=."]
        done = place.module("caffetools.patch", *arguments, "--output=out", check=False)
    assert done.status == 1
    assert f"{next(iter(told))} is for Recaffe's runtime; the Caffe at work here" in done.stderr


@pytest.mark.oracle
def test_data_and_dropout_are_as_told(
    bvlc: bvlc_build.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        **{"crop_size": 7, "mirror": True, "mean_value": [104, 117.5, 123], "dropout": {"*": 0}},
        "batch_size": {"train": 2, "val": 4, "effective": 6},
        "solver": {"max_iter": {"epochs": 3}, "test_interval": {"epochs": 0.5}},
    }
    seen = seen_by_bvlc(bvlc, tmp_path, monkeypatch, {**SETTINGS, **told})
    assert seen["shapes"]["mid"] == [6, 4 * 5 * 5]
    solver = prototxt.read_solver(tmp_path / "out" / "solver.prototxt")
    assert solver.iter_size == 3
    assert (solver.max_iter, solver.test_interval, list(solver.test_iter)) == (4, 1, [2])
    net = prototxt.read_net(tmp_path / "out" / "train_val.prototxt")
    assert [layer.transform_param.mirror for layer in net.layer[:2]] == [True, False]
    assert list(net.layer[0].transform_param.mean_value) == [104, 117.5, 123]


@pytest.mark.oracle
def test_both_heads_learn_and_the_main_one_answers(
    bvlc: bvlc_build.Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_by_bvlc(bvlc, tmp_path, monkeypatch, SETTINGS)
    assert seen["shapes"]["fc_new"] == [3, 6]
    assert seen["shapes"]["side_new"][0] == 3
    assert seen["moved"]["side_new"] == [True, True]
    assert seen["moved"]["fc_new"] == [True, True]
    assert seen["deploy"] == ["conv", "fc_new", "mid", "norm", "scale"]
    assert seen["outputs"] == ["prob"]
