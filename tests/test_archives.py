"""caffetools.archives: what it unpacks, and what it refuses of archives made to do harm."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bvlc import Build

from caffetools import archives, compressed
from caffetools.cli import ToolError

FILES = {
    "flowers/rose/1.jpg": b"r" * 513,
    "flowers/rose/b c\u00e9.png": b"",
    "flowers/tulip/1.jpg": b"t" * 200_000,
}
UNPACKED = {name.partition("/")[2]: content for name, content in FILES.items()}


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar(
    files: dict[str, bytes], *members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT
) -> bytes:
    """A tar of ``files``, and after them of what has no content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in files.items():
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for each in members:
            archive.addfile(each)
    return stream.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def zip_mode(name: str, mode: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def unpack(path: Path, content: bytes, *more: str) -> dict[str, bytes]:
    """Unpack ``content`` by the command; what came of it, by name."""
    (path / "archive").write_bytes(content)
    archives.main(["--archive", str(path / "archive"), "--output", str(path / "out"), *more])
    return found(path / "out")


def found(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(path: Path, content: bytes, complaint: str, *more: str) -> None:
    """The archive is refused with these words, and nothing of it is left."""
    with pytest.raises(ToolError, match=complaint):
        unpack(path, content, *more)
    assert [entry.name for entry in path.iterdir()] == ["archive"]


FORMS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "tar": tar,
    "ustar": lambda files: tar(files, form=tarfile.USTAR_FORMAT),
    "gnu": lambda files: tar(files, form=tarfile.GNU_FORMAT),
    "gzip": lambda files: gzip.compress(tar(files)),
    "bzip2": lambda files: bz2.compress(tar(files)),
    "xz": lambda files: lzma.compress(tar(files)),
    "xz in parts": lambda files: (
        lzma.compress(tar(files)[:700]) + b"\0" * 8 + lzma.compress(tar(files)[700:])
    ),
    "zip": zipped,
    "stored zip": lambda files: zipped(files, zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("form", FORMS)
def test_class_folders_come_out_whatever_the_form(tmp_path: Path, form: str) -> None:
    assert unpack(tmp_path, FORMS[form](FILES)) == UNPACKED


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_what_is_taken(tmp_path: Path, form: str) -> None:
    files = {
        "./a/x/1.png": b"1",
        "a/y//2.png": b"2",
        "b/x/3.png": b"3",
        "read.me": b"?",
        "__MACOSX/a/x/._1.png": b"mac",
        "a/x/.DS_Store": b"mac",
        ".git/config": b"git",
    }
    everything = {"a/x/1.png": b"1", "a/y/2.png": b"2", "b/x/3.png": b"3", "read.me": b"?"}
    content = FORMS[form](files)
    assert unpack(tmp_path, content) == everything
    for name, folder in (("one", "a"), ("other", "./a/")):
        (tmp_path / name).mkdir()
        assert unpack(tmp_path / name, content, "--folder", folder) == {
            "x/1.png": b"1",
            "y/2.png": b"2",
        }


def test_a_folder_in_a_folder_of_its_name(tmp_path: Path) -> None:
    files = {"cats/cats/1.png": b"1", "cats/dogs/1.png": b"2", "cats/archive": b"3"}
    out = unpack(tmp_path, tar(files))
    assert out == {"cats/1.png": b"1", "dogs/1.png": b"2", "archive": b"3"}


def test_long_names_and_empty_folders_are_kept_and_modes_are_not(tmp_path: Path) -> None:
    name = "n" * 120 + "/" + "m" * 130 + ".png"
    content = tar(
        {name: b"x", "c/1.png": b"y"},
        member("empty/", tarfile.DIRTYPE, mode=0o000),
        member("c/2.png", mode=0o4777, uid=12345),
    )
    assert unpack(tmp_path, content) == {name: b"x", "c/1.png": b"y", "c/2.png": b""}
    assert (tmp_path / "out" / "empty").is_dir()
    status = (tmp_path / "out" / "c" / "2.png").stat()
    assert status.st_mode & 0o7111 == 0
    assert status.st_uid != 12345


def test_what_is_there_already(tmp_path: Path) -> None:
    assert unpack(tmp_path, tar(FILES)) == UNPACKED
    assert unpack(tmp_path, tar(FILES)) == UNPACKED
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ToolError, match=r"thesis\.tex"):
        unpack(tmp_path, tar(FILES))
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


# --- names that lead elsewhere --------------------------------------------------------


@pytest.mark.parametrize("form", ["tar", "gnu", "zip"])
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("../escaped", r"entry '../escaped' leads upwards by '\.\.'"),
        ("a/../../escaped", "leads upwards"),
        ("a/..", "leads upwards"),
        (".hidden/../../x", "leads upwards"),
        ("/etc/escaped", "entry '/etc/escaped' has an absolute name"),
        ("a\\..\\..\\escaped", "has a backslash"),
        ("a/" + "n" * 256, "has too long a name"),
        ("n/" * 600 + "x", "has too long a name"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, form: str, name: str, complaint: str) -> None:
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    refused(place, FORMS[form]({"a/1.png": b"1", name: b"2"}), complaint)
    assert [each.name for each in tmp_path.rglob("*escaped*")] == []


def test_names_with_a_nul(tmp_path: Path) -> None:
    content = zipped({"a/1.png": b"1", "a/2_png.sh": b"2"}).replace(b"2_png", b"2\0png")
    refused(tmp_path, content, "has a NUL in its name")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (tarfile.SYMTYPE, "entry 'a/evil' is a symbolic link"),
        (tarfile.LNKTYPE, "is a hard link"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a named pipe"),
        (b"Z", "is of an unknown kind"),
    ],
)
def test_tar_entries_that_are_no_files(tmp_path: Path, kind: bytes, complaint: str) -> None:
    evil = member("a/evil", kind, linkname="/etc/passwd")
    refused(tmp_path, tar({"a/1.png": b"1"}, evil), complaint)


@pytest.mark.parametrize(
    ("mode", "complaint"), [(0o120777, "a symbolic link"), (0o020666, "no regular file")]
)
def test_zip_entries_that_are_no_files(tmp_path: Path, mode: int, complaint: str) -> None:
    refused(tmp_path, zip_mode("a/evil", mode), complaint)


def test_a_link_and_a_file_through_it(tmp_path: Path) -> None:
    """The oldest trick: a link to a folder outside, then a file below the link's name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(member("a", tarfile.SYMTYPE, linkname=str(tmp_path)))
        archive.addfile(member("a/escaped", size=1), io.BytesIO(b"x"))
    refused(tmp_path, stream.getvalue(), "'a' is a symbolic link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_one_name_twice(tmp_path: Path, form: str) -> None:
    first = {"a/x": b"1"}
    for second, complaint in (("a/./x", "'a/./x' stands there twice"), ("a/x/y", "whose name")):
        refused(tmp_path, FORMS[form]({**first, second: b"2"}), complaint)
    refused(tmp_path, FORMS[form]({"a/x/y": b"2", **first}), "'a/x' stands there twice")


def test_a_file_where_a_folder_is_asked_for(tmp_path: Path) -> None:
    refused(tmp_path, tar(FILES), "is a file", "--folder", "flowers/rose/1.jpg")
    for folder, complaint in (
        ("flower", "expected files below 'flower', found none; at its top is 'flowers'"),
        ("../x", "--folder: '../x' leads upwards"),
        (".git", "is hidden"),
    ):
        refused(tmp_path, tar(FILES), complaint, "--folder", folder)
    refused(tmp_path, tar({".a": b""}), "expected files in it, found none; at its top is nothing")


# --- sizes ----------------------------------------------------------------------------

ZEROS = {"a/zeros.bmp": bytes(3_000_000)}


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zip"])
def test_a_few_bytes_do_not_become_many(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "SMALL", 1_000_000)
    content = FORMS[form](ZEROS)
    refused(tmp_path, content, rf"unpacks to more than \d+ bytes, from {len(content)}; where")
    assert unpack(tmp_path, content, "--limit", "4000000") == {"zeros.bmp": ZEROS["a/zeros.bmp"]}


@pytest.mark.parametrize("form", FORMS)
def test_the_limit_is_of_all_files_together(tmp_path: Path, form: str) -> None:
    files = {f"a/{number}": bytes(600) for number in range(20)}
    refused(tmp_path, FORMS[form](files), "more than 11999 bytes", "--limit", "11999")


def test_what_is_left_out_counts_as_well(tmp_path: Path) -> None:
    content = gzip.compress(tar({"a/1": b"1", "b/2": bytes(300_000), ".c": bytes(300_000)}))
    refused(tmp_path, content, "more than 500000 bytes", "--limit", "500000", "--folder", "a")


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_the_number_of_entries(tmp_path: Path, form: str) -> None:
    content = FORMS[form]({f"a/{number}": b"" for number in range(5)})
    refused(tmp_path, content, "more than 4 entries", "--entries", "4")
    assert len(unpack(tmp_path, content, "--entries", "5")) == 5


def test_sizes_that_a_zip_tells_are_not_believed(tmp_path: Path) -> None:
    content = bytearray(zipped(ZEROS))
    size = struct.pack("<I", 3_000_000)
    assert content.count(size) == 2
    refused(tmp_path, bytes(content.replace(size, struct.pack("<I", 10))), "damaged")
    huge = bytes(content.replace(size, struct.pack("<I", 2**32 - 2)))
    assert unpack(tmp_path, huge) == {"zeros.bmp": ZEROS["a/zeros.bmp"]}


def test_zip_entries_that_share_their_content_are_counted_each(tmp_path: Path) -> None:
    """As of the zip bomb that needs no recursion: many names for the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1_000_000))
        (info,) = archive.filelist
        archive.filelist.extend([info] * 30)
    with pytest.raises(ToolError, match=r"stands there twice|damaged|more than"):
        unpack(tmp_path, stream.getvalue(), "--limit", "5000000")


