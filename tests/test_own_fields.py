"""Nets with fields that only Recaffe has: who reads their weights, and who refuses their text."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bvlc import Build
from recipes import write_lmdb

import caffe
from caffe.proto import caffe_pb2

DATA = """layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "lmdb" backend: LMDB batch_size: 4 %s } %s }
"""
SHUFFLED = DATA % ("shuffle: true", "")
AUGMENTED = DATA % ("", "transform_param { augmentation { min_area: 0.5 } }")
BOTH = DATA % ("shuffle: true", "transform_param { augmentation { min_area: 0.5 } }")
FC = """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.01 } } }
"""
DEPLOY = 'input: "data" input_shape { dim: 4 dim: 3 dim: 5 dim: 5 }\n'
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 5), np.uint8)
READ = """
import numpy as np, caffe
net = caffe.Net("deploy", "weights", caffe.TEST)
np.savez("found.npz", *[blob.data for blob in net.params["fc"]])
"""


@pytest.fixture(autouse=True)
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> caffe.Net:
    """A net with both fields, whose weight file has them in it."""
    monkeypatch.chdir(tmp_path)
    write_lmdb(tmp_path / "lmdb", IMAGES, np.arange(4))
    Path("net").write_text(BOTH + FC)
    Path("deploy").write_text(DEPLOY + FC)
    net = caffe.Net("net", caffe.TRAIN)
    net.save("weights")
    layer = caffe_pb2.NetParameter.FromString(Path("weights").read_bytes()).layer[0]
    assert layer.data_param.shuffle
    assert layer.transform_param.HasField("augmentation")
    return net


def test_opencv_reads_the_weights(trained: caffe.Net) -> None:
    witness = cv2.dnn.readNetFromCaffe("deploy", "weights")
    images = IMAGES.astype(np.float32)
    witness.setInput(images)
    ours = caffe.Net("deploy", caffe.TEST, weights="weights")
    (found,) = ours.forward(data=images).values()
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(witness.forward(), found, rtol=1e-5, atol=1e-5)


@pytest.mark.oracle
def test_bvlcs_build_reads_the_weights(bvlc: Build, trained: caffe.Net) -> None:
    files = {name: Path(name) for name in ("deploy", "weights")}
    result = bvlc.python(READ, files=files, fetch=["found.npz"])
    Path("found.npz").write_bytes(result.files["found.npz"])
    with np.load("found.npz") as found:
        for index, blob in enumerate(trained.params["fc"]):
            np.testing.assert_array_equal(found[f"arr_{index}"], blob.data)


@pytest.mark.oracle
@pytest.mark.parametrize(("text", "field"), [(SHUFFLED, "shuffle"), (AUGMENTED, "augmentation")])
def test_bvlcs_build_refuses_the_text_by_the_fields_name(
    bvlc: Build, text: str, field: str
) -> None:
    files = {"net": text, "lmdb": Path("lmdb")}
    with bvlc.workplace(files) as place:
        done = place.python('import caffe; caffe.Net("net", caffe.TRAIN)', check=False)
    assert done.status
    assert f'has no field named "{field}"' in done.stderr
