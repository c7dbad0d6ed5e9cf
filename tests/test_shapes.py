"""How large a blob may be: Caffe's bounds, told before anything is allocated, and memory's."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from bvlc import Build
from small_nets import build, inputs

from caffe.proto import caffe_pb2
from recaffe.blob import Blob
from recaffe.errors import CaffeError, LayerError, OutOfMemoryError, ShapeMismatchError
from recaffe.layers import layer_types, make_layer
from recaffe.memory import tell_lack
from recaffe.shapes import MAX_AXES, MAX_COUNT, why_impossible


def one(type_: str, settings: str, *shape: int) -> str:
    bottom = 'bottom: "x"' if shape else ""
    return (inputs(x=shape) if shape else "") + (
        f'layer {{ name: "it" type: "{type_}" {bottom} top: "y" {settings} }}'
    )


def input_of(*dims: int) -> str:
    return one("Input", f"input_param {{ shape {{ dim: {list(dims)} }} }}")


IMAGE = (1, 3, 4, 4)
TOO_LARGE = {
    # -- shapes
    input_of(2**31): "top 'y': a blob cannot have the shape [2147483648]",
    input_of(2**63 - 1): "top 'y': a blob cannot have the shape [9223372036854775807]",
    input_of(-1): "top 'y': a blob cannot have the shape [-1]",
    input_of(2**16, 2**16): "]: expected at most 2147483647 values",
    input_of(2**31 - 1, 3, 0): "]: expected at most 2147483647 values",
    input_of(*[1] * 33): "top 'y': a blob has 33 axes, more than 32",
    one("Tile", "tile_param { tiles: 1000000000 }", 1, 3): "top 'y': a blob cannot have the shape",
    one("Convolution", "convolution_param { num_output: 2 kernel_size: 3 pad: 100000 }", *IMAGE):
        "top 'y': a blob cannot have the shape [1, 2, 200002, 200002]",
    one("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 100000 }",
        *IMAGE): "top 'y': a blob cannot have the shape [1, 2, 300003, 300003]",
    one("Pooling", "pooling_param { kernel_size: 100000 }", *IMAGE): "is larger than the bottom",
    one("DummyData", "dummy_data_param { shape { dim: [65536, 65536] } }"):
        "a blob cannot have the shape [65536, 65536]",
    one("MemoryData", "top: 'z' memory_data_param "
        "{ batch_size: 65536 channels: 65536 height: 1 width: 1 }"):
        "top 'y': a blob cannot have the shape [65536, 65536, 1, 1]",
    # -- parameters
    one("Parameter", "parameter_param { shape { dim: [65536, 65536] } }"):
        "parameter 0: a blob cannot have the shape [65536, 65536]",
    one("InnerProduct", "inner_product_param { num_output: 2147483647 }", 2, 3):
        "parameter 0: a blob cannot have the shape [2147483647, 3]",
    one("Convolution", "convolution_param { num_output: 2147483647 kernel_size: 1 }", *IMAGE):
        "parameter 0: a blob cannot have the shape [2147483647, 3, 1, 1]",
    one("Convolution", "convolution_param { num_output: 2 kernel_size: 2147483647 }", *IMAGE):
        "parameter 0: a blob cannot have the shape [2, 3, 2147483647, 2147483647]",
    one("Embed", "embed_param { num_output: 10 input_dim: 2147483647 }", 2):
        "parameter 0: a blob cannot have the shape [2147483647, 10]",
    # -- settings that an int of 32 bits cannot hold
    one("InnerProduct", "inner_product_param { num_output: 4294967295 }", 2, 3):
        "num_output is 4294967295; the most is 2147483647",
    one("Convolution", "convolution_param { num_output: 2 kernel_size: 4294967295 }", *IMAGE):
        "kernel_size is 4294967295; the most is 2147483647",
    one("Convolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 4294967295 }",
        *IMAGE): "stride is 4294967295; the most is 2147483647",
    one("LRN", "lrn_param { local_size: 4294967295 }", *IMAGE):
        "local_size is 4294967295; the most is 2147483647",
    one("Pooling", "pooling_param { kernel_size: 2147483648 }", *IMAGE):
        "kernel_size is 2147483648; the most is 2147483647",
}  # fmt: skip
# What BVLC's build takes for a small or a negative number, and goes on with.
WRAPPED = {
    input_of(2**32 + 3): "top 'y': a blob cannot have the shape [4294967299]",
    one("Convolution", "convolution_param { num_output: 2 kernel_size: 1 pad: 4294967295 }",
        *IMAGE): "pad is 4294967295; the most is 2147483647",
    one("Pooling", "pooling_param { kernel_size: 3 stride: 4294967295 }", *IMAGE):
        "stride is 4294967295; the most is 2147483647",
}  # fmt: skip
# The largest that there are.
TAKEN = [
    input_of(2**31 - 1),
    input_of(2**31 - 1, 0, 1),
    input_of(*[1] * 32),
    one("Tile", "tile_param { tiles: 2147483647 }", 1, 1),
    one("Convolution", "convolution_param { num_output: 1 kernel_size: 1 pad: 20000 }", 1, 1, 4, 4),
]


def small_alone(make):
    """``make`` where it makes a few values, as for a parameter that can be."""

    def checked(shape, *more, **settings):
        assert np.prod(shape) < 1000, f"allocates {shape}"
        return make(shape, *more, **settings)

    return checked


@pytest.mark.parametrize("text", [*TOO_LARGE, *WRAPPED])
def test_what_is_too_large_names_the_layer_and_allocates_nothing(text, monkeypatch):
    for module, name in ((torch, "empty"), (torch, "zeros"), (np, "empty"), (np, "zeros")):
        monkeypatch.setattr(module, name, small_alone(getattr(module, name)))
    says = (TOO_LARGE | WRAPPED)[text]
    with pytest.raises(LayerError, match=rf"^layer 'it' \(\w+\): .*{re.escape(says)}"):
        build(text)


@pytest.mark.parametrize("text", TAKEN)
def test_the_largest_shapes_are_taken(text):
    assert build(text).blobs["y"].shape


STATUSES = """
import json, os, sys
import caffe
statuses = []
for text in json.load(open("texts.json")):
    with open("net", "w") as stream:
        stream.write(text)
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        caffe.Net("net", caffe.TRAIN)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
print(statuses)
"""


@pytest.mark.oracle
def test_bvlc_has_the_same_bounds(bvlc: Build):
    texts = [*TOO_LARGE, *WRAPPED, *TAKEN]
    found = bvlc.python(STATUSES, files={"texts.json": json.dumps(texts)}).json()
    expected = [6] * len(TOO_LARGE) + [0] * (len(WRAPPED) + len(TAKEN))
    assert dict(zip(texts, found, strict=True)) == dict(zip(texts, expected, strict=True))


@pytest.mark.parametrize("shape", [(2**31,), (2**16, 2**16), (1,) * 33, (-1,), (2**31 - 1, 2, 0)])
def test_blobs_keep_their_shape_where_a_new_one_is_impossible(shape):
    blob = Blob((2, 3))
    with pytest.raises(ShapeMismatchError, match=r"a blob (cannot have the shape|has 33 axes)"):
        blob.reshape(*shape)
    assert (blob.shape, blob.data.shape) == ((2, 3), (2, 3))


def test_the_bounds_are_caffes():
    assert (MAX_COUNT, MAX_AXES) == (2**31 - 1, 32)
    assert not why_impossible((MAX_COUNT,))
    assert not why_impossible((1,) * MAX_AXES)
    assert why_impossible((MAX_COUNT + 1,))
    assert why_impossible((1,) * (MAX_AXES + 1))


def test_an_input_that_grows_too_large_for_a_layer_names_the_layer():
    net = build(one("Tile", "tile_param { tiles: 100000 }", 1, 3))
    net.blobs["x"].reshape(1, 100000)
    for run in (net.reshape, lambda: net.forward_layers(0, 1), lambda: net.forward_backward(False)):
        with pytest.raises(LayerError, match=r"'it' \(Tile\): top 'y': a blob cannot have"):
            run()


def test_every_uint32_setting_has_a_bound():
    """Of every parameter that a layer type may read, those of Caffe's forks as well."""
    tried = 0
    for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields:
        for setting in field.message_type.fields if field.name.endswith("_param") else ():
            if setting.cpp_type != setting.CPPTYPE_UINT32:
                continue
            param = caffe_pb2.LayerParameter(name="it", type="ReLU", bottom=["x"], top=["y"])
            message, value = getattr(param, field.name), 2**31
            if setting.is_repeated:
                getattr(message, setting.name).append(value)
            else:
                setattr(message, setting.name, value)
            with pytest.raises(LayerError, match=f"{setting.name} is 2147483648; the most"):
                make_layer(param, 0)
            tried += 1
    assert tried > 60
    assert "ReLU" in layer_types()


