"""Fetching a file, from this machine and from servers of several kinds on the loopback."""

from __future__ import annotations

import fcntl
import ssl
import subprocess
import sys
import urllib.error
from pathlib import Path

import loopback
import pytest
from loopback import CONTENT, SHA1, SHA256, Server

from caffetools import download as download_module
from caffetools.cli import ToolError
from caffetools.fetch import fetch, main

NO_WAITS = (0.0, 0.0)
WANTED = {"sha256": SHA256}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- from this machine ----------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["{path}", "file:{path}", "file://{path}", "file://localhost{path}"]
)
def test_file_of_this_machine(form: str, tmp_path: Path) -> None:
    path = tmp_path / "published weights"
    path.write_bytes(CONTENT)
    quoted = str(path).replace(" ", "%20") if ":" in form else str(path)
    output = tmp_path / "here" / "weights"
    fetch([form.format(path=quoted)], output, {"sha256": SHA256.upper()})
    assert output.read_bytes() == CONTENT
    assert names_in(output.parent) == ["weights"]


@pytest.mark.parametrize("checksum", [["--sha256", SHA256], ["--sha1", SHA1]])
def test_command_takes_either_checksum(checksum: list[str], tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(CONTENT)
    main(["--url", str(tmp_path / "from"), *checksum, "--output", str(tmp_path / "to")])
    assert (tmp_path / "to").read_bytes() == CONTENT


def test_command_without_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--url", "x", "--output", str(tmp_path / "to")])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "ftp://127.0.0.1/w",
            "cannot fetch ftp: addresses; expected file:, http:, https: or a path",
        ),
        ("file://elsewhere/w", "found the host 'elsewhere', expected file:///path"),
        ("/nowhere/w", "/nowhere/w: there is no such file to fetch"),
        ("http://", "no host given"),
        ("http://127.0.0.1:x/w", "nonnumeric port"),
    ],
)
def test_address_that_leads_nowhere_is_named(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=message):
        fetch([url], tmp_path / "to", WANTED, waits=NO_WAITS)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("checksum", ["", SHA1, SHA256[:-1] + "g"])
def test_checksum_that_is_none_is_refused(checksum: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="is no sha256; expected 64 hexadecimal digits"):
        fetch(["x"], tmp_path / "to", {"sha256": checksum})


# --- over the network -----------------------------------------------------------------


def test_file_of_a_server(server: Server, tmp_path: Path) -> None:
    fetch([f"{server.url}/answer"], tmp_path / "to", WANTED)
    assert (tmp_path / "to").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["to"]


def test_redirection_is_followed_but_not_to_another_scheme(server: Server, tmp_path: Path) -> None:
    server.failures = 1
    fetch([f"{server.url}/moved"], tmp_path / "to", WANTED, waits=())
    assert server.requests == ["/moved", "/answer"]
    server.failures = 1
    with pytest.raises(ToolError, match="unknown url type: ftp"):
        fetch([f"{server.url}/moved_to_ftp"], tmp_path / "other", WANTED, waits=NO_WAITS)
    assert names_in(tmp_path) == ["to"]


@pytest.mark.parametrize("kind", ["cut", "cut_at_once", "stalled", "busy"])
def test_interrupted_download_is_tried_again(kind: str, server: Server, tmp_path: Path) -> None:
    server.failures = 2
    fetch([f"{server.url}/{kind}"], tmp_path / "to", WANTED, 0.2, NO_WAITS)
    assert (tmp_path / "to").read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut", f"the connection ended after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("cut_at_once", "closed connection"),
        ("stalled", "timed out"),
        ("busy", "the server answered 503"),
    ],
)
def test_end_of_patience_leaves_what_has_come_and_nothing_else(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    server.failures = 9
    with pytest.raises(ToolError, match=f"{reason}.*in each of 3 attempts"):
        fetch([f"{server.url}/{kind}"], tmp_path / "to", WANTED, 0.2, NO_WAITS)
    left = [".to.partial", ".to.partial.json"] if kind == "cut" else []
    assert names_in(tmp_path) == left
    assert len(server.requests) == 3


def test_waits_are_kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(download_module.time, "sleep", waited.append)
    server.failures = 2
    fetch([f"{server.url}/busy"], tmp_path / "to", WANTED)
    assert waited == [2, 8]


def test_what_is_not_there_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.failures = 9
    with pytest.raises(ToolError, match="/absent: the server answered 404 Not Found"):
        fetch([f"{server.url}/absent"], tmp_path / "to", WANTED, waits=NO_WAITS)
    assert len(server.requests) == 1
    assert names_in(tmp_path) == []


def test_untrusted_certificate_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opener:
        def open(self, url: str, timeout: float) -> None:
            raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(download_module, "_opener", Opener)
    with pytest.raises(ToolError, match=r"https://x/w: \('self-signed certificate',\)$"):
        fetch(["https://x/w"], tmp_path / "to", WANTED, waits=NO_WAITS)


def test_server_that_is_down_is_said_so(server: Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(ToolError, match=r"Connection refused.*in each of 3 attempts"):
        fetch([f"{server.url}/answer"], tmp_path / "to", WANTED, waits=NO_WAITS)


def test_wrong_checksum_names_both_and_keeps_the_old_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "to").write_bytes(b"old")
    with pytest.raises(ToolError, match=f"sha256 is {SHA256}, expected {'0' * 64}"):
        fetch([f"{server.url}/answer"], tmp_path / "to", {"sha256": "0" * 64}, waits=NO_WAITS)
    assert (tmp_path / "to").read_bytes() == b"old"
    assert names_in(tmp_path) == ["to"]
    assert len(server.requests) == 1


def test_failure_of_the_program_is_one_line_without_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "caffetools.fetch", "--url", "gopher:x", "--sha1", SHA1]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "to")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: gopher:x: cannot fetch gopher:")
    assert done.stderr.count("\n") == 1


