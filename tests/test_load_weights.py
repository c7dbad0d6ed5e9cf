"""Copying weights by layer name: what is taken and what refused, as by BVLC, and how fast."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bvlc import Build
from small_nets import TINY, filled

from recaffe.errors import FormatError, ShapeMismatchError
from recaffe.net import Net, load_weights, save_weights
from recaffe.proto import wire
from recaffe.proto.schema import (
    BlobProto,
    LayerParameter,
    NetParameter,
    V1LayerParameter,
)

NET = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip"
  inner_product_param { num_output: 2 } }
layer { name: "r" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "s1" type: "InnerProduct" bottom: "d" top: "s1" param { name: "w" }
  inner_product_param { num_output: 2 bias_term: false } }
layer { name: "s2" type: "InnerProduct" bottom: "s1" top: "s2"
  param { name: "w" share_mode: PERMISSIVE }
  inner_product_param { num_output: 3 bias_term: false } }
"""


def blob(
    values: Sequence[float], *shape: int, legacy: Sequence[int] = (), name: str = "data"
) -> bytes:
    message = BlobProto()
    getattr(message, name).extend(values)
    if shape:
        message.shape.dim.extend(shape)
    if legacy:
        message.num, message.channels, message.height, message.width = legacy
    return message.SerializeToString()


def layer(name: str, *blobs: bytes, more: bytes = b"") -> bytes:
    content = LayerParameter(name=name).SerializeToString() + more
    content += b"".join(wire.field_header(7, len(each)) + each for each in blobs)
    return wire.field_header(100, len(content)) + content


def v1_layer(name: str, *blobs: bytes) -> bytes:
    content = V1LayerParameter(name=name, type=V1LayerParameter.INNER_PRODUCT).SerializeToString()
    content += b"".join(wire.field_header(6, len(each)) + each for each in blobs)
    return wire.field_header(2, len(content)) + content


