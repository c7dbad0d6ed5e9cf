"""MemoryData and DummyData: what they hold from forward to forward, and mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_nets import TEST, build, inputs, run

import caffe
from recaffe.context import context
from recaffe.errors import CaffeError, LayerError, NetError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- MemoryData ---------------------------------------------------------------------------

MEMORY = (
    'layer {{ name: "m" type: "MemoryData" top: "data" top: "label" memory_data_param '
    "{{ batch_size: 2 channels: 3 height: 2 width: 2 }} transform_param {{ {} }} }}"
)
ARRAYS = (
    np.random.default_rng(0).normal(size=(6, 3, 2, 2)).astype(np.float32),
    np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1),
)


def test_memory_data_wraps_shares_the_arrays_and_starts_afresh() -> None:
    made = build(MEMORY.format("scale: 3"))
    assert made.blobs["label"].shape == (2,)
    layer = made.layers[0]
    with pytest.raises(LayerError, match=r"'m' \(MemoryData\): no data yet: call net.set_input"):
        run(made)
    data, labels = (array.copy() for array in ARRAYS)
    layer.reset(data, labels)
    for batch in (0, 1, 2, 0):
        run(made)
        np.testing.assert_array_equal(made.blobs["data"].data, ARRAYS[0][2 * batch :][:2])
        np.testing.assert_array_equal(made.blobs["label"].data, ARRAYS[1][2 * batch :][:2])
    made.blobs["data"].data[...] = 9  # is no writing to the arrays
    np.testing.assert_array_equal(data, ARRAYS[0])
    data[2:4] = 5
    run(made)
    assert (made.blobs["data"].data == 5).all()
    layer.reset(data, labels)
    run(made)
    data[:] = 6  # too late for the batch that is there
    np.testing.assert_array_equal(made.blobs["data"].data, ARRAYS[0][:2])
    other = build(MEMORY.format(""))
    other.layers[0].reset(data, labels)
    run(other)
    data[:] = 7
    assert (other.blobs["data"].data == 6).all()


def test_memory_data_is_told_what_does_not_fit() -> None:
    layer = build(MEMORY.format("")).layers[0]
    data, labels = ARRAYS
    for bad, said in [
        ((data[:3], labels[:3]), "multiple of the batch_size 2 .* found 3 images and 3 labels"),
        ((data, labels[:4]), "found 6 images and 4 labels"),
        ((data[:0], labels[:0]), "found 0 images"),
        ((data.astype(np.float64), labels), "expected data of float32 .* found float64"),
        ((data[:, :2].copy(), labels), r"\['n', 3, 2, 2\], found float32 and \[6, 2, 2, 2\]"),
        ((data[::-1], labels), "C contiguous"),
        ((data[0], labels), r"found float32 and \[3, 2, 2\]"),
        ((data, labels[:, 0]), r"expected labels .*\['n', 1, 1, 1\]"),
    ]:
        with pytest.raises(LayerError, match=said):
            layer.reset(*bad)


def test_pycaffe_gives_memory_data_its_arrays() -> None:
    Path("net").write_text(MEMORY.format(""))
    made = caffe.Net("net", caffe.TEST)
    made.set_input_arrays(ARRAYS[0], ARRAYS[1].ravel())
    made.forward()
    found = made.forward()
    np.testing.assert_array_equal(found["data"], ARRAYS[0][2:4])
    np.testing.assert_array_equal(found["label"], ARRAYS[1][2:4])
    Path("net").write_text(inputs(a=(1,)))
    with pytest.raises(NetError, match=r"first layer is MemoryData; this one's is 'a' \(Input\)"):
        caffe.Net("net", caffe.TEST).set_input_arrays(*ARRAYS)


def test_memory_data_transforms_datums() -> None:
    means = "mean_value: 1 mean_value: 2 mean_value: 3"
    made = build(MEMORY.format(f"scale: 0.5 {means} crop_size: 2"), TEST)
    layer = made.layers[0]
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 4, 6), dtype=np.uint8)
    datums = [caffe.io.array_to_datum(image, index) for index, image in enumerate(images)]
    layer.add_datums(datums)
    expected = (images[:, :, 1:3, 2:4] - np.array([1.0, 2, 3]).reshape(3, 1, 1)) / 2
    for batch in range(2):
        with pytest.raises(LayerError, match="cannot add data before a forward has read all"):
            layer.add_datums(datums)
        with pytest.raises(LayerError, match="cannot change the batch size before"):
            layer.set_batch_size(1)
        run(made)
        np.testing.assert_array_equal(made.blobs["data"].data, expected[2 * batch :][:2])
        assert made.blobs["label"].data.ravel().tolist() == [2 * batch, 2 * batch + 1]
    layer.set_batch_size(4)
    layer.add_datums(datums)
    run(made)
    assert made.blobs["data"].shape == (4, 3, 2, 2)
    for bad, said in [
        ([], "found 0 datum"),
        (datums[:3], "found 3 datum"),
        ([caffe.io.array_to_datum(images[0, :1])] * 4, "datum 0|mean_value"),
    ]:
        with pytest.raises(CaffeError, match=said):
            layer.add_datums(bad)


# -- DummyData ----------------------------------------------------------------------------

DUMMY = """layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {
  data_filler { value: 3 } data_filler { type: "uniform" min: 1 max: 2 } shape { dim: 50 } } }"""


def test_dummy_data_fills_constants_once_and_others_each_time() -> None:
    made = build(DUMMY)
    a, b = made.blobs["a"], made.blobs["b"]
    assert (a.data == 3).all()
    assert (b.data == 0).all()
    a.data[...] = 7
    seen = []
    for _ in range(2):
        run(made)
        assert (a.data == 7).all()
        assert ((b.data >= 1) & (b.data < 2)).all()
        seen.append(b.data.copy())
    assert (seen[0] != seen[1]).all()


def test_dummy_data_follows_the_seed_and_a_reshape() -> None:
    found = []
    for seed in (1, 1, 2):
        context.seed(seed)
        made = build(DUMMY)
        made.blobs["b"].reshape(3, 2)
        run(made)
        found.append(made.blobs["b"].data.copy())
    assert found[0].shape == (3, 2)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize("written", [False, True])
def test_dummy_data_goes_with_a_whole_step(written: bool) -> None:
    text = DUMMY.replace("dim: 50", "dim: 5 dim: 4") + (
        'layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param '
        '{ num_output: 4 weight_filler { type: "constant" value: 0.5 } } }'
        'layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "b" top: "l" }'
    )
    losses = []
    for keep in (False, True):
        context.seed(1)
        made = build(text)
        if written:
            made.blobs["a"].data[...] = np.arange(20).reshape(5, 4)
        losses.append([made.forward_backward(keep=keep) for _ in range(3)])
        assert made.blobs["a"].data[4, 3] == (19 if written else 3)
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3
