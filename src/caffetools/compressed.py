"""Reading what others have compressed, without believing what it says of its size.

A few bytes can be made to unpack to any number of them. Whoever reads counts what comes out,
and stops at :func:`allowance`, which hangs on the size of the file that is there alone.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caffetools.cli import ToolError

# What the errors of a damaged file are, whatever it is compressed by.
DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error)

MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0"}

RATIO = 200  # bytes that come of one; photographs have 1, MNIST's digits 5, plain areas 100
SMALL = 64 << 20  # bytes that may come of the smallest file
XZ_MEMORY = 256 << 20  # bytes; what `xz -9` packed needs a quarter of it
_BLOCK = 1 << 16


def allowance(path: Path) -> int:
    """How many bytes may come of the file at ``path``."""
    return SMALL + RATIO * path.stat().st_size


def decompressed(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """What is in ``stream``, at its beginning: decompressed, by its first bytes, or as it is.

    Reading raises one of :data:`DAMAGE` where the file is cut off or broken.
    """
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(MAGIC["gzip"]):
        return gzip.GzipFile(fileobj=stream)
    if head.startswith(MAGIC["bzip2"]):
        return bz2.BZ2File(stream)
    if head.startswith(MAGIC["xz"]):
        return io.BufferedReader(_Xz(stream))
    return stream


@contextmanager
def told(path: Path, kinds: tuple[type[Exception], ...] = DAMAGE) -> Iterator[None]:
    """Raise errors of a damaged file as a :class:`ToolError` that names the file."""
    try:
        yield
    except kinds as error:
        said = str(error) or type(error).__name__
        raise ToolError(f"{path}: is cut off or damaged: {said}; bring it anew") from error


class _Xz(io.RawIOBase):
    """lzma.LZMAFile with a bound of memory: a file can ask for a dictionary of 4 GiB."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._decompressor = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        given = b""
        while not given:
            rest = b""
            if self._decompressor.eof:
                rest = self._next_stream()
                if not rest:
                    return 0
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                rest = self._stream.read(_BLOCK)
                if not rest:
                    raise EOFError("the file ends before its compressed content does")
            given = self._decompressor.decompress(rest, len(buffer))
        buffer[: len(given)] = given
        return len(given)

    def _next_stream(self) -> bytes:
        """The beginning of the stream that follows, perhaps after zeros; nothing at the end."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest:
            block = self._stream.read(_BLOCK)
            if not block:
                return b""
            rest = block.lstrip(b"\0")
        return rest
