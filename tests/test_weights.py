"""Weight files: caffemodel, solverstate and mean file, by written-out bytes and cut anywhere."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaffe import files
from recaffe.errors import FormatError
from recaffe.files import write_whole
from recaffe.proto.schema import LayerParameter, NetParameter, SolverState
from recaffe.proto.weights import (
    LayerWeights,
    read_blob,
    read_state,
    read_weights,
    write_state,
    write_weights,
)

ONE_TWO = b"\x00\x00\x80\x3f\x00\x00\x00\x40"  # 1.0, 2.0 as little-endian floats
BLOB = b"\x2a\x08" + ONE_TWO + b"\x3a\x04\x0a\x02\x01\x02"  # data, shape { dim: 1 dim: 2 }
assert len(BLOB) == 0x10

# name: "n"  layer { name: "ip" type: "InnerProduct" blobs {…} }
LAYER = b"\x0a\x02ip" + b"\x12\x0cInnerProduct" + b"\x3a\x10" + BLOB
CAFFEMODEL = b"\x0a\x01n" + b"\xa2\x06\x24" + LAYER
assert len(LAYER) == 0x24

# layers { name: "ip" type: INNER_PRODUCT blobs { num: 1 … width: 2 data: 1 data: 2 } }
V1_BLOB = b"\x08\x01\x10\x01\x18\x01\x20\x02" + b"\x2a\x08" + ONE_TWO
V1_LAYER = b"\x22\x02ip" + b"\x28\x0e" + b"\x32\x12" + V1_BLOB
V1_CAFFEMODEL = b"\x12\x1a" + V1_LAYER
assert len(V1_BLOB) == 0x12
assert len(V1_LAYER) == 0x1A

# iter: 5  learned_net: "m"  history {…}  current_step: 0
SOLVERSTATE = b"\x08\x05" + b"\x12\x01m" + b"\x1a\x10" + BLOB + b"\x20\x00"


def file_of(folder: Path, content: bytes, name: str = "x.caffemodel") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def only_layer(path: Path) -> LayerWeights:
    (layer,) = read_weights(path)
    return layer


# --- goldens --------------------------------------------------------------------------


def test_caffemodel_golden(tmp_path: Path) -> None:
    layer = only_layer(file_of(tmp_path, CAFFEMODEL))
    assert (layer.name, layer.type) == ("ip", "InnerProduct")
    (blob,) = layer.blobs
    np.testing.assert_array_equal(blob, np.array([[1, 2]], np.float32), strict=True)


def test_caffemodel_written_is_this(tmp_path: Path) -> None:
    parameter = LayerParameter(name="ip", type="InnerProduct")
    data = np.array([[1, 2]], np.float32)
    write_weights(tmp_path / "x.caffemodel", "n", [(parameter, [(data, None)])])
    assert (tmp_path / "x.caffemodel").read_bytes() == CAFFEMODEL


def test_v1_caffemodel_golden(tmp_path: Path) -> None:
    layer = only_layer(file_of(tmp_path, V1_CAFFEMODEL))
    assert (layer.name, layer.type) == ("ip", "InnerProduct")
    assert layer.blobs[0].tolist() == [[[[1, 2]]]]


def test_solverstate_golden(tmp_path: Path) -> None:
    state, history = read_state(file_of(tmp_path, SOLVERSTATE, "x.solverstate"))
    assert state == SolverState(iter=5, learned_net="m", current_step=0)
    assert [array.tolist() for array in history] == [[[1, 2]]]


def test_solverstate_written_is_read_by_protobuf(tmp_path: Path) -> None:
    path = tmp_path / "x.solverstate"
    data = np.array([[1, 2]], np.float32)
    write_state(path, SolverState(iter=5, learned_net="m", current_step=0), [data, data[0]])
    state = SolverState.FromString(path.read_bytes())
    assert (state.iter, state.learned_net, state.HasField("current_step")) == (5, "m", True)
    assert [list(blob.data) for blob in state.history] == [[1, 2], [1, 2]]
    assert [list(blob.shape.dim) for blob in state.history] == [[1, 2], [2]]
    read, history = read_state(path)
    del state.history[:]
    assert read == state
    assert [array.shape for array in history] == [(1, 2), (2,)]


def test_mean_file_golden(tmp_path: Path) -> None:
    assert read_blob(file_of(tmp_path, V1_BLOB, "mean.binaryproto")).tolist() == [[[[1, 2]]]]


# --- against protobuf -----------------------------------------------------------------


def test_protobuf_reads_the_caffemodel_we_write(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(4, 3, 2, 2)).astype(np.float32)
    bias = random.normal(size=4).astype(np.float32)
    convolution = LayerParameter(name="conv", type="Convolution", bottom=["data"], top=["conv"])
    convolution.convolution_param.num_output = 4
    relu = LayerParameter(name="relu", type="ReLU")
    layers = [(convolution, [(weights, 2 * weights), (bias, None)]), (relu, [])]
    write_weights(tmp_path / "x.caffemodel", "net", layers)

    net = NetParameter.FromString((tmp_path / "x.caffemodel").read_bytes())
    assert (net.name, [layer.name for layer in net.layer]) == ("net", ["conv", "relu"])
    saved = net.layer[0]
    np.testing.assert_array_equal(np.reshape(saved.blobs[0].data, weights.shape), weights)
    np.testing.assert_array_equal(np.reshape(saved.blobs[0].diff, weights.shape), 2 * weights)
    np.testing.assert_array_equal(saved.blobs[1].data, bias)
    assert not saved.blobs[1].diff
    saved.ClearField("blobs")
    assert saved == convolution

    layer, without = read_weights(tmp_path / "x.caffemodel")
    assert (without.name, without.type, without.blobs) == ("relu", "ReLU", [])
    np.testing.assert_array_equal(layer.blobs[0], weights, strict=True)
    np.testing.assert_array_equal(layer.blobs[1], bias, strict=True)


def test_blobs_in_the_parameter_are_not_written_twice(tmp_path: Path) -> None:
    parameter = LayerParameter(name="ip", type="InnerProduct")
    parameter.blobs.add().data.append(7)
    data = np.array([[1, 2]], np.float32)
    write_weights(tmp_path / "x.caffemodel", "n", [(parameter, [(data, None)])])
    assert (tmp_path / "x.caffemodel").read_bytes() == CAFFEMODEL
    assert len(parameter.blobs) == 1


def test_what_protobuf_writes_is_read(tmp_path: Path) -> None:
    net = NetParameter(name="n", input=["data"])
    for number, name in enumerate(("a", "b", "none")):
        layer = net.layer.add(name=name, type="Scale")
        for size in range(1, 3) if name != "none" else ():
            blob = layer.blobs.add(data=[number + 1] * size)
            blob.shape.dim.append(size)
    read = read_weights(file_of(tmp_path, net.SerializeToString()))
    assert [(layer.name, [blob.tolist() for blob in layer.blobs]) for layer in read] == [
        ("a", [[1], [1, 1]]),
        ("b", [[2], [2, 2]]),
        ("none", []),
    ]


def test_fields_of_forks_are_skipped(tmp_path: Path) -> None:
    # Field 1000 and a convolution_param that is no ConvolutionParameter.
    strange = b"\xc2\x3e\x03abc" + b"\xd2\x06\x02\xff\xff"
    layer = strange + LAYER
    content = b"\x0a\x01n" + b"\xa2\x06" + bytes([len(layer)]) + layer
    assert only_layer(file_of(tmp_path, content)).blobs[0].tolist() == [[1, 2]]


# --- cut, torn, something else --------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name"), [(CAFFEMODEL, "x.caffemodel"), (V1_CAFFEMODEL, "v1.caffemodel")]
)
def test_every_cut_of_a_caffemodel_is_told(tmp_path: Path, content: bytes, name: str) -> None:
    for size in range(len(content)):
        path = file_of(tmp_path, content[:size], name)
        with pytest.raises(FormatError, match=f"^{path}: "):
            read_weights(path)


def test_a_layer_whose_blob_does_not_hold_together_says_so(tmp_path: Path) -> None:
    wrong = CAFFEMODEL.replace(b"\x3a\x04\x0a\x02\x01\x02", b"\x3a\x04\x0a\x02\x01\x03")
    layer = only_layer(file_of(tmp_path, wrong))
    assert layer.problem == "blob 0: a blob of shape [1, 3] holds 3 values, found 2"
    assert (layer.name, layer.blobs) == ("ip", [])


def test_a_blob_that_is_no_message_is_named(tmp_path: Path) -> None:
    torn = CAFFEMODEL.replace(b"\x3a\x04\x0a\x02\x01\x02", b"\x3a\x04\x0a\x03\x01\x02")
    with pytest.raises(FormatError, match=r"layer 'ip', blob 0: field 1 at byte 0 should have 3"):
        read_weights(file_of(tmp_path, torn))


def test_every_cut_of_a_solverstate_is_told(tmp_path: Path) -> None:
    # Cut between two fields it is a whole message of fewer fields: only what is read counts.
    boundaries = {2: (5, 0), 5: (5, 0), 23: (5, 1)}
    for size in range(len(SOLVERSTATE)):
        path = file_of(tmp_path, SOLVERSTATE[:size], "x.solverstate")
        if size in boundaries:
            state, history = read_state(path)
            assert (state.iter, len(history)) == boundaries[size]
            continue
        with pytest.raises(FormatError, match=f"^{path}: "):
            read_state(path)


def test_every_cut_of_a_mean_file_is_told(tmp_path: Path) -> None:
    for size in range(len(V1_BLOB)):
        path = file_of(tmp_path, V1_BLOB[:size], "mean.binaryproto")
        with pytest.raises(FormatError, match=f"^{path}: "):
            read_blob(path)


READERS = [read_weights, read_state, read_blob]


@pytest.mark.parametrize("read", READERS)
def test_absent_empty_and_folders(tmp_path: Path, read) -> None:
    for name, said in (("none", "no such file"), ("folder", "directory"), ("empty", "is empty")):
        path = tmp_path / name
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "empty").touch()
        with pytest.raises(FormatError) as caught:
            read(path)
        assert str(caught.value).lower().count(said) == 1
        assert str(caught.value).count(str(path)) == 1


def test_solverstate_given_as_weights(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="this is a solver state, not weights"):
        read_weights(file_of(tmp_path, SOLVERSTATE, "x.solverstate"))
    with pytest.raises(FormatError, match="is this a solver state"):
        read_weights(file_of(tmp_path, SOLVERSTATE, "renamed.caffemodel"))


def test_weights_given_as_solverstate(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="these are weights, not a solver state"):
        read_state(file_of(tmp_path, CAFFEMODEL))
    with pytest.raises(FormatError, match=r"renamed\.solverstate: "):
        read_state(file_of(tmp_path, CAFFEMODEL, "renamed.solverstate"))
    with pytest.raises(FormatError, match=r"renamed\.solverstate: "):
        read_state(file_of(tmp_path, V1_CAFFEMODEL, "renamed.solverstate"))


@pytest.mark.parametrize(
    "text",
    ['name: "LeNet"\nlayer { name: "a" }\n', "layer {\n}\n", "# a net\n", 'input: "data"\n', "\n"],
)
def test_prototxt_given_as_caffemodel(tmp_path: Path, text: str) -> None:
    path = file_of(tmp_path, text.encode())
    with pytest.raises(FormatError, match=f"^{path}: "):
        read_weights(path)


def test_no_layer_and_no_blob(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="found no layer in it"):
        read_weights(file_of(tmp_path, b"\x0a\x01n"))
    layer = only_layer(file_of(tmp_path, b"\xa2\x06\x03\x0a\x01a"))
    assert (layer.name, layer.blobs) == ("a", [])


def test_a_name_that_is_no_text_fits_no_layer(tmp_path: Path) -> None:
    content = b"\x0a\x01\xe9" + b"\xa2\x06\x06\x0a\x04caf\xe9" + CAFFEMODEL
    names = [layer.name for layer in read_weights(file_of(tmp_path, content))]
    assert names == [r"caf\xe9", "ip"]


def test_a_path_that_starts_like_the_error_is_still_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layer").write_bytes(CAFFEMODEL.replace(b"\x0a\x02\x01\x02", b"\x0a\x03\x01\x02"))
    with pytest.raises(FormatError, match=r"^layer: not a whole caffemodel: layer 'ip'"):
        read_weights("layer")


torn = st.one_of(
    st.binary(max_size=80),
    # one byte of a whole file changed, or one stretch left out
    *[
        st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)).map(
            lambda change, whole=whole: (
                whole[: change[0]] + bytes([change[1]]) + whole[change[0] + 1 :]
            )
        )
        for whole in (CAFFEMODEL, V1_CAFFEMODEL, SOLVERSTATE)
    ],
    st.tuples(st.integers(0, 41), st.integers(0, 41)).map(
        lambda cut: CAFFEMODEL[: min(cut)] + CAFFEMODEL[max(cut) :]
    ),
)


@settings(max_examples=400, deadline=None)
@given(torn)
def test_no_bytes_raise_anything_but_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = file_of(tmp_path_factory.getbasetemp(), content, "torn")
    for read in READERS:
        with suppress(FormatError):
            read(path)


# --- large files ----------------------------------------------------------------------


def test_a_large_file_is_viewed_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.caffemodel"
    values = np.zeros((25, 1 << 20), np.float32)  # 100 MB
    values[-1, -1] = 7
    parameter = LayerParameter(name="fc", type="InnerProduct")
    write_weights(path, "n", [(parameter, [(values, None), (values[:1], None)])])
    started = time.process_time()
    weights, bias = only_layer(path).blobs
    # A float at a time this takes seconds.
    assert time.process_time() - started < 0.2
    assert weights.base is not None
    assert not weights.flags.writeable
    assert weights[-1, -1] == 7
    assert bias.shape == (1, 1 << 20)


# --- writing: whole or absent ---------------------------------------------------------


def test_written_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, [b"ab", memoryview(b"cd")])
    write_whole(path, [b"ef"])
    assert path.read_bytes() == b"ef"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_weights_read_before_their_file_was_written_anew_stay(tmp_path: Path) -> None:
    path = file_of(tmp_path, CAFFEMODEL)
    (blob,) = only_layer(path).blobs
    parameter = LayerParameter(name="ip", type="InnerProduct")
    write_weights(path, "n", [(parameter, [(np.zeros((1, 2), np.float32), None)])])
    assert blob.tolist() == [[1, 2]]
    assert only_layer(path).blobs[0].tolist() == [[0, 0]]


def test_a_failing_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    def pieces():
        yield b"half of it"
        raise OSError("disk full")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, pieces())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_sync_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(files.os, "fsync", fail)
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="input/output"):
        write_weights(path, "n", [])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", [b"x"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_doubles_are_read_as_doubles(tmp_path: Path) -> None:
    blob = b"\x42\x10" + struct.pack("<2d", 1, 2) + b"\x3a\x03\x0a\x01\x02"
    (array,) = [read_blob(file_of(tmp_path, blob, "mean.binaryproto"))]
    assert (array.dtype, array.tolist()) == (np.float64, [1, 2])