SIX = [1, 2, 3, 4, 5, 6]
W, B = blob(SIX, 2, 3), blob([7, 8], 2)
GROUP = b"\xc3\x3e\x08\x01\xc4\x3e"  # group 1000, with field 1 in it
# What both take, and the values of "ip" after it where they are not 1 to 8.
TAKEN: dict[str, bytes] = {
    "as it is": layer("ip", W, B),
    "four numbers": layer("ip", blob(SIX, legacy=(1, 1, 2, 3)), blob([7, 8], legacy=(1, 1, 1, 2))),
    "four numbers beside a shape": layer("ip", blob(SIX, 9, 9, legacy=(1, 1, 2, 3)), B),
    "doubles": layer("ip", blob(SIX, 2, 3, name="double_data"), B),
    "doubles beside floats": layer("ip", blob(SIX, 2, 3, name="double_data") + blob([9] * 6), B),
    "diffs": layer("ip", W + blob([9] * 6, name="diff"), B),
    "diffs in double win": layer(
        "ip", W + blob([9], name="diff") + blob([9] * 6, name="double_diff"), B
    ),
    "a float a field": layer(
        "ip", blob([], 2, 3) + b"".join(b"\x2d" + struct.pack("<f", v) for v in SIX), B
    ),
    "two runs of floats": layer("ip", blob(SIX[:2], 2, 3) + blob(SIX[2:]), B),
    "two shapes": layer("ip", blob(SIX, 2) + blob([], 3), B),
    "a layer without blobs that the net's has not either": layer("r") + layer("ip", W, B),
    "an unknown layer": layer("other", W) + layer("ip", W, B),
    "an unknown layer that does not hold together": layer("other", blob([1], 5))
    + layer("ip", W, B),
    "an unknown layer of a shape that none can have": layer("other", blob([1], 2**40))
    + layer("ip", W, B),
    "a layer twice": layer("ip", blob([0] * 6, 2, 3), B) + layer("ip", W, B),
    "a layer without a name": layer("", W) + layer("ip", W, B),
    "V1": v1_layer("ip", W, B),
    "names that are no text": b"\x0a\x01\xff"
    + layer("caf", more=b"\x12\x01\xff")
    + layer("ip", W, B),
    "groups": GROUP + layer("ip", W + GROUP, B, more=GROUP),
    "groups in groups": b"\xc3\x3e" * 99 + b"\xc4\x3e" * 99 + layer("ip", W, B),
    "unknown fields": layer("ip", W, B, more=b"\xfa\x7f\x03abc") + b"\xf8\x7f\x05",
    "known fields of other wire types": layer(
        "ip", W + b"\x28\x05", B, more=b"\x08\x05" + b"\x38\x05"
    ),
    "an unknown phase": layer("ip", W, B, more=b"\x50\x63"),
    "input fields": NetParameter(input=["d"], input_dim=[1, 2]).SerializeToString()
    + layer("ip", W, B),
    "an empty layer behind": layer("ip", W, B) + b"\xa2\x06\x00",
    "shared, at the owner": layer("s1", W) + layer("ip", W, B),
    "shared, at both": layer("s1", W) + layer("s2", blob(SIX, 3, 2)) + layer("ip", W, B),
    "shared, at the other": layer("s2", blob(SIX, 3, 2)) + layer("ip", W, B),
}
MISMATCHED: dict[str, bytes] = {
    "four axes": layer("ip", blob(SIX, 1, 1, 2, 3), B),
    "four numbers, behind": layer("ip", blob(SIX, legacy=(2, 3, 1, 1)), B),
    "four numbers, between": layer("ip", blob(SIX, legacy=(1, 2, 1, 3)), B),
    "another shape": layer("ip", blob(SIX, 3, 2), B),
    "too few blobs": layer("ip", W),
    "too many blobs": layer("ip", W, B, B),
    "no blobs": layer("ip"),
    "blobs for a layer that has none": layer("r", W),
    "a layer twice, once wrong": layer("ip", W, B) + layer("ip", W),
    "shared, of the owner's shape": layer("s2", W),
}
BROKEN: dict[str, bytes] = {
    "four numbers of another count": layer("ip", blob(SIX, 2, 3, legacy=(1, 1, 2, 4)), B),
    "only two of the four numbers": layer(
        "ip", BlobProto(height=2, width=3, data=SIX).SerializeToString(), B
    ),
    "no shape": layer("ip", blob(SIX), B),
    "too few values": layer("ip", blob(SIX[:5], 2, 3), B),
    "too many values": layer("ip", blob([*SIX, 7], 2, 3), B),
    "no values": layer("ip", blob([], 2, 3), B),
    "too few doubles": layer("ip", blob(SIX[:5], 2, 3, name="double_data") + blob(SIX), B),
    "too few diffs": layer("ip", W + blob([1], name="diff"), B),
    "a negative shape": layer("ip", blob(SIX, -2, -3), B),
    "values cut within a float": layer("ip", blob([], 2, 3) + b"\x2a\x19" + b"\0" * 25, B),
    "two forms": layer("ip", W, B) + v1_layer("old"),
    "cut": layer("ip", W, B)[:-1],
    "a group that does not end": b"\xc3\x3e\x08\x01" + layer("ip", W, B),
    "a group that ends as another": b"\xc3\x3e\xcc\x3e" + layer("ip", W, B),
    "groups in groups, too deep": b"\xc3\x3e" * 101 + b"\xc4\x3e" * 101 + layer("ip", W, B),
    "a field's number too large": b"\xf8\xff\xff\xff\xff\x7f\x05" + layer("ip", W, B),
    "a number too long": b"\x28" + b"\x80" * 10 + b"\x01" + layer("ip", W, B),
    "a length too long": b"\x0a\x81\x80\x80\x80\x80\x00n" + layer("ip", W, B),
    "a length that is negative": b"\x0a" + b"\xff" * 9 + b"\x01" + layer("ip", W, B),
}
# BVLC takes these for whole: it stops at a field of number 0 without a word, so that a
# prototxt given for a caffemodel, or a file of zeros, leaves the net as it was.
REFUSED_BY_US: dict[str, bytes] = {
    "nothing": b"",
    "a name only": b"\x0a\x01n",
    "text": b'layer { name: "ip" }',
    "zeros": b"\0" * 10,
    "zeros behind": layer("ip", W, B) + b"\0",
    "the end of a group": b"\xc4\x3e" + layer("ip", W, B),
}
# And these it refuses, because it reads more than names and blobs: forks have their own
# parameters under the same numbers.
TAKEN_BY_US: dict[str, bytes] = {
    "a parameter that does not parse": layer("ip", W, B, more=b"\xd2\x06\x02\xff\xff"),
    "a parameter that is not whole": layer("ip", W, B, more=b"\xa2\x09\x05" + b"\x0d\0\0\0\0"),
}


def made() -> Net:
    return filled(NET)


def loaded(content: bytes, folder: Path) -> Net:
    path = folder / "w.caffemodel"
    path.write_bytes(content)
    net = made()
    load_weights(net, path)
    return net


def ours(net: Net) -> dict[str, list[list[float]]]:
    return {name: [b.data.ravel().tolist() for b in blobs] for name, blobs in net.params.items()}


