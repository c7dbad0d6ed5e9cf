"""Fetching a file, from this machine and from servers of several kinds on the loopback."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from caffetools import fetch as fetch_module
from caffetools.cli import ToolError
from caffetools.fetch import fetch, main

CONTENT = bytes(range(256)) * 5000  # more than one block
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA1 = hashlib.sha1(CONTENT).hexdigest()
NO_WAITS = (0.0, 0.0)


class Server(ThreadingHTTPServer):
    """Answers with CONTENT, after as many failures of one kind as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures = 0
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        kind = self.path.strip("/")
        if self.server.failures > 0:
            self.server.failures -= 1
            getattr(self, kind)()
        else:
            self.answer()

    def answer(self, content: bytes = CONTENT, length: int = len(CONTENT)) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def cut(self) -> None:
        self.answer(CONTENT[: len(CONTENT) // 2])

    def cut_at_once(self) -> None:
        self.close_connection = True

    def stalled(self) -> None:
        self.answer(b"")
        self.wfile.flush()
        time.sleep(2)

    def busy(self) -> None:
        self.send_error(503)

    def absent(self) -> None:
        self.send_error(404)

    def moved(self) -> None:
        self.redirect(f"{self.server.url}/answer")

    def moved_to_ftp(self) -> None:
        self.redirect("ftp://127.0.0.1/weights")

    def redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


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
    fetch(form.format(path=quoted), output, "sha256", SHA256.upper())
    assert output.read_bytes() == CONTENT
    assert names_in(output.parent) == ["weights"]


@pytest.mark.parametrize("checksum", [["--sha256", SHA256], ["--sha1", SHA1]])
def test_command_takes_either_checksum(checksum: list[str], tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(CONTENT)
    main(["--url", str(tmp_path / "from"), *checksum, "--output", str(tmp_path / "to")])
    assert (tmp_path / "to").read_bytes() == CONTENT


def test_command_without_checksum_or_with_two_is_refused(tmp_path: Path) -> None:
    for checksums in ([], ["--sha256", SHA256, "--sha1", SHA1]):
        with pytest.raises(SystemExit):
            main(["--url", "x", "--output", str(tmp_path / "to"), *checksums])


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
        fetch(url, tmp_path / "to", "sha256", SHA256, waits=NO_WAITS)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("checksum", ["", SHA1, SHA256[:-1] + "g"])
def test_checksum_that_is_none_is_refused(checksum: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="is no sha256; expected 64 hexadecimal digits"):
        fetch("x", tmp_path / "to", "sha256", checksum)


# --- over the network -----------------------------------------------------------------


def test_file_of_a_server(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/answer", tmp_path / "to", "sha256", SHA256)
    assert (tmp_path / "to").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["to"]


def test_redirection_is_followed_but_not_to_another_scheme(server: Server, tmp_path: Path) -> None:
    server.failures = 1
    fetch(f"{server.url}/moved", tmp_path / "to", "sha256", SHA256, waits=())
    assert server.requests == ["/moved", "/answer"]
    server.failures = 1
    with pytest.raises(ToolError, match="unknown url type: ftp"):
        fetch(f"{server.url}/moved_to_ftp", tmp_path / "other", "sha256", SHA256, waits=NO_WAITS)
    assert names_in(tmp_path) == ["to"]


@pytest.mark.parametrize("kind", ["cut", "cut_at_once", "stalled", "busy"])
def test_interrupted_download_is_tried_again(kind: str, server: Server, tmp_path: Path) -> None:
    server.failures = 2
    fetch(f"{server.url}/{kind}", tmp_path / "to", "sha256", SHA256, 0.2, NO_WAITS)
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
def test_end_of_patience_leaves_nothing(
    kind: str, reason: str, server: Server, tmp_path: Path
) -> None:
    server.failures = 9
    with pytest.raises(ToolError, match=f"{reason}.*in each of 3 attempts"):
        fetch(f"{server.url}/{kind}", tmp_path / "to", "sha256", SHA256, 0.2, NO_WAITS)
    assert names_in(tmp_path) == []
    assert len(server.requests) == 3


def test_waits_are_kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(fetch_module.time, "sleep", waited.append)
    server.failures = 2
    fetch(f"{server.url}/busy", tmp_path / "to", "sha256", SHA256)
    assert waited == [2, 8]


def test_what_is_not_there_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.failures = 9
    with pytest.raises(ToolError, match="/absent: the server answered 404 Not Found"):
        fetch(f"{server.url}/absent", tmp_path / "to", "sha256", SHA256, waits=NO_WAITS)
    assert len(server.requests) == 1
    assert names_in(tmp_path) == []


def test_untrusted_certificate_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opener:
        def open(self, url: str, timeout: float) -> None:
            raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(fetch_module, "_opener", Opener)
    with pytest.raises(ToolError, match=r"https://x/w: \('self-signed certificate',\)$"):
        fetch("https://x/w", tmp_path / "to", "sha256", SHA256, waits=NO_WAITS)


def test_server_that_is_down_is_said_so(server: Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(ToolError, match=r"Connection refused.*in each of 3 attempts"):
        fetch(f"{server.url}/answer", tmp_path / "to", "sha256", SHA256, waits=NO_WAITS)


def test_wrong_checksum_names_both_and_keeps_the_old_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "to").write_bytes(b"old")
    with pytest.raises(ToolError, match=f"sha256 is {SHA256}, expected {'0' * 64}"):
        fetch(f"{server.url}/answer", tmp_path / "to", "sha256", "0" * 64, waits=NO_WAITS)
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
