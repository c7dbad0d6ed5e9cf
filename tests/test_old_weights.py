"""Figures of weights in Caffe's older format, which gives every blob four axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe.proto import caffe_pb2
from caffetools.cli import ToolError
from caffetools.visualization.histograms import weight_histograms
from caffetools.visualization.kernels import read_kernels, spatial_kernels
from caffetools.weights import same_shape

SHAPES = {"conv": [(4, 3, 5, 5), (4,)], "fc": [(6, 36), (6,)], "head": [(3, 6), (3,)]}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The same layers before, in the older format, and after, in this one."""
    before, after = caffe_pb2.NetParameter(), caffe_pb2.NetParameter()
    old = caffe_pb2.V1LayerParameter
    for name, shapes in SHAPES.items():
        kind = old.CONVOLUTION if name == "conv" else old.INNER_PRODUCT
        one = before.layers.add(name=name, type=kind)
        other = after.layer.add(name=name, type="Convolution" if name == "conv" else "InnerProduct")
        for shape in shapes:
            values = np.random.default_rng(0).normal(size=shape).ravel().tolist()
            padded = (1,) * (4 - len(shape)) + shape
            axes = dict(zip(("num", "channels", "height", "width"), padded, strict=True))
            one.blobs.add(data=values, **axes)
            other.blobs.add(data=values).shape.dim.extend(shape)
    paths = tmp_path / "before.caffemodel", tmp_path / "after.caffemodel"
    for path, net in zip(paths, (before, after), strict=True):
        path.write_bytes(net.SerializeToString())
    return paths


def test_layers_keep_their_before(files: tuple[Path, Path]) -> None:
    found = weight_histograms(*files)
    assert list(found) == ["fc", "head"]
    for histogram in found.values():
        assert histogram.before is not None
        np.testing.assert_array_equal(histogram.before, histogram.after)


def test_an_inner_product_is_no_convolution(files: tuple[Path, Path]) -> None:
    before, after = files
    assert list(spatial_kernels(before)) == list(spatial_kernels(after)) == ["conv"]
    np.testing.assert_array_equal(read_kernels(before)[1], read_kernels(after)[1])
    with pytest.raises(ToolError, match="no convolution fc with kernels to show; it has conv"):
        read_kernels(before, "fc")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((6, 36), (6, 36), True),
        ((1, 1, 6, 36), (6, 36), True),
        ((6,), (1, 1, 1, 6), True),
        ((36, 6), (1, 1, 6, 36), False),
        ((6, 1), (6,), False),
    ],
)
def test_shapes_that_are_the_same(
    one: tuple[int, ...], other: tuple[int, ...], expected: bool
) -> None:
    assert same_shape(one, other) == expected