# -- memory -----------------------------------------------------------------------------------

LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from google.protobuf import text_format
from caffe.proto import caffe_pb2
from recaffe.errors import OutOfMemoryError
from recaffe.net import Net

text, what = sys.argv[1:]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
try:
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), 0)
    if what == "data":
        net.blobs["y"].data
    elif what:
        net.forward_backward(keep=what == "forward")
except OutOfMemoryError as error:
    print(error)
"""
WIDE = one("InnerProduct", "inner_product_param { num_output: 50000000 bias_term: false }", 2, 3)
LONG = one("Tile", "tile_param { tiles: 100000000 }", 1, 3)
SUMMED = 'layer { name: "sum" type: "Reduction" bottom: "y" top: "sum" loss_weight: 1 }'
WEIGHTED = LONG.replace('type: "Tile"', 'type: "Tile" loss_weight: 1')


@pytest.mark.parametrize(
    ("text", "what", "says"),
    [(WIDE, "", r"layer 'it' \(InnerProduct\): expected memory for 600000000 bytes, and there"),
     (WEIGHTED, "", r"layer 'it' \(Tile\): expected memory for 1200000000 bytes"),
     (LONG + SUMMED, "forward", r"layer 'it' \(Tile\): expected memory for 1200000000 bytes"),
     (LONG + SUMMED, "whole", r"net '': expected memory for 1200000000 bytes"),
     (LONG, "data", r"a blob of 300000000 values: expected memory for 1.12 GiB"),
     ],
)  # fmt: skip
def test_memory_that_is_not_there_is_told_with_how_much_was_wanted(text, what, says):
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, text, what], capture_output=True, text=True
    )
    assert re.match(says, done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
      "it: expected memory for 20.00 GiB, and"),
     (MemoryError(), "it: expected memory for what it computes, and"),
     (OutOfMemoryError("a blob: no memory"), "it: a blob: no memory"),
     (RuntimeError("Storage size calculation overflowed with sizes=[1, 3, 9999999999]"),
      r"it: expected memory for sizes=\[1, 3, 9999999999\], and")],
)  # fmt: skip
def test_words_that_torch_and_numpy_have_for_it(error, says):
    with pytest.raises(OutOfMemoryError, match=says) as told:
        tell_lack("it", error)
    assert isinstance(told.value, CaffeError)
    assert isinstance(told.value, MemoryError)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), LayerError("unable to allocate 3 seats")])
def test_other_errors_are_not_taken_for_it(error):
    tell_lack("it", error)


@pytest.mark.parametrize(("region", "axes"), [("ACROSS_CHANNELS", 1), ("WITHIN_CHANNEL", 2)])
def test_lrn_of_any_local_size_takes_no_room_but_the_bottoms(region, axes):
    """A window that covers all covers no more if it is larger."""
    values = np.random.default_rng(0).normal(size=IMAGE).astype(np.float32)
    found = []
    for size in (9, 2**31 - 1):
        settings = f"norm_region: {region} local_size: {size} alpha: {size**axes}"
        net = build(one("LRN", f"lrn_param {{ {settings} }}", *IMAGE))
        net.blobs["x"].data[...] = values
        net.forward_layers(0, 1)
        found.append(net.blobs["y"].data)
    np.testing.assert_allclose(*found, rtol=1e-6)
