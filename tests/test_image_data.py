"""ImageData: order, shuffling, lists as Caffe reads them, and images it cannot use."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from recaffe.context import context
from recaffe.data.images import read_list
from recaffe.errors import DataError, LayerError
from recaffe.net import Net

IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8) for seed in range(5)
]


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for index, image in enumerate(IMAGES):
        cv2.imwrite(f"{index}.png", image)
    Path("list").write_text("".join(f"{index}.png {index}\n" for index in range(5)))


def net(settings: str = "", transform: str = "", phase: int = 1) -> Net:
    text = (
        'layer { name: "d" type: "ImageData" top: "data" top: "label" '
        f'image_data_param {{ source: "list" {settings} }} transform_param {{ {transform} }} }}'
    )
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase)


def labels(made: Net, batches: int) -> list[int]:
    found = []
    for _ in range(batches):
        made.forward_layers(0, 0)
        for image, label in zip(made.blobs["data"].data, made.blobs["label"].data, strict=True):
            np.testing.assert_array_equal(image, IMAGES[int(label)].transpose(2, 0, 1))
            found.append(int(label))
    return found


# -- order --------------------------------------------------------------------------------


def test_in_the_lists_order_and_from_the_first_again() -> None:
    assert labels(net("batch_size: 3"), 4) == [index % 5 for index in range(12)]


def test_shuffled_anew_each_turn_with_nothing_lost() -> None:
    context.seed(1)
    turns = np.reshape(labels(net("batch_size: 1 shuffle: true"), 60), (12, 5))
    assert all(sorted(turn) == list(range(5)) for turn in turns.tolist())
    assert len({tuple(turn) for turn in turns.tolist()}) > 6


def test_the_order_follows_the_seed() -> None:
    def order(seed: int) -> list[int]:
        context.seed(seed)
        return labels(net("batch_size: 5 shuffle: true rand_skip: 3"), 4)

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_rand_skip_skips_fewer_than_it_says_once() -> None:
    starts = set()
    for seed in range(40):
        context.seed(seed)
        found = labels(net("batch_size: 5 rand_skip: 3"), 2)
        assert found == [(found[0] + index) % 5 for index in range(10)]
        starts.add(found[0])
    assert starts == {0, 1, 2}


def test_a_batch_of_one_may_have_another_size() -> None:
    cv2.imwrite("1.png", IMAGES[1][:7, :9])
    made = net()
    shapes = []
    for _ in range(3):
        made.forward_layers(0, 0)
        shapes.append(made.blobs["data"].shape)
    assert shapes == [(1, 3, 20, 30), (1, 3, 7, 9), (1, 3, 20, 30)]


def test_crops_of_training_are_all_those_that_there_are_mirrored_or_not() -> None:
    cv2.imwrite("0.png", IMAGES[0][:4, :5])
    Path("list").write_text("0.png 0")
    context.seed(0)
    made = net("batch_size: 400", "crop_size: 3 mirror: true", phase=0)
    made.forward_layers(0, 0)
    found = {crop.astype(np.uint8).tobytes() for crop in made.blobs["data"].data}
    image = IMAGES[0][:4, :5].transpose(2, 0, 1)
    crops = [image[:, y : y + 3, x : x + 3] for y in range(2) for x in range(3)]
    expected = {crop.tobytes() for crop in crops} | {crop[:, :, ::-1].tobytes() for crop in crops}
    assert found == expected


# -- lists --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png 3", [("a.png", 3)]),
        ("a.png 3\n\r.png -7\n", [("a.png", 3), ("\r.png", -7)]),
        ("a.png 3\r\nb.png +4\r\n", [("a.png", 3), ("b.png", 4)]),
        ("my cat.png 1\n two  3", [("my cat.png", 1), (" two ", 3)]),
        ("a.png\n7b.png\n", [("a.png", 0), ("7b.png", 7)]),
        ("a.png 3.7", [("a.png", 3)]),
    ],
)
def test_lines_are_read_as_caffe_reads_them(text: str, expected: list) -> None:
    Path("list").write_bytes(text.encode())
    assert [line[:2] for line in read_list("list")] == expected


def test_paths_need_not_be_utf8() -> None:
    Path("0.png").rename(Path(b"\xff.png".decode(errors="surrogateescape")))
    Path("list").write_bytes(b"\xff.png 0\n")
    assert labels(net(), 1) == [0]
    Path("list").write_bytes(b"\xfe.png 0\n")
    with pytest.raises(LayerError, match=r"list:1: \S+: cannot read the image"):
        net()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list: the list is empty"),
        ("0.png 1\n\n1.png 1\n", "list:2: expected 'path label', found ''"),
        ("0.png x\n", "list:1: expected 'path label', found '0.png x'"),
        ("0.png 1 \n", "list:1: expected 'path label'"),
        (" 1\n", "list:1: expected 'path label'"),
        ("0.png 99999999999\n", "list:1: expected 'path label'"),
    ],
)
def test_lists_that_cannot_be_used(text: str, said: str) -> None:
    Path("list").write_text(text)
    with pytest.raises(LayerError, match=rf"^layer 'd' \(ImageData\): {said}"):
        net()


def test_no_list() -> None:
    Path("list").unlink()
    with pytest.raises(LayerError, match="list: cannot read the list of images: No such file"):
        net()


# -- images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name: Path(name).unlink(), r"list:2: 1\.png: cannot read the image: No such file"),
        (lambda name: Path(name).write_bytes(b""), r"list:2: 1\.png: .* does not decode"),
        (lambda name: Path(name).write_bytes(b"GIF?"), r"list:2: 1\.png: .* does not decode"),
        (
            lambda name: cv2.imwrite(name, IMAGES[0][:9]),
            r"list:2: an image of \(3, 9, 30\), the batch's first one has \(3, 20, 30\)",
        ),
    ],
)
def test_an_image_that_cannot_be_used_is_named_by_its_line(change, said: str) -> None:
    change("1.png")
    made = net("batch_size: 3")
    with pytest.raises(DataError, match=said):
        made.forward_layers(0, 0)


@pytest.mark.parametrize(
    ("settings", "transform", "said"),
    [
        ("", "crop_size: 21", "list:1: .*crop_size 21 is larger than the images, 20x30"),
        ("", "mean_value: 1 mean_value: 2", "2 mean_value for images of 3 channels"),
        ("", "mean_file: 'none'", "none: no such file"),
        ("root_folder: 'no/'", "", "list:1: no/0.png: cannot read .* root_folder"),
        ("new_height: 2000000000 new_width: 2000000000", "", "0.png: cannot be resized"),
        ("batch_size: 0", "", "batch_size must be at least 1"),
    ],
)
def test_settings_that_do_not_fit(settings: str, transform: str, said: str) -> None:
    with pytest.raises(LayerError, match=rf"^layer 'd' \(ImageData\): .*{said}"):
        net(settings, transform)


def test_a_skip_beyond_the_end() -> None:
    context.seed(0)
    with pytest.raises(LayerError, match=r"rand_skip 100000 may skip all 5 lines"):
        net("rand_skip: 100000")


# -- against BVLC -------------------------------------------------------------------------

ASK = """
import caffe, json, numpy as np
found = {}
for index, text in enumerate(json.load(open("nets.json"))):
    open("net", "w").write(text)
    net = caffe.Net("net", caffe.TEST)
    for batch in range(4):
        net.forward()
        for name, blob in net.blobs.items():
            found["%d %d %s" % (index, batch, name)] = blob.data.copy()
