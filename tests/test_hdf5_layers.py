"""HDF5Data and HDF5Output: order over files, shuffling, mistakes and damage."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from bvlc import Build
from layer_cases.sources import write_hdf5
from small_nets import build, inputs, run

from recaffe.context import context
from recaffe.errors import CaffeError, DataError, LayerError
from recaffe.net import Net


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- HDF5Data -----------------------------------------------------------------------------


def hdf5_net(settings: str, tops: str = 'top: "t0" top: "t1"') -> Net:
    return build(f'layer {{ name: "h" type: "HDF5Data" {tops} hdf5_data_param {{ {settings} }} }}')


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
    "link", [h5py.ExternalLink("other.h5", "/t0"), h5py.SoftLink("/t1")], ids=["external", "soft"]
)
def test_links_are_not_followed(link: object) -> None:
    hdf5_file("other.h5", t0=np.zeros(3))
    hdf5_file("x.h5", t1=np.zeros(3), t0=link)
    with pytest.raises(LayerError, match="'t0' in / points elsewhere, which is not followed"):
        hdf5_net('source: "files" batch_size: 2')


def test_values_in_another_file_are_not_read() -> None:
    hdf5_file("x.h5", t1=np.zeros(3))
    with h5py.File("x.h5", "a") as file:
        file.create_dataset("t0", (3,), "f4", external=[("files", 0, 12)])
    with pytest.raises(LayerError, match="/t0 keeps its values in another file"):
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


def test_a_top_with_a_slash_is_no_path_into_a_group() -> None:
    hdf5_file("x.h5", **{"g/t0": np.zeros(2), "t1": np.zeros(2)})
    with pytest.raises(LayerError, match=r"no 'g/t0' in /; is this another program's"):
        hdf5_net('source: "files" batch_size: 2', tops='top: "g/t0" top: "t1"')


SLASH = """
import os
import caffe
child = os.fork()
if child == 0:
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    caffe.Net("net", caffe.TRAIN)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.oracle
def test_a_top_with_a_slash_is_refused_by_bvlc(bvlc: Build) -> None:
    hdf5_file("x.h5", **{"g/t0": np.zeros(2), "t1": np.zeros(2)})
    text = (
        'layer { name: "h" type: "HDF5Data" top: "%s" '
        'hdf5_data_param { source: "files" batch_size: 2 } }'
    )
    for top, status in (("t1", 0), ("g/t0", 6)):
        files = {"net": text % top, "files": Path("files"), "x.h5": Path("x.h5")}
        assert bvlc.python(SLASH, files=files).json() == status


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
    return build(OUTPUT.format(inputs(a=a, b=b), name))


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
    run(build(text))
    theirs = h5py.File(io.BytesIO(result.files["out.h5"]))
    with h5py.File("out.h5") as ours:
        assert set(ours) == set(theirs)
        for name, expected in theirs.items():
            assert ours[name].dtype == expected.dtype
            np.testing.assert_array_equal(ours[name][()], expected[()], strict=True)