@pytest.mark.parametrize("name", [*TAKEN, *TAKEN_BY_US])
def test_what_is_taken(name: str, tmp_path: Path) -> None:
    found = ours(loaded((TAKEN | TAKEN_BY_US)[name], tmp_path))
    assert found["ip"] == [[1, 2, 3, 4, 5, 6], [7, 8]]
    if name.startswith("shared"):
        assert found["s1"] == found["s2"] == [[1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize("name", MISMATCHED)
def test_what_does_not_fit(name: str, tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatchError, match=r"layer '(ip|r|s2)'.*; rename the net's layer"):
        loaded(MISMATCHED[name], tmp_path)


@pytest.mark.parametrize("name", [*BROKEN, *REFUSED_BY_US])
def test_what_is_no_caffemodel(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"w\.caffemodel: "):
        loaded((BROKEN | REFUSED_BY_US)[name], tmp_path)


def test_a_blob_that_does_not_hold_together_names_its_layer(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"model: layer 'ip', blob 0: .*\[2, 3\] holds 6 values"):
        loaded(BROKEN["too few values"], tmp_path)


COPY = """
import json, os, sys
import caffe

answer = []
for name in sorted(os.listdir("in")):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        net = caffe.Net("net.prototxt", caffe.TEST)
        net.copy_from("in/" + name)
        found = {n: [b.data.ravel().tolist() for b in blobs] for n, blobs in net.params.items()}
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    found = os.read(reader, 1 << 20).decode()
    os.close(reader)
    os.waitpid(child, 0)
    answer.append(json.loads(found) if found else None)
json.dump(answer, sys.stdout)
"""


@pytest.mark.oracle
def test_bvlc_takes_and_refuses_the_same(bvlc: Build, tmp_path: Path) -> None:
    every = TAKEN | MISMATCHED | BROKEN | REFUSED_BY_US | TAKEN_BY_US
    files = {f"in/{index:03}": content for index, content in enumerate(every.values())}
    answers = bvlc.python(COPY, files={"net.prototxt": NET, **files}).json()
    theirs = dict(zip(every, answers, strict=True))
    for name, content in TAKEN.items():
        assert theirs[name] is not None, name
        found = ours(loaded(content, tmp_path))
        assert {n: b for n, b in theirs[name].items() if any(map(any, b))} == {
            n: found[n] for n, b in theirs[name].items() if any(map(any, b))
        }
    refused = [name for name in every if theirs[name] is None]
    assert refused == [*MISMATCHED, *BROKEN, *TAKEN_BY_US]


# -- raw values -----------------------------------------------------------------------------

RAW = {
    0: ("<f8", [0.5, -1.25, 3, 4, 5, 6]),
    1: ("<f4", [0.5, -1.25, 3, 4, 5, 6]),
    2: ("<f2", [0.5, -1.25, 3, 4, 5, 6]),
    3: ("<i4", [-1, 2, 3, 4, 5, 1 << 20]),
    4: ("<u4", [1, 2, 3, 4, 5, 1 << 31]),
    5: ("?", [1, 0, 1, 1, 0, 0]),
}


def raw(kind: int, values: Any, *shape: int) -> bytes:
    content = np.asarray(values, RAW[kind][0]).tobytes()
    header = b"\x50" + wire.varint(kind) + wire.field_header(12, len(content))
    return header + content + blob([], *shape)


@pytest.mark.parametrize("kind", RAW)
def test_nvcaffes_raw_values_are_read_and_written_as_floats(kind: int, tmp_path: Path) -> None:
    _, values = RAW[kind]
    net = loaded(layer("ip", raw(kind, values, 2, 3), raw(kind, values[:2], 2)), tmp_path)
    assert net.params["ip"][0].data.dtype == np.float32
    assert ours(net)["ip"] == [values, values[:2]]
    save_weights(net, tmp_path / "plain.caffemodel")
    written = NetParameter.FromString((tmp_path / "plain.caffemodel").read_bytes())
    (saved,) = [each for each in written.layer if each.name == "ip"]
    assert [list(each.data) for each in saved.blobs] == [values, values[:2]]
    assert {field.name for field, _ in saved.blobs[0].ListFields()} == {"shape", "data"}


@pytest.mark.oracle
def test_bvlc_reads_what_was_raw(bvlc: Build, tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for kind, (_, values) in RAW.items():
        net = loaded(layer("ip", raw(kind, values, 2, 3), raw(kind, values[:2], 2)), tmp_path)
        save_weights(net, tmp_path / "plain.caffemodel")
        files[f"in/{kind}"] = (tmp_path / "plain.caffemodel").read_bytes()
    answers = bvlc.python(COPY, files={"net.prototxt": NET, **files}).json()
    assert [each["ip"] for each in answers] == [[v, v[:2]] for _, v in RAW.values()]


def test_opencvs_half_precision_files_are_read(tmp_path: Path) -> None:
    net = filled(TINY)
    save_weights(net, tmp_path / "w.caffemodel")
    cv2.dnn.shrinkCaffeModel(
        str(tmp_path / "w.caffemodel"), str(tmp_path / "half.caffemodel"), ["InnerProduct"]
    )
    assert b"\x50\x02" in (tmp_path / "half.caffemodel").read_bytes()  # raw_data_type: FLOAT16
    other = filled(TINY)
    load_weights(other, tmp_path / "half.caffemodel")
    for found, expected in zip(other.learnable, net.learnable, strict=True):
        np.testing.assert_array_equal(found.data, expected.data.astype(np.float16))


# -- memory -----------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.slow
def test_loading_a_caffenet_takes_little_more_memory_than_the_net(bvlc: Build, tmp_path: Path):
    """And the benchmark, which says how long it takes beside BVLC, runs."""
    benchmarks = Path(__file__).resolve().parents[1] / "benchmarks"
    figures = tmp_path / "figures.json"
    subprocess.run(
        [sys.executable, benchmarks / "load_weights.py", "--rounds", "1", "--json", figures],
        check=True,
    )
    measured = json.loads(figures.read_text())
    assert measured["ratios"]
    # The file takes 244 MB, the net twice that while its copy is made.
    assert max(each["memory_mb"] for each in measured["sides"]["ours"]) < 1200