@pytest.mark.parametrize("claimed", [2**24, 2**60])
def test_a_header_that_claims_to_be_long(tmp_path: Path, claimed: int) -> None:
    long = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=claimed)
    content = long.tobuf(tarfile.GNU_FORMAT) + b"n" * 1024
    refused(tmp_path, tar({"a": b""})[:512] + content, f"a header claims {claimed} bytes")


def test_headers_before_headers(tmp_path: Path) -> None:
    long = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1).tobuf(tarfile.GNU_FORMAT)
    content = (long + b"n".ljust(512, b"\0")) * 3000
    refused(tmp_path, tar({"a": b""})[:512] + content, "damaged")


def test_a_zip_whose_list_is_long(tmp_path: Path) -> None:
    content = zipped({f"a/{number:0200d}": b"" for number in range(1000)})
    refused(tmp_path, content, r"its list of entries claims \d+ bytes", "--entries", "10")


def test_an_xz_that_asks_for_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    try:
        content = lzma.compress(tar(FILES), filters=filters)
    except MemoryError:
        pytest.skip("there is no memory to pack it")
    refused(tmp_path, content, "[Mm]emory")


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """Both the content, here of a file of 60 MiB, and the number of entries, 4,000 of them."""
    names = {f"a/{number:0240d}": b"" for number in range(4_000)}
    for name, content in (("big", {"a/zeros": bytes(60 << 20)}), ("many", names)):
        (tmp_path / name).write_bytes(gzip.compress(tar(content), compresslevel=1))
    program = (
        "import sys\n"
        "from caffetools import archives\n"
        "archives.main(sys.argv[1:])\n"
        "print(open('/proc/self/status').read())\n"
    )
    del names, content
    for name in ("big", "many"):
        options = ["--archive", str(tmp_path / name), "--output", str(tmp_path / f"{name}.out")]
        done = subprocess.run(
            [sys.executable, "-c", program, *options, "--limit", str(1 << 30)],
            capture_output=True,
            text=True,
            check=True,
        )
        (most,) = re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)
        assert int(most) < 32_000