# --- mirrors --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["absent", "busy", "cut", "stalled", "cut_at_once"])
def test_next_mirror_has_its_turn_where_one_fails(
    kind: str, server: Server, tmp_path: Path
) -> None:
    server.failures = 1
    urls = [f"{server.url}/{kind}", f"{server.url}/answer"]
    fetch(urls, tmp_path / "to", WANTED, 0.2, waits=())
    assert server.requests == [f"/{kind}", "/answer"]
    assert (tmp_path / "to").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["to"]


def test_next_mirror_has_its_turn_where_one_has_another_file(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_bytes(b"wrong")
    fetch([str(tmp_path / "wrong"), f"{server.url}/answer"], tmp_path / "to", WANTED)
    assert (tmp_path / "to").read_bytes() == CONTENT
    with loopback.running(b"wrong") as wrong:
        urls = [f"{wrong.url}/answer", str(tmp_path / "nowhere"), f"{server.url}/answer"]
        fetch(urls, tmp_path / "again", WANTED)
    assert (tmp_path / "again").read_bytes() == CONTENT


def test_mirrors_after_the_one_that_has_it_are_not_asked(server: Server, tmp_path: Path) -> None:
    fetch([f"{server.url}/answer", f"{server.url}/absent"], tmp_path / "to", WANTED)
    assert server.requests == ["/answer"]


def test_every_mirror_is_told_of_where_none_has_it(server: Server, tmp_path: Path) -> None:
    server.failures = 9
    urls = [f"{server.url}/absent", "/nowhere/w", f"{server.url}/busy", "ftp://127.0.0.1/w"]
    with pytest.raises(ToolError) as caught:
        fetch(urls, tmp_path / "to", WANTED, waits=())
    heading, *lines = str(caught.value).splitlines()
    assert heading == "no place has the file:"
    parts = ["answered 404", "/nowhere/w: there is no such", "answered 503", "cannot fetch ftp:"]
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert part in line
    assert names_in(tmp_path) == []


# --- checksums, and who else is at work -----------------------------------------------


def test_all_checksums_must_fit(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(CONTENT)
    source, both = [str(tmp_path / "from")], {"sha256": SHA256, "sha1": SHA1}
    fetch(source, tmp_path / "to", both)
    with pytest.raises(ToolError, match=f"sha1 is {SHA1}, expected {'0' * 40}"):
        fetch(source, tmp_path / "other", {**both, "sha1": "0" * 40})
    assert names_in(tmp_path) == ["from", "to"]


def test_without_a_checksum_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no checksum is told"):
        fetch(["x"], tmp_path / "to", {})


def test_two_that_fetch_one_file_do_not_meet(server: Server, tmp_path: Path) -> None:
    with (tmp_path / ".to.partial.lock").open("w") as lock:
        lock.write("process 7 on here\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match=r"another process fetches this file \(process 7 on h"):
            fetch([f"{server.url}/answer"], tmp_path / "to", WANTED)
    assert server.requests == []
    fetch([f"{server.url}/answer"], tmp_path / "to", WANTED)
    assert names_in(tmp_path) == ["to"]
