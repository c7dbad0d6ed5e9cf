"""Every reader on damaged input: it returns, or raises a CaffeError, soon and in little memory.

Whole files of every kind are cut, flipped, spliced and stretched, and messages are made of
fields drawn at random. `make test` draws a few hundred a reader, .ci/run thousands.
"""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_nets import TINY, filled
from test_upgrade import V1

from recaffe.data import datum
from recaffe.errors import CaffeError
from recaffe.net import load_weights
from recaffe.proto import wire
from recaffe.proto.schema import (
    BlobProto,
    Datum,
    NetParameter,
    SolverState,
    message_types,
)
from recaffe.proto.state import read_state
from recaffe.proto.text import read_net, read_solver
from recaffe.proto.weights import read_blob, read_weights

# No input here is longer than some kilobytes.
MOST_SECONDS = 2.0
MOST_BYTES = 8 << 20


# -- whole files ----------------------------------------------------------------------------


def blob(*fields: bytes) -> bytes:
    return wire.field_header(7, len(b"".join(fields))) + b"".join(fields)


SHAPE = b"\x3a\x04\x0a\x02\x03\x03"


def net_of(text: str) -> bytes:
    return text_format.Parse(text, NetParameter()).SerializeToString()


BLOBS = "blobs { num: 1 channels: 1 height: 3 width: 3 data: [1, 2, 3, 4, 5, 6, 7, 8, 9] }"
RAW = blob(SHAPE, b"\x50\x02", wire.field_header(12, 18) + struct.pack("<9e", *range(9)))
CAFFEMODELS = [
    net_of(
        "name: 'tiny' layer { name: 'ip' type: 'InnerProduct' bottom: 'data' blobs { "
        "shape { dim: 3 dim: 3 } data: [1, 2, 3, 4, 5, 6, 7, 8, 9] diff: [1, 2, 3, 4, 5, 6, 7, 8, 9"
        "] } blobs { shape { dim: 3 } double_data: [1, 2, 3] } }"
    ),
    net_of(f"layers {{ name: 'ip' type: INNER_PRODUCT {BLOBS} blobs_lr: 1 }}"),
    net_of(f"layers {{ layer {{ name: 'ip' type: 'innerproduct' {BLOBS} }} bottom: 'data' }}"),
    wire.field_header(100, 4 + len(RAW)) + b"\x0a\x02ip" + RAW,
]
STATES = [
    SolverState(
        iter=5,
        learned_net="m",
        current_step=2,
        history=[BlobProto(shape={"dim": [2]}, data=[1, 2]), BlobProto(num=1, data=[])],
    ).SerializeToString()
]
MEANS = [
    BlobProto(num=1, channels=2, height=1, width=2, data=range(4)).SerializeToString(),
    BlobProto(shape={"dim": [1, 4]}, double_data=range(4)).SerializeToString(),
    b"\x50\x03" + wire.field_header(12, 8) + struct.pack("<2i", 1, 2) + b"\x3a\x03\x0a\x01\x02",
]
PICTURE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
RECORDS = [
    Datum(channels=3, height=4, width=5, data=PICTURE.tobytes(), label=3).SerializeToString(),
    Datum(channels=1, height=2, width=1, float_data=[1, 2], label=3).SerializeToString(),
    *(
        Datum(data=cv2.imencode(kind, PICTURE)[1].tobytes(), encoded=True).SerializeToString()
        for kind in (".png", ".jpg", ".bmp")
    ),
]
NETS = [
    V1.encode(),
    TINY.encode(),
    b"input: 'data' input_dim: [1, 3, 8, 8]\n"
    b"layers { layer { name: 'p' type: 'padding' pad: 2 } bottom: 'data' top: 'p' }\n"
    b"layers { layer { name: 'c' type: 'conv' num_output: 2 kernelsize: 3 } bottom: 'p' top: 'c' }",
    b'name: "caf\xc3\xa9\\n\\x41\\101" # a comment\nforce_backward: t; state < phase: TEST, >',
]
SOLVERS = [
    b"net: 'net.prototxt' base_lr: 0.01 lr_policy: 'step' stepsize: 10 gamma: 1e-1 max_iter: 0x10\n"
    b"solver_type: NESTEROV test_iter: [1, 2] net_param { layer { name: 'a' } } snapshot_diff: 1",
]

# -- readers --------------------------------------------------------------------------------