@pytest.mark.oracle
def test_it_runs_on_the_interpreter_of_bvlcs_build(bvlc: Build) -> None:
    """Python 3.9, whose tarfile knows no filters."""
    script = (
        "import glob, sys\n"
        "from caffetools import archives\n"
        "from caffetools.cli import ToolError\n"
        "for form in ('tar', 'xz', 'zip'):\n"
        "    archives.main(['--archive', form, '--output', form + '.out'])\n"
        "    print(sorted(glob.glob(form + '.out/*/*')))\n"
        "try:\n"
        "    archives.main(['--archive', 'evil', '--output', 'out'])\n"
        "except ToolError as error:\n"
        "    print(error)\n"
    )
    files = {"a/b/1.png": b"1", "a/c/2.png": b"2"}
    given = {form: FORMS[form](files) for form in ("tar", "xz", "zip")}
    evil = tar(files, member("a/evil", tarfile.SYMTYPE, linkname="/etc/passwd"))
    done = bvlc.python(script, files={**given, "evil": evil}, caffetools=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"['{f}.out/b/1.png', '{f}.out/c/2.png']" for f in given]
    assert lines[3].startswith("evil: entry 'a/evil' is a symbolic link")


# --- what is broken -------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_cut_is_told(tmp_path: Path, form: str) -> None:
    content = FORMS[form](FILES)
    content_end = len(content)
    if form in ("tar", "ustar", "gnu"):  # ends in zeros, of which one block is enough
        content_end = len(content.rstrip(b"\0")) + 512
    lengths = {*range(1, 12), 512, 1024, 1536, *range(0, content_end, content_end // 40)}
    for length in sorted(length for length in lengths if length < content_end):
        refused(tmp_path, content[:length], r"cut off or damaged|found neither")


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zip", "stored zip"])
def test_changed_bytes_are_told_or_change_nothing(tmp_path: Path, form: str) -> None:
    content = FORMS[form](FILES)
    told = 0
    for place in range(0, len(content), max(1, len(content) // 60)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        try:
            out = unpack(tmp_path, bytes(changed))
        except ToolError:
            told += 1
            assert not (tmp_path / "out").exists()
        else:
            # A name of a tar or zip has no checksum, what it names has.
            assert sorted(out.values()) == sorted(UNPACKED.values())
            subprocess.run(["rm", "-r", str(tmp_path / "out")], check=True)
    assert told > 30


def test_a_broken_header_is_no_end(tmp_path: Path) -> None:
    """tarfile would take it for one, and the rest be lost silently."""
    content = bytearray(tar({"a/1": b"1", "a/2": b"2", "a/3": b"3"}))
    content[1024:1034] = b"?" * 10
    refused(tmp_path, bytes(content), "neither a header nor the mark of the end")


def test_an_archive_after_the_archive(tmp_path: Path) -> None:
    refused(tmp_path, tar({"a/1": b"1"}) + tar({"b/2": b"2"}), "goes on after the mark of its end")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    content = bytearray(zipped({"a/1.png": b"1"}))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + place] |= 1
    refused(tmp_path, bytes(content), "entry 'a/1.png' is encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_a_zip(tmp_path: Path, method: int) -> None:
    refused(tmp_path, zipped({"a/1.png": b"1"}, method), f"compressed by method {method}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "found neither"),
        (b"just text" * 100, "found neither"),
        (gzip.compress(b"just text" * 100, mtime=0), "found neither"),
        (b"<!DOCTYPE html><html>", "found a web page"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "found a 7z archive"),
        (b"Rar!\x1a\x07\x01\x00", "found a RAR archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "found compressed by zstd"),
        (b"PK\x03\x04" + bytes(100), "damaged"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, content: bytes, complaint: str) -> None:
    refused(tmp_path, content, complaint)


# --- checksums and options ------------------------------------------------------------


def test_the_checksum_is_verified_first(tmp_path: Path) -> None:
    content = tar(FILES)
    sha256, sha1 = hashlib.sha256(content).hexdigest(), hashlib.sha1(content).hexdigest()
    refused(tmp_path, content, f"sha256 is {sha256}, expected 0000", "--sha256", "0" * 64)
    refused(tmp_path, content, f"sha1 is {sha1}, expected 0000", "--sha1", "0" * 40)
    refused(tmp_path, content, "'xyz' is no sha256", "--sha256", "xyz")
    assert unpack(tmp_path, content, "--sha256", sha256.upper(), "--sha1", sha1) == UNPACKED


def test_there_is_no_archive(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ToolError, match="there is no such archive"):
            archives.main(["--archive", str(path), "--output", str(tmp_path / "out")])
    refused(tmp_path, tar(FILES), "--limit: expected 1 or more, found 0", "--limit", "0")
