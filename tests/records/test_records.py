"""info, ls and cat of databases, LMDB and LevelDB."""

from pathlib import Path

import cv2
import lmdb
import numpy as np
from google.protobuf import text_format
from small_databases import IMAGE, complaint, datum, encoded, lines, raw, told, write

import caffe
from caffe.proto import caffe_pb2
from caffetools import databases
from caffetools.records import info, place

assert caffe  # tests/pycaffe/run.py tells by it which build answered


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