def _state(path: Path) -> None:
    saved = read_state(path)
    assert sum(array.size for array in saved.history) < MOST_BYTES


def _weights(path: Path) -> None:
    for layer in read_weights(path):
        for array in layer.blobs:
            float(array.sum(dtype=np.float64))


def _into_a_net(path: Path) -> None:
    load_weights(filled(TINY), path)


def _mean(path: Path) -> None:
    float(read_blob(path).sum(dtype=np.float64))


def _record(path: Path) -> None:
    record = datum.parse(path.read_bytes(), "record")
    for color in (None, True, False):
        assert datum.to_array(record, "record", color).ndim == 3


READERS: dict[str, tuple[Callable[[Path], Any], list[bytes]]] = {
    "net.prototxt": (read_net, NETS),
    "solver.prototxt": (read_solver, SOLVERS),
    "net.caffemodel": (_weights, CAFFEMODELS),
    "into.caffemodel": (_into_a_net, CAFFEMODELS),
    "x.solverstate": (_state, STATES),
    "mean.binaryproto": (_mean, MEANS),
    "record": (_record, RECORDS),
}
EVERY = [content for _, contents in READERS.values() for content in contents]


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    """pytest keeps every line that is logged, and thousands of nets are made here."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@contextmanager
def bounded() -> Iterator[None]:
    """Little time and memory for what is done in here."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        seconds = time.process_time() - started
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < MOST_SECONDS
    assert most < MOST_BYTES


def check(folder: Path, name: str, content: bytes) -> None:
    """The property: a value or a CaffeError that names the file."""
    read, _ = READERS[name]
    path = folder / name
    # Anew, never in place: arrays may still view the file before.
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    told = ""
    with bounded():
        try:
            read(path)
        except CaffeError as error:
            told = str(error)
    if told:
        assert told.startswith(("record", str(path)))
        assert len(told) < 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(folder: Path, name: str) -> None:
    read, contents = READERS[name]
    for content in contents:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)
        if name == "into.caffemodel":
            with suppress(CaffeError):
                read(folder / name)
        else:
            read(folder / name)


