"""What is in a tar or zip archive, entry by entry, read once from its beginning to its end.

Nothing is written here and no size that an archive tells is believed: :class:`Meter` counts what
comes out of it. tarfile and zipfile read the headers alone.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Optional

from caffetools.cli import ToolError
from caffetools.compressed import DAMAGE, decompressed, told

BLOCK = 1 << 16  # bytes
LARGEST_HEADER = 1 << 18  # bytes of a tar's long names and the like
DIRECTORY_BYTES = 256  # of each entry, in a zip's list of its entries

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"<": "a web page or XML, as servers send in place of a file that is not there",
}
_TAR_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_ENCRYPTED = 0x1  # a bit of a zip entry's flags


@dataclass(frozen=True)
class Entry:
    """An entry as the archive names it.

    Attributes:
        blocks: a file's content; of no use any more once the next entry is asked for.
        kind: what it is where it is neither file nor folder, such as ``a symbolic link``.
    """

    name: str
    is_folder: bool
    blocks: Iterator[bytes]
    kind: str = ""


class Meter:
    """Counts what comes out of an archive; raises :class:`ToolError` beyond ``limit`` bytes."""

    def __init__(self, archive: Path, limit: int) -> None:
        self.archive = archive
        self.limit = limit
        self.bytes = 0

    def count(self, block: bytes) -> bytes:
        """``block``, which is one of what comes out."""
        self.bytes += len(block)
        if self.bytes > self.limit:
            raise ToolError(
                f"{self.archive}: unpacks to more than {self.limit} bytes, from "
                f"{self.archive.stat().st_size}; where it is to be trusted, allow more by --limit"
            )
        return block


def entries(archive: Path, meter: Meter, most: int) -> Iterator[Entry]:
    """The entries of an archive in its own order.

    ``most`` bounds the room that a zip's list of entries takes. Raises :class:`ToolError` where
    the archive is none, is cut off, damaged or encrypted.
    """
    if not archive.is_file():
        raise ToolError(f"{archive}: there is no such archive")
    with archive.open("rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        if head.startswith(_ZIP_MAGIC):
            yield from _zip_entries(archive, meter, most)
            return
        for magic, name in _OTHERS.items():
            if head.startswith(magic):
                _none(archive, name)
        yield from _tar_entries(archive, decompressed(stream), meter)


def _none(archive: Path, found: str) -> NoReturn:
    raise ToolError(
        f"{archive}: expected a tar, bare or compressed by gzip, bzip2 or xz, or a zip; "
        f"found {found}"
    )


# --- tar --------------------------------------------------------------------------------


class _Forward:
    """The decompressed archive as tarfile reads it, which may go forward alone.

    Attributes:
        last: what was read last. tarfile takes a broken header for the end of an archive, whose
            mark is a block of zeros.
    """

    def __init__(self, stream: io.BufferedIOBase, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._position = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        self.last = self._meter.count(self._stream.read(size))
        self._position += len(self.last)
        return self.last

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a header leads back to what was read")
        while self._position < position and self.read(min(BLOCK, position - self._position)):
            pass

    def blocks(self, size: int) -> Iterator[bytes]:
        """The ``size`` bytes that follow."""
        while size > 0:
            block = self.read(min(BLOCK, size))
            if not block:
                raise EOFError("it ends in the middle of an entry")
            size -= len(block)
            yield block


def _tar_entries(archive: Path, stream: io.BufferedIOBase, meter: Meter) -> Iterator[Entry]:
    forward = _Forward(stream, meter)
    try:
        with told(archive):
            reader = tarfile.TarFile(fileobj=forward, encoding="utf-8")  # type: ignore[arg-type]
    except tarfile.ReadError as error:
        _none(archive, f"neither ({error})")
    while True:
        with told(archive, _HOSTILE):
            member = reader.next()
        if member is None:
            break
        reader.members = []  # type: ignore[attr-defined]  # which would otherwise grow with the archive
        plain = member.isreg() and not member.issparse()
        kind = "" if plain or member.isdir() else _TAR_KINDS.get(member.type, "of an unknown kind")
        blocks = _checked(archive, forward.blocks(member.size if plain else 0))
        yield Entry(member.name, member.isdir(), blocks, kind or _sparse(member))
    _require_end(archive, forward)


def _sparse(member: tarfile.TarInfo) -> str:
    return _TAR_KINDS[tarfile.GNUTYPE_SPARSE] if member.issparse() else ""


def _require_end(archive: Path, forward: _Forward) -> None:
    """Raise unless what tarfile took for the end is one; reads on, for the checksum there."""
    if forward.last != bytes(tarfile.BLOCKSIZE):
        raise ToolError(
            f"{archive}: is cut off or damaged: there is neither a header nor the mark of the end "
            f"before byte {forward.tell()}; bring it anew"
        )
    with told(archive, _HOSTILE):
        while forward.read(BLOCK):
            if forward.last.strip(b"\0"):
                raise tarfile.ReadError("it goes on after the mark of its end")


# --- zip --------------------------------------------------------------------------------


class _Bounded(io.BufferedReader):
    """A file of which zipfile cannot read more at once than the list of few entries takes."""

    most = 0

    def read(self, size: Optional[int] = -1) -> bytes:
        if size is not None and size > self.most:
            raise zipfile.BadZipFile(f"its list of entries claims {size} bytes")
        return super().read(size)


def _zip_entries(archive: Path, meter: Meter, most: int) -> Iterator[Entry]:
    with _Bounded(io.FileIO(str(archive))) as stream:
        stream.most = max(BLOCK * 2, DIRECTORY_BYTES * most)
        with told(archive, _HOSTILE):
            reader = zipfile.ZipFile(stream)
        for info in reader.infolist():
            # zipfile's own name ends where this one has a NUL.
            name = info.orig_filename
            if info.flag_bits & _ENCRYPTED:
                raise ToolError(
                    f"{archive}: entry {name!r} is encrypted; pack the images without a password"
                )
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ToolError(
                    f"{archive}: entry {name!r} is compressed by method {info.compress_type}; "
                    "expected stored or deflated ones, as zip programs write by default"
                )
            kind = _zip_kind(info)
            yield Entry(name, info.is_dir(), _zip_blocks(archive, reader, info, meter), kind)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    """What an entry from Unix is, where it is neither file nor folder."""
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        return "a symbolic link"
    return "" if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "no regular file"


def _zip_blocks(
    archive: Path, reader: zipfile.ZipFile, info: zipfile.ZipInfo, meter: Meter
) -> Iterator[bytes]:
    def blocks() -> Iterator[bytes]:
        with reader.open(info) as stream:
            for block in iter(lambda: stream.read(BLOCK), b""):
                yield meter.count(block)

    return _checked(archive, blocks())


# --- what goes wrong --------------------------------------------------------------------

# RuntimeError is RecursionError as well, of headers before headers; zipfile raises
# NotImplementedError, which is one, for what it does not know.
_HOSTILE = (
    *DAMAGE,
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error),
    *(ValueError, OverflowError, RuntimeError, LookupError, MemoryError),
)


def _checked(archive: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks; an error of reading them is the archive's, and not of who writes them."""
    while True:
        with told(archive, _HOSTILE):
            block = next(blocks, None)
        if block is None:
            return
        yield block
