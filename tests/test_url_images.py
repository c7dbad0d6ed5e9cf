"""caffetools.url_images against a server on the loopback, some of whose links are dead."""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import loopback
import numpy as np
import pytest

from caffetools import url_images
from caffetools.cli import ToolError

PLACEHOLDER = b"gone"
LARGE = "large" * 32
PLACEHOLDER_SHA1 = hashlib.sha1(PLACEHOLDER).hexdigest()


def picture(number: int) -> bytes:
    encoded = cv2.imencode(".png", np.full((4, 5, 3), number, np.uint8))[1]
    return bytes(encoded.tobytes())


class Host(ThreadingHTTPServer):
    """``/N.png`` is an image, ``/dead``, ``/page`` and ``/gone`` are none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.delay = 0.0
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append(self.path)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        time.sleep(self.server.delay)
        name = self.path.strip("/")
        if name.startswith("dead"):
            self.send_error(404)
        else:
            answers = {
                "page": b"<html>not found</html>",
                "gone": PLACEHOLDER,
                LARGE: LARGE.encode(),
            }
            content = answers.get(name) or picture(int(name.partition(".")[0]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        with self.server.lock:
            self.server.at_once -= 1

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Write = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path, host: Host) -> Write:
    """Writes a table in Flickr Style's form: a number, the address, the label, a split."""

    def write(names: list[str], name: str = "table.csv", delimiter: str = ",") -> Path:
        path = tmp_path / name
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "wt", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=delimiter)
            writer.writerow(["", "image_url", "label", "_split"])
            for number, each in enumerate(names):
                writer.writerow([number, f"{host.url}/{each}", number % 3, "train"])
        return path

    return write


def fetch(path: Path, *more: str) -> Path:
    """Run the command; return the folder."""
    output = path.parent / "images"
    url_images.main(
        [
            *("--table", str(path), "--url", "image_url", "--output", str(output)),
            *("--store", str(path.parent / "store")),
            *("--index", str(path.parent / "index.csv")),
            *("--table-of-lost", str(path.parent / "lost.csv"), *more),
        ]
    )
    return output


