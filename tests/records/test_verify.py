"""verify, of sound and of hostile databases, and files that end the process that reads them."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from small_databases import IMAGE, complaint, datum, encoded, lines, raw, told, write

import caffe
from caffetools import databases

assert caffe  # tests/pycaffe/run.py tells by it which build answered


def chunk(kind, content):
    head = struct.pack(">I", len(content)) + kind + content
    return head + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width, height):
    """A file of a few bytes that claims to be as large."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def image(data):
    return datum(data=data, encoded=True)


PHOTOGRAPH = encoded("jpg", np.tile(IMAGE, (40, 40, 1)))
FLOATS = [1.0, float("nan"), float("inf")] + [0.0] * 213
HOSTILE = [
    (b"\x0b", "it is no Datum: it has a field of wire type 3"),
    (raw(0)[:-9], "it is no Datum: it is cut off"),
    (b"", "it has no data"),
    (datum(channels=3, height=8, width=9, label=1), "it has no data"),
    (datum(channels=3, height=8, width=9, data=b"abc"),
     "it has 3 bytes of data, and its shape 3x8x9 (channels, height, width) takes 216"),
    (datum(channels=2**31 - 1, height=2**31 - 1, width=2**31 - 1, data=b"a"),
     "it has 1 bytes of data, and its shape 2147483647x2147483647x2147483647 (channels, height, "
     "width) takes 9903520300447984150353281023"),
    (datum(channels=-3, height=-8, width=9, data=bytes(216)),
     "it has 216 bytes of data, and its shape -3x-8x9 (channels, height, width) takes 0"),
    (datum(channels=3, height=8, width=9, float_data=FLOATS),
     "2 of its 216 values are NaN or infinite"),
    (datum(channels=3, height=8, width=9, float_data=[1.0] * 216, data=bytes(216)),
     "it has both data and float_data, of which Caffe reads data alone"),
    (raw(-1), "its label is -1, and Caffe counts classes from 0"),
    (raw(0).replace(b"\x28\0", b"") + b"\x2d\0\0\x80\x3f",
     "its label is of wire type 5, and skipped by Caffe"),
    (raw(0, IMAGE.transpose(1, 0, 2)), "its shape is 3x9x8, the first one's 3x8x9"),
    (raw(0, IMAGE[:, :, :1]), "its shape is 1x8x9, the first one's 3x8x9"),
    (image(b""), "it is encoded, and has no data"),
    (image(b"no image"), "its image cannot be decoded as an image"),
    (image(PHOTOGRAPH[: len(PHOTOGRAPH) // 2]), "its image is cut off or damaged"),
    (image(encoded("png")[:100]), "its image is cut off or damaged"),
    (image(png_of(60000, 60000)), "its image has more than 178956970 pixels"),
    (image(png_of(2**31 - 1, 2**31 - 1)), "its image has more than 178956970 pixels"),
    (image(png_of(3000, 3000)), "its image has 3000 x 3000 pixels, more than the 1000000"),
    (image(encoded("png", IMAGE.astype(np.uint16) * 256)),
     "its image has values of type uint16, and Caffe takes 8 bits"),
]  # fmt: skip


def test_every_fault_is_found_by_its_key():
    for backend in databases.BACKENDS:
        sound = [raw(3), image(encoded("png"))]
        values = [*sound, *(value for value, _ in HOSTILE), *sound]
        name = write(values, backend, backend)
        content, status = told("verify", name, "--max-pixels", "1000000")
        assert status == 1
        found = content.decode("utf-8").splitlines()
        assert len(found) == len(HOSTILE), found
        for number, (line, (_, says)) in enumerate(zip(found, HOSTILE), len(sound)):
            assert line.startswith("{:08d}_x: {}".format(number, says)), line


def test_sound_databases_have_no_findings():
    floats = [
        datum(channels=3, height=1, width=1, float_data=row)
        for row in np.random.RandomState(0).normal(size=(9, 3)).tolist()
    ]
    images = [image(encoded(ending)) for ending in ("png", "jpg", "bmp")]
    for number, values in enumerate([[raw(0), raw(2)], floats, [*images, raw(1)]]):
        for backend in databases.BACKENDS:
            assert told("verify", write(values, backend, backend + str(number))) == (b"", 0)


def test_an_empty_database_and_one_of_another_run_are_told():
    write([])
    assert told("verify", "db") == (b"db: it has no records\n", 1)
    write([raw(0), raw(1)], name="two")
    Path("two.json").write_text(json.dumps({"entries": 3, "sha256": "0" * 64}))
    found = lines("verify", "two")
    assert found[0].startswith("two: its number of records is 2, and two.json beside it tells 3")
    assert found[1].startswith("two: its SHA-256 is ") and len(found) == 2
    digest = hashlib.sha256(b"00000000_x" + raw(0) + b"00000001_x" + raw(1)).hexdigest()
    Path("two.json").write_text(json.dumps({"entries": 2, "sha256": digest}))
    assert told("verify", "two") == (b"", 0)
    Path("two.json").write_text("[no manifest")
    assert told("verify", "two") == (b"", 0)


def test_what_is_no_database_is_told():
    assert complaint("info", "db").endswith("found none; give the database's folder")
    Path(".db.123.partial").mkdir()
    said = complaint("verify", "db")
    assert ".db.123.partial beside it is of a run that was interrupted" in said
    assert "--max-pixels: expected at least 1" in complaint("verify", "db", "--max-pixels", "0")


# --- damaged files ----------------------------------------------------------------------


def run(*arguments):
    """The command as a user runs it: status, output, and the last line of its errors."""
    command = [sys.executable, "-m", "caffetools.records", *arguments]
    done = subprocess.run(command, capture_output=True)
    errors = done.stderr.decode("utf-8")
    assert "Traceback" not in errors, errors
    return done.returncode, done.stdout.decode("utf-8"), errors.splitlines()[-1:]


def test_files_that_are_cut_off_are_told():
    write([raw(0, np.tile(IMAGE, (20, 20, 1)))] * 40)
    data = Path("db/data.mdb")
    whole = data.read_bytes()
    data.write_bytes(whole[:-100])
    said = "db: its data.mdb has {} bytes, which are no whole pages".format(len(whole) - 100)
    assert lines("verify", "db")[0].startswith(said)
    data.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    for command in ("ls", "verify"):
        status, _, errors = run(command, "db")
        assert status == 1
        assert errors[0].startswith("error: db: reading it was ended by SIGBUS: the file ends")
    data.write_bytes(b"")
    (found,) = lines("verify", "db")
    assert found.startswith("db: its data.mdb is empty")
    data.write_bytes(os.urandom(8192) + whole[8192:])
    (found,) = lines("verify", "db")
    assert found.startswith("db: the LMDB cannot be read: ")


def test_a_leveldb_that_lacks_a_part_is_told():
    noise = np.random.RandomState(1).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    write([raw(0, noise)] * 9, "leveldb")
    assert lines("verify", "db") == []  # which makes a table of the log, as any opening does
    (table,) = Path("db").glob("*.ldb")
    table.write_bytes(table.read_bytes()[:-50])
    assert "db: the LevelDB cannot be read" in lines("verify", "db")[0]


def test_nobody_has_to_read_all_lines():
    write([raw(0)] * 3000)
    script = '"$0" -m caffetools.records ls db 2>errors | head -1; echo ${PIPESTATUS[0]}'
    done = subprocess.run(["bash", "-c", script, sys.executable], stdout=subprocess.PIPE)
    assert done.stdout == b"key\tlabel\tshape\tstored\tbytes\n0\n"
    assert Path("errors").read_bytes() == b""


def test_the_status_is_that_of_the_command():
    write([raw(0), raw(-1)])
    assert run("verify", "db")[0] == 1
    assert run("ls", "db")[0] == 0
    status, _, errors = run("cat", "db", "none")
    assert status == 1 and errors == [
        "error: db: it has no record none; all keys come before it; ls lists them"
    ]
