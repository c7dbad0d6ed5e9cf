"""GoogLeNet and ResNet-50, fine-tuned by settings alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bvlc as bvlc_build
import pytest

from caffetools import batch_norm, patch, prototxt
from caffetools.pretrained import nets
from caffetools.settings import check_settings

HEADS = ["loss1/classifier", "loss2/classifier", "loss3/classifier"]
GOOGLENET = {
    **{"head": HEADS, "new_head": [f"{head}_flickr" for head in HEADS], "classes": 20},
    **{"head_lr_mult": 10, "head_bias_lr_mult": 20, "freeze_up_to": "inception_3b/output"},
    **{"dropout": {"loss*": 0.5}, "crop_size": 224, "input_shape": [3, 256, 256]},
}
RESNET50 = {
    **{"head": "fc1000", "new_head": "fc_flickr", "classes": 20, "head_lr_mult": 10},
    **{"freeze_up_to": "res3a", "input_shape": [3, 256, 256]},
}


def patched(net: Any, settings: dict[str, Any]) -> Any:
    return patch.patch_net(net, check_settings(dict(settings)))


def rates(layer: Any) -> list[float]:
    return [spec.lr_mult for spec in layer.param]


def test_googlenets_three_heads_are_new_and_what_is_before_them_is_frozen() -> None:
    net = patched(nets.train_val("googlenet"), GOOGLENET)
    layers = {layer.name: layer for layer in net.layer}
    for head in GOOGLENET["new_head"]:
        assert layers[head].inner_product_param.num_output == 20
        assert rates(layers[head]) == [10, 20]
    assert rates(layers["inception_3b/5x5"]) == rates(layers["conv1/7x7_s2"]) == [0, 0]
    assert rates(layers["inception_4a/5x5"]) == rates(layers["loss1/conv"]) == [1, 2]
    assert layers["loss1/drop_fc"].dropout_param.dropout_ratio == 0.5
    assert layers["pool5/drop_7x7_s1"].dropout_param.dropout_ratio == pytest.approx(0.4)
    assert not set(prototxt.heads(net)) - set(GOOGLENET["new_head"])


def test_resnets_batch_norms_are_frozen_with_their_stages() -> None:
    net = patched(nets.train_val("resnet50"), RESNET50)
    kept = {layer.name for layer in net.layer if layer.batch_norm_param.use_global_stats}
    stages = ("bn_conv1", "bn2", "bn3a")
    assert kept == {name for name in batch_norm.names(net) if name.startswith(stages)}
    frozen = {layer.name for layer in net.layer if layer.param and not any(rates(layer))}
    assert {"conv1", "scale_conv1", "scale3a_branch1"} <= frozen
    assert "res3b_branch2a" not in frozen


BUILDS = """
import json, sys, caffe
net = caffe.Net('out/deploy.prototxt', caffe.TEST)
json.dump([list(net.outputs), list(net.blobs['prob'].data.shape), sorted(net.params)], sys.stdout)
"""


@pytest.mark.oracle
@pytest.mark.parametrize(("model", "settings"), [("googlenet", GOOGLENET), ("resnet50", RESNET50)])
def test_bvlc_patches_them_alike_and_builds_the_deploy_net(
    model: str,
    settings: dict[str, Any],
    bvlc: bvlc_build.Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {
        "net": prototxt.to_text(nets.train_val(model)),
        "solver": 'base_lr: 1 lr_policy: "fixed"',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    arguments = ["--net=net", "--solver=solver", f"--settings={json.dumps(settings)}"]
    patch.main([*arguments, "--output=out"])
    with bvlc.workplace(files) as place:
        place.module("caffetools.patch", *arguments, "--output=out")
        for name in ("train_val.prototxt", "deploy.prototxt", "patch.json"):
            assert (place.path / "out" / name).read_bytes() == (
                tmp_path / "out" / name
            ).read_bytes()
        outputs, shape, params = place.python(BUILDS).json()
    assert (outputs, shape) == (["prob"], [1, 20])
    assert not [name for name in params if name.startswith(("loss1/", "loss2/"))]
