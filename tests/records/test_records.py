"""info, ls, cat and verify, of sound and of hostile databases, LMDB and LevelDB."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import zlib
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import cv2
import lmdb
import numpy as np
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.cli import ToolError
from caffetools.records import info, place
from caffetools.records.__main__ import main

assert caffe  # tests/pycaffe/run.py tells by it which build answered

IMAGE = np.random.RandomState(0).randint(0, 256, (8, 9, 3)).astype(np.uint8)


def datum(**values):
    return caffe_pb2.Datum(**values).SerializeToString()


def raw(label, image=IMAGE):
    height, width, channels = image.shape
    return datum(
        channels=channels, height=height, width=width, label=label,
        data=image.transpose(2, 0, 1).tobytes(),
    )  # fmt: skip


def encoded(ending, image=IMAGE):
    return cv2.imencode("." + ending, image)[1].tobytes()


def write(values, backend="lmdb", name="db"):
    """A database of records or, by their place, of values."""
    Path(name).mkdir()
    records = [
        value if isinstance(value, tuple) else (b"%08d_x" % index, value)
        for index, value in enumerate(values)
    ]
    databases.write(Path(name), records, backend)
    return name


def told(*arguments):
    """What the command writes to standard output, as bytes, and its status."""
    content = BytesIO()
    with TextIOWrapper(content, encoding="utf-8", write_through=True) as stream:
        with redirect_stdout(stream):
            status = main(list(arguments))
        return content.getvalue(), status


def lines(*arguments):
    return told(*arguments)[0].decode("utf-8").splitlines()


def complaint(*arguments):
    try:
        with redirect_stdout(StringIO()):
            main(list(arguments))
    except ToolError as error:
        return str(error)
    raise AssertionError("no ToolError")


def described(name="db"):
    return dict(line.split(None, 1) for line in lines("info", name) if not line.startswith("on "))


# --- info -------------------------------------------------------------------------------


def test_what_a_database_holds_is_told_of_both_kinds():
    for backend in databases.BACKENDS:
        name = write([raw(place % 3) for place in range(30)], backend, backend)
        found = lines("info", name)
        assert found[0] == "kind       " + backend
        rest = [line for line in found if not line.startswith(("kind", "on disk", "map size"))]
        size = 30 * (len(raw(0)) + len("00000000_x")) + 20 * (len(raw(1)) - len(raw(0)))
        assert rest == [
            "records    30",
            "bytes      {} of keys and values".format(size),
            "stored     30 raw",
            "shape      3x8x9 (channels, height, width) of the first",
            "keys       00000000_x to 00000029_x, numbered 0 to 29 in order",
            "labels     3, from 0 to 2",
            "order      shuffled: the label changes 29 times, in a random order about 20 times",
            "label 0    10",
            "label 1    10",
            "label 2    10",
        ]


def test_the_map_size_is_the_one_in_the_file():
    environment = lmdb.open("db", map_size=1 << 40)
    environment.close()
    assert "map size   1099511627776 bytes" in lines("info", "db")
    assert "records    0" in lines("info", "db")


def test_other_kinds_and_shapes_are_counted():
    png, jpeg = encoded("png"), encoded("jpg")
    write(
        [raw(0), raw(0, IMAGE[:7]), datum(data=png, encoded=True), datum(data=jpeg, encoded=True),
         datum(channels=2, float_data=[1, 2]), b"\x0b", datum(data=jpeg, encoded=True)]
    )  # fmt: skip
    found = described()
    assert found["stored"] == "2 raw, 2 JPEG, 1 PNG, 1 float"
    assert found["shape"].endswith("of the first; 2 records have others")
    assert "no Datum   1; verify tells which" in lines("info", "db")
    write([datum(data=png, encoded=True)], name="encoded")
    assert described("encoded")["shape"].startswith("3x8x9 ")
    write([datum(data=png[:20], encoded=True)], name="cut")
    assert described("cut")["shape"].startswith("? ")


def test_the_order_of_labels_is_told():
    for labels, said in [
        ([0] * 10 + [1] * 10, "sorted by label: the label changes 1 times"),
        ([4] * 10, "all of one label: the label changes 0 times"),
        (([0] * 10 + [1] * 10) * 4, "mostly sorted by label"),
        (([0] * 4 + [1] * 4) * 6, "partly sorted by label"),
        ([0, 1] * 20, "shuffled"),
    ]:
        counted = info.Labels()
        for label in labels:
            counted.add(label)
        assert counted.order().startswith(said), counted.order()


def test_memory_does_not_grow_with_the_number_of_labels():
    before, info._MOST_LABELS = info._MOST_LABELS, 3
    write([raw(label) for label in (5, 5, 6, 7, 8, 9, 8)])
    found = lines("info", "db")
    info._MOST_LABELS = before
    assert "labels     3 and others, of 3 records, from 5 to 7" in found
    assert found[-3:] == ["label 5    2", "label 6    1", "label 7    1"]


def test_the_form_of_keys_is_told():
    for keys, said in [
        ([b"00000000_a", b"00000001_b"], "numbered 0 to 1 in order"),
        ([b"0000000003", b"0000000004"], "numbered 3 to 4 in order"),
        ([b"00000000_a", b"00000003_b"], "numbered 0 to 3, not one by one, 2 left out"),
        ([b"00000000_a", b"b"], "some with a number in front"),
        ([b"a", b"b"], "by name"),
    ]:
        found = info.Keys()
        for key in keys:
            found.add(key)
        assert str(found) == "{} to {}, {}".format(keys[0].decode(), keys[1].decode(), said)


# --- ls ---------------------------------------------------------------------------------


def test_records_are_listed_from_a_key_on():
    png = datum(data=encoded("png"), encoded=True, label=7)
    values = [raw(4), png, datum(channels=3, float_data=[1, 2, 3], label=-1), b"\x0b", raw(5)]
    for backend in databases.BACKENDS:
        name = write(values, backend, backend)
        header = ["key", "label", "shape", "stored", "bytes"]
        rows = [
            ["00000000_x", "4", "3x8x9", "raw", str(len(values[0]))],
            ["00000001_x", "7", "3x8x9", "PNG", str(len(png))],
            ["00000002_x", "-1", "3x0x0", "float", str(len(values[2]))],
            ["00000003_x", "?", "?", "no Datum", "2"],
            ["00000004_x", "5", "3x8x9", "raw", str(len(values[4]))],
        ]
        rows[3][4] = "1"
        assert [line.split("\t") for line in lines("ls", name)] == [header, *rows]
        for start, limit, chosen in [
            ("00000001_x", 2, rows[1:3]), ("00000001", 1, rows[1:2]), ("00000001_y", 9, rows[2:]),
            ("", 0, []), ("1", 3, []),
        ]:  # fmt: skip
            found = lines("ls", name, "--from", start, "--limit", str(limit))
            assert [line.split("\t") for line in found[1:]] == chosen
    assert "--limit: expected a number of records, found -1" in complaint(
        "ls", "lmdb", "--limit", "-1"
    )


def test_any_key_is_a_line_and_can_be_given_as_it_is_shown():
    keys = [b"a b", b"\xff\xfe", b"tab\tnewline\n", b"back\\slash", b"\\x41", "ä/ü".encode()]
    keys += ["\u202e".encode(), b"\x1b[31m", b"\\\\", b"\x80\\x80"]
    for key in keys:
        text = place.shown(key)
        assert text.isprintable() and place.key_of(text) == key
    assert len(set(map(place.shown, keys))) == len(keys)
    assert place.shown(b"\xff\t\\") == "\\xff\\x09\\\\"
    assert place.key_of("c:\\dir") == b"c:\\dir"
    write([(key, raw(0)) for key in sorted(keys)])
    shown = [line.split("\t")[0] for line in lines("ls", "db")[1:]]
    assert [place.key_of(text) for text in shown] == sorted(keys)
    for text in shown:
        assert told("cat", "db", text)[0].startswith(b"\x89PNG")


# --- cat --------------------------------------------------------------------------------


def test_an_image_is_a_png_of_the_pixels_or_the_file_that_it_was():
    jpeg = encoded("jpg")
    gray, four = IMAGE[:, :, :1], np.concatenate([IMAGE, IMAGE[:, :, :1]], axis=2)
    values = [raw(0), raw(0, gray), raw(0, four), datum(data=jpeg, encoded=True)]
    for backend in databases.BACKENDS:
        name = write(values, backend, backend)
        for place_, image in enumerate((IMAGE, gray, four)):
            content, _ = told("cat", name, "%08d_x" % place_)
            found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(np.atleast_3d(found), image)
        assert told("cat", name, "00000003_x")[0] == jpeg
        assert told("cat", name, "00000000_x", "-o", "out/a.png")[0] == b""
        assert Path("out/a.png").read_bytes() == told("cat", name, "00000000_x")[0]


def test_a_datum_is_shown_as_prototxt():
    made = caffe_pb2.Datum(channels=1, height=1, width=2, data=b"\0\xff", label=-3)
    write([made.SerializeToString()])
    text = told("cat", "db", "00000000_x", "--datum")[0].decode("utf-8")
    assert text_format.Parse(text, caffe_pb2.Datum()) == made


def test_what_cannot_be_shown_is_told():
    write(
        [datum(channels=1, height=1, width=1, float_data=[1]), raw(0, IMAGE[:, :, :2]), b"\x0b",
         datum(channels=3, height=2**30, width=2**30, data=b"x")]
    )  # fmt: skip
    assert "record 00000000_x: a PNG holds no floats; --datum" in complaint(
        "cat", "db", "00000000_x"
    )
    assert "a PNG holds no 2 channels" in complaint("cat", "db", "00000001_x")
    for more in ([], ["--datum"]):
        said = complaint("cat", "db", "00000002_x", *more)
        assert said.startswith("record 00000002_x: it is no Datum: ") and said.endswith("again")
    assert "it has 1 bytes of data" in complaint("cat", "db", "00000003_x", "-o", "a.png")
    assert not Path("a.png").exists()
    assert "db: it has no record 0000; the next one is 00000000_x" in complaint("cat", "db", "0000")
    assert "all keys come before it" in complaint("cat", "db", "1")


# --- verify -----------------------------------------------------------------------------


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
    (image(b"no image"), "its data begins as no image file that is known does"),
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
