"""WindowData: what is drawn, how it is cut out, and mistakes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bvlc import Build
from layer_cases.sources import write_windows
from small_nets import build, run

import caffe
from recaffe.context import context
from recaffe.errors import CaffeError, DataError, LayerError
from recaffe.net import Net


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


WINDOWS = (
    'layer {{ name: "w" type: "WindowData" top: "data" top: "label" window_data_param '
    '{{ source: "windows" {} }} transform_param {{ crop_size: 6 {} }} }}'
)
PLAIN = [(1, 0.9, 0, 0, 5, 5), (2, 0.8, 10, 0, 15, 5), (3, 0.5, 20, 0, 25, 5)]
PLAIN += [(9, 0.4, 0, 10, 5, 15), (9, 0.0, 10, 10, 15, 15)]


def window_net(settings: str = "batch_size: 8", transform: str = "") -> Net:
    return build(WINDOWS.format(settings, transform))


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
        made = build(text)
        run(made)
        for name in ("data", "label"):
            np.testing.assert_array_equal(
                made.blobs[name].data, theirs[f"{index} {name}"], err_msg=text
            )
