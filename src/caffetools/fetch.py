"""Bring a published file here, whole and with the checksum that was told, or not at all.

``python -m caffetools.fetch --url URL --sha256 HEX --output FILE`` takes ``file:``,
``http:`` and ``https:`` addresses and bare paths. Network errors are tried again after
growing waits; an answer such as 404 is not.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from caffetools.cli import ToolError, run
from caffetools.files import whole_file

TIMEOUT = 60.0  # seconds without a byte
WAITS = (2.0, 8.0, 30.0)  # seconds before the second, third and fourth attempt

# Answers of a server that may be others a little later.
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)

_BLOCK = 1 << 20

log = logging.getLogger("caffetools.fetch")


class _PassingError(Exception):
    """The network failed in a way that another attempt may mend."""


def fetch(
    url: str,
    output: Path,
    algorithm: str,
    expected: str,
    timeout: float = TIMEOUT,
    waits: Sequence[float] = WAITS,
) -> None:
    """Write what is at ``url`` to ``output`` if its checksum is ``expected``.

    ``algorithm`` is a name of hashlib's, ``expected`` in hexadecimal. Raises ToolError, and
    leaves ``output`` as it was, if the checksum is another, if there is nothing at ``url``,
    or if the network fails once more than there are ``waits``.
    """
    _require_hex(algorithm, expected)
    path = _local_path(url)
    with whole_file(output) as partial:
        if path is not None:
            found = _copy_file(path, partial, algorithm)
        else:
            found = _download_patiently(url, partial, algorithm, timeout, waits)
        if found != expected.lower():
            raise ToolError(
                f"{url}: its {algorithm} is {found}, expected {expected.lower()}; {output} was "
                "not written. Either the file there is another one now, or the checksum is wrong"
            )
    log.info("%s: fetched, %s %s", output, algorithm, expected.lower())


def _require_hex(algorithm: str, expected: str) -> None:
    digits = 2 * hashlib.new(algorithm).digest_size
    if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", expected):
        raise ToolError(f"{expected!r} is no {algorithm}; expected {digits} hexadecimal digits")


def _local_path(url: str) -> Optional[Path]:
    """The path that a ``file:`` address or a bare path names; None for the network."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "":
        return Path(url)
    if parts.scheme != "file":
        raise ToolError(
            f"{url}: cannot fetch {parts.scheme}: addresses; expected file:, http:, https: "
            "or a path"
        )
    if parts.netloc not in ("", "localhost"):
        raise ToolError(
            f"{url}: a file: address names a file of this machine; found the host "
            f"{parts.netloc!r}, expected file:///path"
        )
    return Path(urllib.request.url2pathname(parts.path))


def _copy_file(source: Path, target: Path, algorithm: str) -> str:
    if not source.is_file():
        raise ToolError(f"{source}: there is no such file to fetch")
    with source.open("rb") as stream:
        return _pour(iter(lambda: stream.read(_BLOCK), b""), target, algorithm)[0]


def _download_patiently(
    url: str, target: Path, algorithm: str, timeout: float, waits: Sequence[float]
) -> str:
    for wait in waits:
        try:
            return _download(url, target, algorithm, timeout)
        except _PassingError as error:
            log.warning("%s: %s; trying again in %g s", url, error, wait)
            time.sleep(wait)
    try:
        return _download(url, target, algorithm, timeout)
    except _PassingError as error:
        raise ToolError(
            f"{url}: {error}, in each of {len(waits) + 1} attempts; see whether the network "
            "and the server are up"
        ) from error


def _download(url: str, target: Path, algorithm: str, timeout: float) -> str:
    """One attempt. Raises ToolError where another would end alike, else _PassingError."""
    with _answer(url, timeout) as answer:
        checksum, size = _pour(_blocks(answer), target, algorithm)
        promised = answer.headers.get("Content-Length")
    # http.client does not say when a connection ends early in a read by blocks.
    if promised is not None and size != int(promised):
        raise _PassingError(f"the connection ended after {size} of {promised} bytes")
    return checksum


def _answer(url: str, timeout: float) -> Any:
    try:
        return _opener().open(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        reason = f"the server answered {error.code} {error.reason}"
        if error.code in _PASSING_STATUS:
            raise _PassingError(reason) from error
        raise ToolError(f"{url}: {reason}") from error
    except urllib.error.URLError as error:
        if _is_for_good(error):
            raise ToolError(f"{url}: {error.reason}") from error
        raise _PassingError(str(error.reason)) from error
    except http.client.InvalidURL as error:
        raise ToolError(f"{url}: {error}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _passing(error) from error


def _is_for_good(error: urllib.error.URLError) -> bool:
    """Whether the address itself is at fault, or the server's certificate."""
    reason = error.reason
    return isinstance(reason, (str, ssl.SSLCertVerificationError))


def _blocks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            block = answer.read(_BLOCK)
        except (http.client.HTTPException, OSError) as error:
            raise _passing(error) from error
        if not block:
            return
        yield block


def _passing(error: Exception) -> _PassingError:
    return _PassingError(str(error) or type(error).__name__)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone, so that no redirection leads to another scheme."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _pour(blocks: Iterable[bytes], target: Path, algorithm: str) -> tuple[str, int]:
    """Write ``blocks`` to ``target``; their checksum and size."""
    digest = hashlib.new(algorithm)
    size = 0
    with target.open("wb") as stream:
        for block in blocks:
            stream.write(block)
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caffetools.fetch", description="Fetch one file and verify its checksum."
    )
    parser.add_argument("--url", required=True, help="file:, http: or https: address, or a path")
    checksum = parser.add_mutually_exclusive_group(required=True)
    checksum.add_argument("--sha256", metavar="HEX", help="the checksum that the file must have")
    checksum.add_argument("--sha1", metavar="HEX", help="the same, where only a SHA-1 is published")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> Optional[int]:
    options = _options(arguments)
    if options.sha256 is not None:
        fetch(options.url, options.output, "sha256", options.sha256)
    else:
        fetch(options.url, options.output, "sha1", options.sha1)
    return None


if __name__ == "__main__":
    run(main)
