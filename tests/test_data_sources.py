"""HDF5Data, HDF5Output, MemoryData, DummyData and WindowData: state, draws and mistakes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format
from layer_cases.sources import write_hdf5, write_windows

import caffe
from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.errors import CaffeError, DataError, LayerError, NetError
from recaffe.net import Net

TRAIN, TEST = 0, 1


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net(text: str, phase: int = TEST) -> Net:
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase)


def run(made: Net) -> None:
    made.forward_layers(0, len(made.layers) - 1)


def blob(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


# -- HDF5Data -----------------------------------------------------------------------------


def hdf5_net(settings: str, tops: str = 'top: "t0" top: "t1"') -> Net:
    return net(f'layer {{ name: "h" type: "HDF5Data" {tops} hdf5_data_param {{ {settings} }} }}')


def hdf5_file(name: str, **datasets: object) -> None:
    with h5py.File(name, "w") as file:
        for key, value in datasets.items():
            file[key] = value
    Path("files").write_text(name)


def numbered(counts: list[int]) -> None:
    """Files whose rows are numbered through."""
    first = 0
    for index, count in enumerate(counts):
        hdf5_file(f"{index}.h5", t0=np.arange(first, first + count), t1=np.zeros(count))
        first += count
    Path("files").write_text(" ".join(f"{index}.h5" for index in range(len(counts))))


def rows(made: Net, batches: int) -> list[int]:
    found: list[int] = []
    for _ in range(batches):
        run(made)
        found += made.blobs["t0"].data.astype(int).tolist()
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 20])
def test_rows_go_on_over_files_and_batches(batch_size: int) -> None:
    numbered([3, 1, 2])
    found = rows(hdf5_net(f'source: "files" batch_size: {batch_size}'), 5)
    assert found == [index % 6 for index in range(5 * batch_size)]


def test_shuffled_files_keep_their_rows_together_and_lose_none() -> None:
    numbered([3, 1, 2])
    context.seed(4)
    turns = np.reshape(rows(hdf5_net('source: "files" batch_size: 4 shuffle: true'), 60), (40, 6))
    files = np.array([0, 0, 0, 1, 2, 2])
    orders = set()
    for turn in turns:
        assert sorted(turn) == list(range(6))
        order = list(dict.fromkeys(files[turn]))
        assert files[turn].tolist() == [f for o in order for f in files[files == o]]
        orders.add(tuple(order))
    assert len(orders) > 3
    assert len({tuple(turn) for turn in turns.tolist()}) > 15


def test_a_shuffled_file_alone_is_shuffled_anew() -> None:
    numbered([5])
    context.seed(0)
    turns = np.reshape(rows(hdf5_net('source: "files" batch_size: 5 shuffle: true'), 9), (9, 5))
    assert all(sorted(turn) == list(range(5)) for turn in turns.tolist())
    assert len({tuple(turn) for turn in turns.tolist()}) > 4


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ({"t0": np.zeros(3)}, "no 't1' in /"),
        ({"t0": np.zeros(3), "t1": np.zeros((2, 2))}, "one row for each item, found"),
        ({"t0": np.float32(1), "t1": np.float32(1)}, "one row for each item, found"),
        ({"t0": np.zeros((0, 2)), "t1": np.zeros(0)}, "dataset|empty|should have"),
        ({"t0": np.zeros((2, 0)), "t1": np.zeros(2)}, "dataset|empty|should have"),
        ({"t0": np.array([b"x", b"y"]), "t1": np.zeros(2)}, "not numbers"),
        ({"t0": np.array([True, False]), "t1": np.zeros(2)}, "not numbers"),
    ],
)
def test_hdf5_files_that_cannot_be_used(datasets: dict, said: str) -> None:
    hdf5_file("x.h5", **datasets)
    with pytest.raises(LayerError, match=rf"^layer 'h' \(HDF5Data\): x.h5: .*({said})"):
        hdf5_net('source: "files" batch_size: 2')


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("", "files: lists no HDF5 file"),
        (" \n ", "files: lists no HDF5 file"),
        ("none.h5", "none.h5: no such file"),
        ("files", "files: not a whole file of data"),
    ],
)
def test_lists_of_hdf5_files_that_cannot_be_used(files: str, said: str) -> None:
    Path("files").write_text(files)
    with pytest.raises(LayerError, match=rf"^layer 'h' \(HDF5Data\): {said}"):
        hdf5_net('source: "files" batch_size: 2')


def test_no_list_of_hdf5_files() -> None:
    with pytest.raises(LayerError, match="nowhere: cannot read the list of HDF5 files"):
        hdf5_net('source: "nowhere" batch_size: 2')


def test_a_later_file_of_another_shape_is_named() -> None:
    hdf5_file("a.h5", t0=np.zeros((2, 3)), t1=np.zeros(2))
    hdf5_file("b.h5", t0=np.zeros((2, 4)), t1=np.zeros(2))
    Path("files").write_text("a.h5\nb.h5")
    made = hdf5_net('source: "files" batch_size: 1')
    run(made)
    with pytest.raises(DataError, match=r"^b.h5: expected rows of the shapes .* in the first file"):
        run(made)


def test_damaged_hdf5_data_is_an_error() -> None:
    write_hdf5(Path())
    whole = Path("one.h5").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=20):
            damaged[place] = random.integers(256)
        Path("one.h5").write_bytes(damaged[: random.integers(1, len(whole) * 2)])
        try:
            hdf5_net('source: "file" batch_size: 2')
        except CaffeError as error:
            assert "one.h5" in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20


# -- HDF5Output ---------------------------------------------------------------------------

OUTPUT = (
    '{}layer {{ name: "o" type: "HDF5Output" bottom: "a" bottom: "b" '
    'hdf5_output_param {{ file_name: "{}" }} }}'
)


def output_net(a: tuple, b: tuple, name: str = "out.h5") -> Net:
    return net(OUTPUT.format(blob("a", *a) + blob("b", *b), name))


def test_hdf5_output_is_whole_after_the_forward_and_empty_before() -> None:
    made = output_net((2, 3), (2,))
    with h5py.File("out.h5") as file:
        assert not list(file)
    made.blobs["a"].data[...] = [[1, 2, 3], [4, 5, 6]]
    made.blobs["b"].data[...] = [7, 8]
    run(made)
    with h5py.File("out.h5") as file:
        assert {name: (set_.shape, set_.dtype) for name, set_ in file.items()} == {
            "data": ((2, 3, 1, 1), np.dtype("<f4")),
            "label": ((2, 1, 1, 1), np.dtype("<f4")),
        }
        assert file["data"][()].ravel().tolist() == [1, 2, 3, 4, 5, 6]
        assert file["label"][()].ravel().tolist() == [7, 8]
    with pytest.raises(LayerError, match=r"'o' \(HDF5Output\): out.h5 has its datasets already"):
        run(made)


def test_hdf5_output_of_what_does_not_fit() -> None:
    with pytest.raises(LayerError, match="expected two bottoms of one batch size, found 2 and 3"):
        output_net((2, 3), (3,))
    with pytest.raises(LayerError, match=r"up to four axes, found \[2, 1, 1, 1, 1\]"):
        output_net((2, 1, 1, 1, 1), (2,))


@pytest.mark.oracle
def test_hdf5_goes_round_and_is_bvlcs(bvlc: Build) -> None:
    write_hdf5(Path())
    text = (
        'layer { name: "h" type: "HDF5Data" top: "t0" top: "t1" '
        'hdf5_data_param { source: "files" batch_size: 7 } }\n'
        + OUTPUT.format("", "out.h5").replace('"a"', '"t0"').replace('"b"', '"t1"')
    )
    files: dict = {path.name: path for path in Path().iterdir()}
    result = bvlc.python(
        'import caffe\ncaffe.Net("net", caffe.TEST).forward()', files=files | {"net": text},
        fetch=["out.h5"],
    )  # fmt: skip
    run(net(text))
    theirs = h5py.File(io.BytesIO(result.files["out.h5"]))
    with h5py.File("out.h5") as ours:
        assert set(ours) == set(theirs)
        for name, expected in theirs.items():
            assert ours[name].dtype == expected.dtype
            np.testing.assert_array_equal(ours[name][()], expected[()], strict=True)


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
    made = net(MEMORY.format("scale: 3"))
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
    other = net(MEMORY.format(""))
    other.layers[0].reset(data, labels)
    run(other)
    data[:] = 7
    assert (other.blobs["data"].data == 6).all()


def test_memory_data_is_told_what_does_not_fit() -> None:
    layer = net(MEMORY.format("")).layers[0]
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
    Path("net").write_text(blob("a", 1))
    with pytest.raises(NetError, match=r"first layer is MemoryData; this one's is 'a' \(Input\)"):
        caffe.Net("net", caffe.TEST).set_input_arrays(*ARRAYS)


def test_memory_data_transforms_datums() -> None:
    made = net(MEMORY.format("scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 crop_size: 2"))
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
    made = net(DUMMY)
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
        made = net(DUMMY)
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
        made = net(text, TRAIN)
        if written:
            made.blobs["a"].data[...] = np.arange(20).reshape(5, 4)
        losses.append([made.forward_backward(keep=keep) for _ in range(3)])
        assert made.blobs["a"].data[4, 3] == (19 if written else 3)
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3


# -- WindowData ---------------------------------------------------------------------------

WINDOWS = (
    'layer {{ name: "w" type: "WindowData" top: "data" top: "label" window_data_param '
    '{{ source: "windows" {} }} transform_param {{ crop_size: 6 {} }} }}'
)
PLAIN = [(1, 0.9, 0, 0, 5, 5), (2, 0.8, 10, 0, 15, 5), (3, 0.5, 20, 0, 25, 5)]
PLAIN += [(9, 0.4, 0, 10, 5, 15), (9, 0.0, 10, 10, 15, 15)]


def window_net(settings: str = "batch_size: 8", transform: str = "") -> Net:
    return net(WINDOWS.format(settings, transform))


def test_windows_are_drawn_from_both_kinds_mirrored_or_not() -> None:
    write_windows(Path(), PLAIN)
    scene = cv2.imread("scene.png").transpose(2, 0, 1)
    context.seed(0)
    made = window_net("batch_size: 200 fg_fraction: 0.3", "mirror: true")
    run(made)
    labels = made.blobs["label"].data
    assert (labels[:140] == 0).all()
    assert set(labels[140:]) == {1, 2, 3}
    found = {
        (int(label), image.astype(np.uint8).tobytes())
        for image, label in zip(made.blobs["data"].data, labels, strict=True)
    }
    expected = set()
    for label, overlap, x1, y1, x2, y2 in PLAIN:
        part = scene[:, y1 : y2 + 1, x1 : x2 + 1]
        for image in (part, part[:, :, ::-1]):
            expected.add((label if overlap >= 0.5 else 0, image.tobytes()))
    assert found == expected


def test_the_foreground_is_rounded_down_and_thresholds_part_the_kinds() -> None:
    write_windows(Path(), PLAIN)
    made = window_net("batch_size: 7 fg_fraction: 0.5 fg_threshold: 0.85 bg_threshold: 0.1")
    for _ in range(3):
        run(made)
        assert made.blobs["label"].data.tolist() == [0, 0, 0, 0, 1, 1, 1]
        np.testing.assert_array_equal(
            made.blobs["data"].data[0],
            cv2.imread("scene.png")[10:16, 10:16].transpose(2, 0, 1),
        )


def test_padding_is_mirrored_with_the_window() -> None:
    write_windows(Path(), [(1, 1, 0, 0, 5, 5), (1, 0, 0, 0, 5, 5)])
    context.seed(0)
    made = window_net("batch_size: 64 context_pad: 1", "mirror: true")
    run(made)
    columns = (made.blobs["data"].data == 0).all(axis=(1, 2))
    assert {tuple(row) for row in columns} == {
        (True, *[False] * 5),
        (*[False] * 5, True),
    }
    plain = made.blobs["data"].data[columns[:, 0]][0]
    mirrored = made.blobs["data"].data[~columns[:, 0]][0]
    np.testing.assert_array_equal(plain, mirrored[:, :, ::-1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "windows: no foreground window"),
        ("# 1\n", "windows:1: expected '# 0', the next image, found '# 1'"),
        ("x 0\n", "windows:1: expected '# 0'"),
        ("#\n", "windows:1: expected the image's index, found the end"),
        ("# 0\nscene.png\n3\n", "windows:3: expected height, found the end of the file"),
        ("# 0\nscene.png\n3\n3o\n", "windows:4: expected height, found '3o'"),
        ("# 0 s 3 9 9 1\n1 0.9 1 2 3", "windows:2: expected y2, found the end of the file"),
        ("# 0 s 3 9 9 1\n1 high 1 2 3 4", "windows:2: expected a window's overlap, found 'high'"),
        ("# 0 s 3 9 9 1\n0 0.9 1 2 3 4", "windows:2: .*class is at least 1; found 0"),
        ("# 0 s 3 9 9 1\n1 0.9 1 2 3 4", "windows: no background window"),
        ("# 0 s 1 9 9 2\n1 0.9 1 2 3 4\n1 0 1 2 3 4", "read in colour, .* 3, found 1"),
    ],
)
def test_window_files_that_cannot_be_used(text: str, said: str) -> None:
    Path("windows").write_text(text)
    with pytest.raises(LayerError, match=rf"^layer 'w' \(WindowData\): .*{said}"):
        window_net()


def test_no_window_file() -> None:
    with pytest.raises(LayerError, match="windows: cannot read the window file: No such file"):
        window_net()


@pytest.mark.parametrize("cached", [False, True])
def test_a_window_images_absence_is_told(cached: bool) -> None:
    write_windows(Path(), PLAIN)
    Path("scene.png").unlink()
    with pytest.raises(CaffeError, match=r"scene.png: cannot read the image: No such file"):
        run(window_net(f"batch_size: 2 cache_images: {str(cached).lower()}"))


@pytest.mark.parametrize(
    ("corners", "settings"),
    [
        ((0, 0, 40, 5), ""),
        ((-1, 0, 5, 5), ""),
        ((9, 0, 5, 5), ""),
        ((60, 0, 65, 5), "context_pad: 1"),
        ((-90, 0, -60, 5), 'crop_mode: "square"'),
    ],
)
def test_a_window_outside_its_image_is_told(corners: tuple, settings: str) -> None:
    write_windows(Path(), [(1, 1, *corners), (1, 0, *corners)])
    with pytest.raises(DataError, match=r"windows, image 0 \(scene.png\): (the|nothing of the) wi"):
        run(window_net(f"batch_size: 2 {settings}"))


def test_a_mean_that_does_not_cover_the_squares() -> None:
    write_windows(Path(), PLAIN)
    mean = caffe.io.array_to_blobproto(np.zeros((1, 3, 5, 9))).SerializeToString()
    Path("mean").write_bytes(mean)
    with pytest.raises(LayerError, match=r"a mean of the shape \(3, 5, 9\) does not cover"):
        window_net("batch_size: 1", 'mean_file: "mean"')


RANDOM_WINDOWS = """
import caffe, json, numpy as np
found = {}
for index, text in enumerate(json.load(open("nets.json"))):
    open("net", "w").write(text)
    net = caffe.Net("net", caffe.TEST)
    net.forward()
    found["%d data" % index] = net.blobs["data"].data.copy()
    found["%d label" % index] = net.blobs["label"].data.copy()