np.savez("found.npz", **found)
"""
SETTINGS = [
    ("batch_size: 3", ""),
    ("batch_size: 2 new_height: 13 new_width: 41", "mean_file: 'mean' crop_size: 9 scale: 0.1"),
    ("batch_size: 1 new_height: 50 new_width: 17 is_color: false", "mean_value: 7.5 crop_size: 8"),
    ("batch_size: 7 root_folder: './'", "mean_value: 1 mean_value: 2 mean_value: 3"),
    ("batch_size: 2 is_color: false", "force_color: true"),
    ("batch_size: 2", "force_gray: true"),
]


@pytest.mark.oracle
def test_batches_are_bvlcs(bvlc: Build, tmp_path: Path) -> None:
    Path("list").write_text("0.png 4\n1.png\nthe third.png -3\r\n3.png 3.9\n4.png 2")
    Path("2.png").rename("the third.png")
    mean = np.random.default_rng(1).uniform(0, 200, (3, 13, 41))
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=13, width=41, data=mean.ravel().tolist())
    Path("mean").write_bytes(blob.SerializeToString())
    nets = [net(*settings) for settings in SETTINGS]
    texts = [text_format.MessageToString(made.param) for made in nets]
    files: dict = {path.name: path for path in tmp_path.iterdir()}
    result = bvlc.python(ASK, files={**files, "nets.json": json.dumps(texts)}, fetch=["found.npz"])
    theirs = np.load(io.BytesIO(result.files["found.npz"]))
    for index, made in enumerate(nets):
        for batch in range(4):
            made.forward_layers(0, 0)
            for name, found in made.blobs.items():
                np.testing.assert_array_equal(found.data, theirs[f"{index} {batch} {name}"])