@pytest.mark.parametrize("name", READERS)
def test_every_cut(folder: Path, name: str) -> None:
    for content in READERS[name][1]:
        for size in range(0, len(content), 1 + len(content) // 100):
            check(folder, name, content[:size])


@pytest.mark.parametrize("name", READERS)
def test_every_other_kind_of_file(folder: Path, name: str) -> None:
    for content in EVERY:
        check(folder, name, content)


# -- damage ---------------------------------------------------------------------------------

# What a parser stumbles over: ends and bounds of numbers, tags of groups, quotes, braces.
SHARDS = [
    *(bytes([byte]) for byte in (0, 1, 0x7F, 0x80, 0xFF, 0x0B, 0x0C, 0x0E)),
    *(b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 11, b"\xff\xff\xff\xff\x07"),
    *(b"\x3a\x0b\x0a\x09" + wire.varint(2**62), b"\x0a\x00", b"\x50\x02", b"\x62\x01"),
    *(b"{", b"}", b'"', b"'", b"\\", b"[", b"]", b"<", b":", b"#", b"\n", b"-", b"inf", b"1e999"),
    *(b"layer {", b"layers { layer {", b"999999999999999999999", b"\\777", b"\xc3", b"dim: -1 "),
]


@st.composite
def damaged(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        match draw(st.integers(0, 5)):
            case 0:
                content = content[:start]
            case 1:
                content = content[:start] + draw(st.sampled_from(SHARDS)) + content[end:]
            case 2:
                content = content[:start] + draw(st.binary(max_size=8)) + content[end:]
            case 3:
                content = content[:end] + content[start:end] * draw(st.integers(1, 8)) + (
                    content[end:]
                )  # fmt: skip
            case 4:
                other = draw(st.sampled_from(EVERY))
                content = content[:start] + other[draw(st.integers(0, len(other))) :]
            case 5 if start < len(content):
                flipped = content[start] ^ 1 << draw(st.integers(0, 7))
                content = content[:start] + bytes([flipped]) + content[start + 1 :]
    return content


numbers = st.sampled_from(
    sorted({field.number for kind in message_types().values() for field in kind.fields})
) | st.integers(1, 2**29 - 1)
varints = st.integers(0, 2**64 - 1) | st.integers(0, 8) | st.sampled_from([2**31 - 1, 2**31, 2**63])


def tagged(number: int, wire_type: int, content: bytes) -> bytes:
    return wire.varint(number << 3 | wire_type) + content


def lengthened(content: bytes) -> bytes:
    return wire.varint(len(content)) + content


messages = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(
        st.one_of(
            st.builds(lambda n, c: tagged(n, 2, lengthened(c)), numbers, inner),
            st.builds(lambda n, c: tagged(n, 3, c + tagged(n, 4, b"")), numbers, inner),
            st.builds(lambda n, v: tagged(n, 0, wire.varint(v)), numbers, varints),
            st.builds(lambda n, c: tagged(n, 5, c), numbers, st.binary(min_size=4, max_size=4)),
            st.builds(lambda n, c: tagged(n, 1, c), numbers, st.binary(min_size=8, max_size=8)),
        ),
        max_size=6,
    ).map(b"".join),
    max_leaves=30,
)


def huge(*dims: int) -> bytes:
    packed = b"".join(wire.varint(dim & (1 << 64) - 1) for dim in dims)
    shape = b"\x0a" + lengthened(packed)
    return wire.field_header(7, len(shape)) + shape


FOUND = [
    # claims that are larger than any memory
    huge(2**31 - 1) + b"\x2a\x04abcd",
    huge(46340, 46340) + b"\x2a\x04abcd",
    huge(2**62, 0),
    huge(0, 2**31 - 1),
    huge(-1, -1) + b"\x2a\x04abcd",
    huge(*[2] * 31) + b"\x2a\x04abcd",
    huge(*[1] * 5000) + b"\x2a\x04abcd",
    huge(*[2**63 - 1] * 1000),
    b"\x08\xff\xff\xff\xff\x07\x10\xff\xff\xff\xff\x07\x18\xff\xff\xff\xff\x07\x20\x01",
    Datum(channels=2**31 - 1, height=2**31 - 1, width=2**31 - 1).SerializeToString(),
    Datum(channels=-1, height=-1, width=1, data=b"a").SerializeToString(),
    Datum(encoded=True).SerializeToString(),
    # lengths that are
    b"\x0a\xff\xff\xff\xff\x0f",
    b"\xa2\x06\xff\xff\xff\xff\x07",
    # deep nesting
    b"\x0b" * 5000,
    b"\x0b" * 100 + b"\x0c" * 100,
    b"layer {" * 5000,
    b"net_param { layer { " * 200,
    b"[" * 5000,
    # a signature of HDF5 with nothing behind
    b"\x89HDF\r\n\x1a\n",
    b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", FOUND, ids=range(len(FOUND)))
def test_what_was_found(folder: Path, name: str, content: bytes) -> None:
    check(folder, name, content)
    layer = b"\x0a\x02ip" + wire.field_header(7, len(content)) + content
    check(folder, name, wire.field_header(100, len(layer)) + layer)
    check(folder, name, wire.field_header(3, len(content)) + content + b"\x08\x01")


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_fuzz_formats import FOUND, MEMORY, READERS, CaffeError

with open("/proc/self/statm") as stream:
    now = int(stream.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
for index, content in enumerate(FOUND):
    for name, (read, _) in READERS.items():
        path = Path(sys.argv[2], f"{index}-{name}")
        path.write_bytes(content)
        try:
            read(path)
        except CaffeError:
            pass
print("whole")
"""
# Torch's and OpenCV's threads take some address space, too.
MEMORY = 512 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the process's size")
def test_what_was_found_takes_no_memory_outside_of_python_either(folder: Path) -> None:
    arguments = [str(Path(__file__).parent), str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-2000:]


FEW = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MANY = settings(FEW, max_examples=1000)


def fuzzed(contents: list[bytes]) -> st.SearchStrategy[bytes]:
    framed = st.builds(
        lambda n, c: tagged(n, 2, lengthened(c)), st.sampled_from([1, 2, 3, 5, 7, 100]), messages
    )
    return damaged(contents) | messages | framed


@pytest.mark.parametrize("name", READERS)
@FEW
@given(data=st.data())
def test_damaged_files(folder: Path, name: str, data: st.DataObject) -> None:
    check(folder, name, data.draw(fuzzed(READERS[name][1])))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@MANY
@given(data=st.data())
def test_damaged_files_by_the_thousand(folder: Path, name: str, data: st.DataObject) -> None:
    check(folder, name, data.draw(fuzzed(READERS[name][1])))