np.savez("found.npz", **found)
"""


@pytest.mark.oracle
def test_any_window_is_cut_out_as_by_bvlc(bvlc: Build) -> None:
    """One window for each kind, so that nothing is left to chance."""
    random = np.random.default_rng(3)
    texts = []
    for index in range(60):
        (x1, x2), (y1, y2) = (np.sort(random.integers(0, size, 2)) for size in (40, 30))
        rows = [(1 + index, 1, x1, y1, x2, y2), (1, 0, y1, y1, y2, y2)]
        write_windows(Path(), rows, f"windows{index}")
        size = int(random.integers(5, 24))
        pad = int(random.integers(0, (size + 1) // 2)) if index % 3 else 0
        mode = random.choice(["warp", "square"])
        texts.append(
            WINDOWS.format(
                f'batch_size: 2 fg_fraction: 0.5 context_pad: {pad} crop_mode: "{mode}"', ""
            )
            .replace('"windows"', f'"windows{index}"')
            .replace("crop_size: 6", f"crop_size: {size}")
        )
    files: dict = {path.name: path for path in Path().iterdir()}
    result = bvlc.python(
        RANDOM_WINDOWS, files=files | {"nets.json": json.dumps(texts)}, fetch=["found.npz"]
    )
    theirs = np.load(io.BytesIO(result.files["found.npz"]))
    for index, text in enumerate(texts):
        made = net(text)
        run(made)
        for name in ("data", "label"):
            np.testing.assert_array_equal(
                made.blobs[name].data, theirs[f"{index} {name}"], err_msg=text
            )
