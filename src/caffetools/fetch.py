"""Bring a published file here, whole and with the checksums that were told, or not at all.

``python -m caffetools.fetch --url URL --sha256 HEX --output FILE`` takes ``file:``,
``http:`` and ``https:`` addresses and bare paths; several ``--url`` are mirrors of one file,
tried in that order. Network errors are tried again after growing waits; an answer such as
404 is not, and neither is a file with another checksum: then the next mirror has its turn.
A download that was cut off goes on where it was, in the same run or in the next.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import logging
import os
import re
import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from caffetools.cli import ToolError, run
from caffetools.download import Partial, download
from caffetools.files import checksum, put_in_place

TIMEOUT = 60.0  # seconds without a byte
WAITS = (2.0, 8.0, 30.0)  # seconds before the second, third and fourth attempt
MAX_BYTES = 8 << 30  # more than any published net has
ALGORITHMS = ("sha256", "sha1")

log = logging.getLogger("caffetools.fetch")


def fetch(
    urls: Sequence[str],
    output: Path,
    checksums: Mapping[str, str],
    timeout: float = TIMEOUT,
    waits: Sequence[float] = WAITS,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write what is at the first of ``urls`` that has it to ``output``.

    ``checksums`` are in hexadecimal, by their names in hashlib; the file must have all of
    them. What has come of it lies meanwhile as ``.NAME.partial`` beside ``output``, with a
    note on what it is, and stays there if the network fails. No more than ``max_bytes`` are
    taken from a server. Raises ToolError, telling of each of ``urls``, and leaves ``output`` as
    it was, if none has the file.
    """
    if not checksums:
        raise ToolError(f"{output}: no checksum is told, so nothing could be verified")
    for algorithm, expected in checksums.items():
        _require_hex(algorithm, expected)
    wanted = {algorithm: expected.lower() for algorithm, expected in checksums.items()}
    identity = " ".join(f"{algorithm}:{value}" for algorithm, value in sorted(wanted.items()))
    partial = Partial(output.with_name(f".{output.name}.partial"), identity)
    output.parent.mkdir(parents=True, exist_ok=True)
    with _alone(partial):
        partial.keep_only_if_same()
        try:
            _bring_from_one_of(urls, partial, wanted, timeout, waits, max_bytes)
            put_in_place(partial.path, output)
        finally:
            if partial.size == 0:  # put in place, or nothing came of it
                partial.discard()
    log.info("%s: fetched, %s", output, identity.replace(":", " "))


def _bring_from_one_of(
    urls: Sequence[str],
    partial: Partial,
    wanted: Mapping[str, str],
    timeout: float,
    waits: Sequence[float],
    max_bytes: int,
) -> None:
    reasons = []
    for url in urls:
        try:
            _bring(url, partial, wanted, timeout, waits, max_bytes)
            return
        except ToolError as error:
            reasons.append(str(error))
            if len(reasons) < len(urls):
                log.warning("%s; trying the next place", error)
    if len(reasons) == 1:
        raise ToolError(reasons[0])
    raise ToolError("no place has the file:\n  " + "\n  ".join(reasons))


def _bring(
    url: str,
    partial: Partial,
    wanted: Mapping[str, str],
    timeout: float,
    waits: Sequence[float],
    max_bytes: int,
) -> None:
    path = _local_path(url)
    if path is not None:
        _copy_file(path, partial.path)
    else:
        resumed = download(url, partial, timeout, waits, max_bytes)
        if resumed and _difference(partial.path, wanted) is not None:
            # Parts of two versions of the file, perhaps; all of one may be right.
            log.warning("%s: what was put together from parts is not the file; anew", url)
            partial.discard()
            download(url, partial, timeout, waits, max_bytes)
    difference = _difference(partial.path, wanted)
    if difference is not None:
        partial.discard()
        raise ToolError(
            f"{url}: its {difference}. Either the file there is another one now, or the "
            "checksum is wrong"
        )


def require_checksums(path: Path, checksums: Mapping[str, str]) -> None:
    """Raise ToolError unless the file has all of ``checksums``, told as to :func:`fetch`."""
    for algorithm, expected in checksums.items():
        _require_hex(algorithm, expected)
    difference = _difference(
        path, {algorithm: expected.lower() for algorithm, expected in checksums.items()}
    )
    if difference is not None:
        raise ToolError(
            f"{path}: its {difference}. Either the file is another one, or the checksum is wrong"
        )


def _difference(path: Path, wanted: Mapping[str, str]) -> Optional[str]:
    """The first checksum that is not as told, in words; None if all are."""
    for algorithm, expected in wanted.items():
        found = checksum(path, algorithm)
        if found != expected:
            return f"{algorithm} is {found}, expected {expected}"
    return None


@contextmanager
def _alone(partial: Partial) -> Iterator[None]:
    """Keep every other process off the partial file until the end, or until this one dies."""
    place = partial.path.with_name(f"{partial.path.name}.lock")
    with place.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One who has just finished may have removed it between the two lines above.
            taken = not os.path.samestat(os.fstat(lock.fileno()), place.stat())
        except (BlockingIOError, FileNotFoundError):
            taken = True
        if taken:
            lock.seek(0)
            raise ToolError(
                f"{partial.path}: another process fetches this file ({lock.read().strip()}); "
                "wait for it"
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        try:
            yield
        finally:
            place.unlink()


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


def _copy_file(source: Path, target: Path) -> None:
    if not source.is_file():
        raise ToolError(f"{source}: there is no such file to fetch")
    shutil.copyfile(str(source), str(target))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caffetools.fetch", description="Fetch one file and verify its checksums."
    )
    parser.add_argument(
        "--url",
        action="append",
        required=True,
        help="file:, http: or https: address, or a path; given again, the next mirror",
    )
    parser.add_argument("--sha256", metavar="HEX", help="the checksum that the file must have")
    parser.add_argument("--sha1", metavar="HEX", help="the same, where only a SHA-1 is published")
    parser.add_argument(
        "--max-bytes",
        type=int,
        default=MAX_BYTES,
        help="how many may come from a server (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    options = parser.parse_args(arguments)
    if options.sha256 is None and options.sha1 is None:
        parser.error("one of --sha256 and --sha1 is required")
    return options


def main(arguments: Sequence[str]) -> Optional[int]:
    options = _options(arguments)
    told = {algorithm: getattr(options, algorithm) for algorithm in ALGORITHMS}
    checksums = {algorithm: value for algorithm, value in told.items() if value is not None}
    fetch(options.url, options.output, checksums, max_bytes=options.max_bytes)
    return None


if __name__ == "__main__":
    run(main)
