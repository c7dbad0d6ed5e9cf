"""A server on the loopback that fails in the ways that servers and networks fail."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = bytes(range(256)) * 5000  # more than one block
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA1 = hashlib.sha1(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers with ``content``, after as many failures, of the kind in the path, as it is told.

    Attributes:
        stall: for how many seconds it stalls.
        ranges: whether it sends parts that are asked for.
        total: what it calls the size of its file where it sends a part; None for what it is.
        tag: its ETag; an If-Range with another one gets the whole file.
        requests: the paths asked for; ``asked`` the Range of each, or None.
        sent: how many bytes of content each answer had.
    """

    daemon_threads = True

    def __init__(self, content: bytes = CONTENT) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.failures = 0
        self.stall = 2.0
        self.ranges = False
        self.total: str | None = None
        self.tag: str | None = None
        self.requests: list[str] = []
        self.asked: list[str | None] = []
        self.sent: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(content: bytes = CONTENT) -> Iterator[Server]:
    """A server that is at work until the end."""
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.asked.append(self.headers.get("Range"))
        kind = self.path.strip("/")
        if self.server.failures > 0:
            self.server.failures -= 1
            getattr(self, kind)()
        else:
            self.answer()

    def answer(self, share: float = 1) -> None:
        """The whole file or the part that is asked for, and of that the first ``share``."""
        content = self.server.content
        start = self.start()
        if start is not None and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            total = self.server.total or len(content)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{total}")
        if self.server.tag is not None:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        part = rest[: int(share * len(rest))]
        self.server.sent.append(len(part))
        self.wfile.write(part)

    def start(self) -> int | None:
        """The byte to begin with, None where the whole file is to be sent."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not self.server.ranges or asked is None:
            return None
        return int(asked[1]) if condition in (None, self.server.tag) else None

    def cut(self) -> None:
        self.answer(0.5)

    def cut_at_once(self) -> None:
        self.close_connection = True

    def stalled(self) -> None:
        self.answer(0)
        self.wfile.flush()
        time.sleep(self.server.stall)

    def stalled_halfway(self) -> None:
        self.answer(0.5)
        self.wfile.flush()
        time.sleep(self.server.stall)

    def dripping(self) -> None:
        """A byte now and then, so that no wait is long."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in self.server.content[:200]:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.02)

    def busy(self) -> None:
        self.send_error(503)

    def absent(self) -> None:
        self.send_error(404)

    def elsewhere(self) -> None:
        """Another part than the one asked for, as long as that."""
        content = self.server.content
        length = len(content) - (self.start() or 0)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 7-{7 + length - 1}/{len(content)}")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content[7 : 7 + length])

    def endless(self) -> None:
        """A whole file that does not end, in chunks."""
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.server.sent.append(0)
        block = bytes(1 << 16)
        with contextlib.suppress(OSError):  # the other side has gone
            while True:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
                self.server.sent[-1] += len(block)
        self.close_connection = True

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