def lost(path: Path) -> dict[str, str]:
    with (path.parent / "lost.csv").open(newline="") as stream:
        return {row["url"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(stream)}


def shades(output: Path) -> dict[str, list[int]]:
    """By class, the gray values of its images."""
    return {
        folder.name: sorted(int(cv2.imread(str(file))[0, 0, 0]) for file in folder.iterdir())
        for folder in sorted(output.iterdir())
    }


def test_the_index_tells_labels_splits_and_groups(host, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [(9, 1, "Training", "ann"), (8, 0, "test", ""), (7, 1, "", "bob")]
    lines = [f"{host.url}/{name}.png,{label},{split},{who}" for name, label, split, who in rows]
    table.write_text("\n".join(["image_url,label,_split,who", *lines]))
    names = tmp_path / "names.txt"
    names.write_text("zebra\nant\n")
    output = fetch(table, "--split", "_split", "--group", "who", "--names", str(names))
    with (tmp_path / "index.csv").open(newline="") as stream:
        index = list(csv.DictReader(stream))
    # Labels are the table's, whatever the order of the folders' names.
    assert [(row["label"], row["class"], row["split"], row["group"]) for row in index] == [
        ("1", "ant", "train", "ann"),
        ("0", "zebra", "test", ""),
        ("1", "ant", "", "bob"),
    ]
    assert all((output / row["path"]).is_file() for row in index)


def test_a_split_that_is_none(host, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"image_url,label,_split\n{host.url}/1.png,0,some\n")
    with pytest.raises(ToolError, match=r"table\.csv, row 2: expected a split, .*found 'some'"):
        fetch(table, "--split", "_split")


@pytest.mark.parametrize(("name", "delimiter"), [
    ("table.csv", ","), ("table.csv.gz", ","), ("table.tsv", "\t"), ("table.tsv.gz", "\t"),
])  # fmt: skip
def test_images_end_in_their_classes_folders(table: Write, name: str, delimiter: str) -> None:
    path = table([f"{number}.png" for number in range(9)], name, delimiter)
    assert shades(fetch(path)) == {"0": [0, 3, 6], "1": [1, 4, 7], "2": [2, 5, 8]}
    assert lost(path) == {}


def test_a_byte_order_mark_is_no_part_of_a_column(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"image_url,label\n{host.url}/4.png,0\n", encoding="utf-8-sig")
    assert shades(fetch(path)) == {"0": [4]}


def test_an_address_with_a_carriage_return_stays_a_row_of_lost(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f'image_url,label\n{host.url}/4.png,0\n"{host.url}/a\rb",0\n', newline="")
    fetch(path, "--lost", "0.5")
    assert list(lost(path)) == ["a\rb"]


def test_classes_have_the_names_of_their_lines_and_few_may_be_asked_for(table: Write) -> None:
    path = table(["0.png", "1.png", "2.png", "3.png"])
    names = path.parent / "names.txt"
    names.write_text("Noir\nPastel & <soft>\nHDR\n")
    output = fetch(path, "--names", str(names), "--labels", "2")
    assert shades(output) == {"Noir": [0, 3], "Pastel & <soft>": [1]}


def test_dead_links_are_told_and_may_be_few(table: Write, host: Host) -> None:
    names = ["0.png", "1.png", "2.png", "dead.jpg", "page", "gone", "6.png", "7.png"]
    path = table(names)
    output = fetch(path, "--lost", "0.4", "--placeholder", PLACEHOLDER_SHA1.upper())
    assert shades(output) == {"0": [0, 6], "1": [1, 7], "2": [2]}
    assert lost(path) == {
        "dead.jpg": "the server answered 404 Not Found",
        "page": "cannot be decoded as an image",
        "gone": "is the host's placeholder for an image that is gone",
    }


def test_too_many_dead_links_stop_the_run_and_keep_what_has_come(table: Write, host: Host) -> None:
    path = table(["0.png", "1.png", "2.png", "dead"])
    with pytest.raises(ToolError, match=r"1 of 4 images are not to be had, and 0% .* 404"):
        fetch(path)
    assert not (path.parent / "images").exists()
    assert list(lost(path)) == ["dead"]
    host.asked.clear()
    fetch(path, "--lost", "0.25")
    assert host.asked == ["/dead"]


def test_a_class_without_any_image_stops_the_run(table: Write) -> None:
    path = table(["0.png", "dead1", "2.png", "3.png", "dead2", "5.png"])
    with pytest.raises(ToolError, match="no image at all is to be had of 1;"):
        fetch(path, "--lost", "0.5")


def test_a_second_call_fetches_nothing_and_gives_the_same(table: Write, host: Host) -> None:
    path = table([f"{number}.png" for number in range(6)])
    first = shades(fetch(path))
    host.asked.clear()
    assert shades(fetch(path)) == first
    assert host.asked == []


def test_a_host_is_asked_for_a_few_at_once(table: Write, host: Host) -> None:
    host.delay = 0.02
    path = table([f"{number}.png" for number in range(40)])
    fetch(path)
    assert len(host.asked) == 40
    assert 1 < host.most_at_once <= url_images.AT_ONCE_FROM_A_HOST


def test_an_address_that_stands_twice_is_one_image(table: Write, host: Host) -> None:
    path = table(["0.png", "1.png", "2.png", "0.png"])
    assert shades(fetch(path)) == {"0": [0], "1": [1], "2": [2]}
    assert sorted(host.asked) == ["/0.png", "/1.png", "/2.png"]


def test_an_address_of_two_labels_is_told(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"image_url,label\n{host.url}/0.png,0\n{host.url}/0.png,1\n")
    assert [row.label for row in url_images.read_table(path, "image_url", "label")] == [0]
    assert f"row 3: {host.url}/0.png has the label 1 here and 0 before, which counts" in caplog.text


def test_names_of_files_hang_on_the_address_alone() -> None:
    def name(url: str) -> str:
        return url_images.Row(url, 0).file_name

    assert name("http://a/b.PNG?x=../../c") == name("http://a/b.PNG?x=../../c")
    assert name("http://a/b.PNG").endswith(".png")
    for url in ("http://a/../../etc/passwd", "http://a/$(x).sh", "http://a/b.jpg/"):
        assert name(url).endswith(".jpg")
        assert len(name(url)) == 24


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x.png", "/etc/passwd", "http://[x"]
)
def test_other_addresses_are_lost(tmp_path: Path, address: str) -> None:
    (row,) = url_images.bring([url_images.Row(address, 0)], tmp_path, [])
    assert row.lost == "is no http: or https: address"


@pytest.mark.parametrize("name", ["\u00e9.jpg", "a b.jpg"])
def test_addresses_with_odd_letters_are_lost(tmp_path: Path, host: Host, name: str) -> None:
    (row,) = url_images.bring([url_images.Row(f"{host.url}/{name}", 0)], tmp_path, [])
    assert row.lost


def test_too_large_an_image_is_lost(table: Write, host: Host) -> None:
    path = table(["0.png", "1.png", "2.png", LARGE])
    fetch(path, "--lost", "0.25", "--max-bytes", "159")
    (reason,) = lost(path).values()
    assert reason.startswith("expected at most 159 bytes, but the server sends 160 bytes;")
    assert not [name for name in (path.parent / "store").iterdir() if "partial" in name.name]


def test_an_image_without_an_end_is_lost(tmp_path: Path) -> None:
    with loopback.running() as server:
        server.failures = 1
        row = url_images.Row(f"{server.url}/endless", 0)
        (row,) = url_images.bring([row], tmp_path, [], max_bytes=1_000_000)
    assert row.lost.startswith("expected at most 1000000 bytes, but the server sends more;")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cut.jpg", "large.png"])
def test_what_should_not_be_decoded_is_lost_and_not_kept(tmp_path: Path, name: str) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (90, 90, 3)).astype(np.uint8)
    content, reason = {
        "cut.jpg": (cv2.imencode(".jpg", noise)[1].tobytes()[:2000], "is cut off or damaged"),
        "large.png": (
            cv2.imencode(".png", np.zeros((14_000, 13_000), np.uint8))[1].tobytes(),
            "has more than 178956970 pixels",
        ),
    }[name]
    with loopback.running(content) as server:
        (row,) = url_images.bring([url_images.Row(f"{server.url}/{name}", 0)], tmp_path, [])
    assert row.lost.startswith(reason)
    assert list(tmp_path.iterdir()) == []


def test_no_folder_of_the_users_is_replaced(table: Write) -> None:
    path = table(["0.png", "1.png", "2.png"])
    photographs = path.parent / "images" / "holidays"
    photographs.mkdir(parents=True)
    with pytest.raises(ToolError, match="will not be replaced, since it holds 'holidays'"):
        fetch(path)
    assert photographs.is_dir()


@pytest.mark.parametrize("option", ["--store", "--index", "--table-of-lost"])
def test_nothing_lies_in_the_folder_that_is_replaced(table: Write, option: str) -> None:
    path = table(["0.png", "1.png", "2.png"])
    inside = path.parent / "images" / "0" / "kept"
    with pytest.raises(ToolError, match=rf"{option} .*kept: lies in .*images, which is replaced"):
        fetch(path, option, str(inside))


def test_a_host_that_sends_a_byte_now_and_then_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_images, "LONGEST", 0.2)
    with loopback.running() as server:
        server.failures = 1
        (row,) = url_images.bring([url_images.Row(f"{server.url}/dripping", 0)], tmp_path, [])
    assert re.fullmatch(r"sent \d+ bytes in 0.2 s, too slow", row.lost)


def test_halves_of_two_images_are_not_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends parts, but tells not that its image has changed meanwhile."""
    monkeypatch.setattr(url_images, "WAITS", ())
    # As of equal length, so that nothing but the pixels could tell.
    older, newer = (cv2.imencode(".bmp", np.full((9, 9, 3), gray, np.uint8))[1] for gray in (1, 2))
    with loopback.running(older.tobytes()) as server:
        server.ranges, server.failures = True, 1
        row = url_images.Row(f"{server.url}/cut", 0)
        assert "the connection ended" in url_images.bring([row], tmp_path, [])[0].lost
        server.content = newer.tobytes()
        assert url_images.bring([row], tmp_path, [])[0].lost == ""
    assert (tmp_path / row.file_name).read_bytes() == newer.tobytes()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected a column 'image_url', found no header"),
        ("url,label\nx,1\n", "expected a column 'image_url', found 'url', 'label'"),
        ("image_url,label\nx,one\n", "row 2: expected a whole number .* found 'one'"),
        ("image_url,label\nx\n", "row 2: expected a whole number"),
        ("image_url,label\nx,-1\n", "row 2: the label is -1"),
        ("image_url,label\n", "expected rows, found none"),
    ],
)
def test_an_unfit_table_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ToolError, match=complaint):
        fetch(tmp_path / "t.csv")


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(bytes(range(256)) * 40, compresslevel=0))
    content[10:30] = b"\xff" * 20
    (tmp_path / "t.csv.gz").write_bytes(content)
    with pytest.raises(ToolError, match="cannot be read as a table"):
        fetch(tmp_path / "t.csv.gz")


def test_what_was_no_image_is_asked_for_again(table: Write, host: Host) -> None:
    path = table(["0.png", "1.png", "2.png", "page"])
    for _ in range(2):
        host.asked.clear()
        fetch(path, "--lost", "0.25")
    assert host.asked == ["/page"]


def test_a_broken_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(
        gzip.compress(b"image_url,label\n" + b"http://a/b,1\n" * 99)[:-20]
    )
    with pytest.raises(ToolError, match="cannot be read as a table"):
        fetch(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("a\nb\n", "expected a line for each label up to 2, found 2"),
        ("a\n../b\nc\n", r"names.txt:2: '../b' cannot be the name of a class folder"),
        ("a\nb\n.c\n", "names.txt:3: '.c' cannot"),
        ("a\nb\na\n", "'a' stands there twice"),
    ],
)
def test_unfit_names_are_told(table: Write, names: str, complaint: str) -> None:
    path = table(["0.png", "1.png", "2.png"])
    (path.parent / "names.txt").write_text(names)
    with pytest.raises(ToolError, match=complaint):
        fetch(path, "--names", str(path.parent / "names.txt"))
