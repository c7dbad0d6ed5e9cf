"""The text format: what is taken and what refused, as BVLC's own parser does."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import Any

import pytest
from bvlc import Build
from google.protobuf import text_format

from recaffe.proto.parser import ParseError, parse_into
from recaffe.proto.schema import NetParameter


def words(text: str) -> list[str]:
    return text.split()


# What is taken, and the same in the plainest form.
TAKEN: dict[str | bytes, str] = {
    # -- bools
    "force_backward: 1": "force_backward: true",
    "force_backward: 00": "force_backward: false",
    "force_backward: 0x1": "force_backward: true",
    "force_backward: t": "force_backward: true",
    "force_backward: True": "force_backward: true",
    "force_backward: f": "force_backward: false",
    "force_backward: False": "force_backward: false",
    # -- floats
    "layer { loss_weight: 1f }": "layer { loss_weight: 1 }",
    "layer { loss_weight: 1.5F }": "layer { loss_weight: 1.5 }",
    "layer { loss_weight: 1.f loss_weight: 5. loss_weight: .5 }": (
        "layer { loss_weight: 1 loss_weight: 5 loss_weight: 0.5 }"
    ),
    "layer { loss_weight: 1e-1f loss_weight: 1E+2 }": (
        "layer { loss_weight: 0.1 loss_weight: 100 }"
    ),
    "layer { loss_weight: inf loss_weight: -Infinity loss_weight: INF }": (
        "layer { loss_weight: inf loss_weight: -inf loss_weight: inf }"
    ),
    "layer { loss_weight: 1e60 loss_weight: -1e400 }": (
        "layer { loss_weight: inf loss_weight: -inf }"
    ),
    "layer { loss_weight: 0f }": "layer { loss_weight: 0 }",
    "layer { loss_weight: - 1 }": "layer { loss_weight: -1 }",
    "layer { loss_weight: 99999999999999999999999 }": "layer { loss_weight: 1e23 }",
    # -- integers
    "input_dim: 010 input_dim: 0x1F input_dim: -0x10 input_dim: -\n5": (
        "input_dim: 8 input_dim: 31 input_dim: -16 input_dim: -5"
    ),
    f"input_dim: {'0' * 80}7": "input_dim: 7",
    "input_dim: -2147483648": "input_dim: -2147483648",
    # -- enums
    "layer { phase: 1 }": "layer { phase: TEST }",
    "layer { phase: 0x1 }": "layer { phase: TEST }",
    "layer { phase: -0 }": "layer { phase: TRAIN }",
    "layers { type: 4 }": "layers { type: CONVOLUTION }",
    # -- strings
    "name: 'a' # between\n \"b\"": "name: 'ab'",
    "name: 'a''b'": "name: 'ab'",
    r"""name: "\x41\101\n\t\a\b\f\r\v\?\"\'\\" """: (
        'name: "AA\\n\\t\\007\\010\\014\\r\\013?\\"\'\\\\"'
    ),
    r'name: "\x4142\1234\18"': 'name: "A42S4\\0018"',
    r'name: "\u00e9\U0001f600"': 'name: "é😀"',
    r'name: "\ud83d\ude00\uD83D\uDE00"': 'name: "😀😀"',
    r'name: "\U0000d83d\ude00"': 'name: "😀"',
    r'name: "\303\xa9"': 'name: "é"',
    r"""name: "\xc3" '\xa9'""": 'name: "é"',
    r'name: "\0"': 'name: "\\000"',
    b'name: "\xc3\xa9"': 'name: "é"',
    b'name: "\x01\x7f\t\r"': 'name: "\\001\\177\\t\\r"',
    "name: ''": "name: ''",
    # -- lists
    "input_dim: [1, 2,3]": "input_dim: 1 input_dim: 2 input_dim: 3",
    "input_dim: []": "",
    "layer: [{ name: 'a' }, <name: 'b'>]": "layer { name: 'a' } layer { name: 'b' }",
    "layer [{}]": "layer { }",
    "layer: []": "",
    "layer { top: ['a' 'b', 'c'] }": "layer { top: 'ab' top: 'c' }",
    # -- messages and separators
    "layer < name: 'a' >": "layer { name: 'a' }",
    "layer: { }": "layer { }",
    "state <>": "state { }",
    "name: 'a', force_backward: true;": "name: 'a' force_backward: true",
    "layer { name: 'a'; }; layer { },": "layer { name: 'a' } layer { }",
    "name : 'a'": "name: 'a'",
    "name:'a'force_backward:true": "name: 'a' force_backward: true",
    "layer { clip_param { min: 1 max: 2 } }": "layer { clip_param { min: 1 max: 2 } }",
    # -- space and comments
    "\tname:\t'a'\f\v\r\n": "name: 'a'",
    "# only this": "",
    "": "",
    b"# caf\xe9 \x08\x01\nname: 'a'": "name: 'a'",
    "# one\rname: 'b'": "",
    "input_dim: -#c\n3": "input_dim: -3",
}
REFUSED: list[str | bytes] = [
    *("force_backward: TRUE", "force_backward: 2", "force_backward: 'true'", "force_backward: -0"),
    *("force_backward: +1", "force_backward: [true]", "force_backward: yes"),
    *(
        f"layer {{ loss_weight: {value} }}"
        for value in words(
            "+1 0x10 -0x10 010 00 09 0.5.1 1..2 . .. 1e 1e+ inff nanf --1 1_0 1ff '1' foo -foo 00.5"
        )
    ),
    *(
        f"input_dim: {value}"
        for value in words(
            "1.0 1e1 1f 2147483648 -2147483649 09 3u 1_000 +3 '3' true 0x 0xg - [1,] [1 2] "
            "[1,2 [[1]] 1;;"
        )
    ),
    f"input_dim: {'9' * 5000}",
    *("layer{inner_product_param{num_output: -0}}", "layer{inner_product_param{num_output: -1}}"),
    "layer{inner_product_param{num_output: 4294967296}}",
    "layer{reshape_param{shape{dim: 9223372036854775808}}}",
    *(f"layer {{ phase: {value} }}" for value in ("7", "-1", "train", "'TEST'", "1.", "TEST:")),
    *("name: a", "name: 3", "name: 'a\nb'", "name: 'a", "name: ['a']", "name: 'a' b"),
    *(rf'name: "\{escape}"' for escape in ("q", "x", "X41", "e", "8", "u123", "U10000000")),
    *(b'name: "a\x00b"', b"name: 'a'\x00", b"\x00", b"# \x00", b'name: "a\\\nb"', b'name: "a\\'),
    *("name: 'a' name: 'b'", "state { } state { }", "force_backward: false force_backward: false"),
    "layer { relu_param { } relu_param { } }",
    *("foo: 1", "foo { }", "Name: 'a'", "forceBackward: true", "1: 'a'", "layer.name: 'a'"),
    *("[caffe.foo]: 1", "[type.googleapis.com/caffe.NetParameter] { }", "[]", "name []"),
    *("name 'a'", "input_dim 3", "input_dim [1]", "name= 'a'", "name; 'a'"),
    *("name: 'a',, input_dim: 1", ",", ";", "layer { };;", "name: 'a' garbage"),
    *("{ name: 'a' }", "}", "layer {", "layer { } }", "layer < name: 'a' }", "state []"),
    *("/* a */ name: 'a'", "// a", "@", "%", "\x7f", "\x1aname: 'a'", "name:\u00a0'a'", "né: 1"),
    "\ufeffname: 'a'",
    "name: 'a'".encode("utf-16"),
    "layer { clip_param { min: 1 } }",
    "input_dim:1input_dim:2",
    "layer{loss_weight:1.5name:'a'}",
]
# BVLC's parser takes strings that are no text, and writes them on as they are. Names are text
# here, as the protobuf of every language but C++ has it.
NOT_UTF8: list[str | bytes] = [
    b'name: "caf\xe9"',
    r'name: "\xff"',
    r'name: "\777"',
    r'name: "\ud83d"',
    r'name: "\ude00\ud83d"',
    r'name: "\ud83d" "\ude00"',
    r'name: "\ud83d\U0000de00"',
    r'name: "\ud83d\ud83d\ude00"',
    r'name: "\U00110000"',
]


def encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def parsed(text: str | bytes) -> Any:
    message = NetParameter()
    parse_into(encoded(text).decode("utf-8", "surrogateescape"), message)
    return message


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_taken(text: str | bytes) -> None:
    assert parsed(text) == text_format.Parse(TAKEN[text], NetParameter())


def test_not_a_number() -> None:
    text = "layer { loss_weight: nan loss_weight: -NaN }"
    assert all(value != value for value in parsed(text).layer[0].loss_weight)


@pytest.mark.parametrize("text", [*REFUSED, *NOT_UTF8])
def test_what_is_refused(text: str | bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parsed(text)
    lines = encoded(text).split(b"\n")
    assert 1 <= caught.value.line <= len(lines)
    assert 1 <= caught.value.column <= len(lines[caught.value.line - 1]) + 1


def test_everything_that_protobuf_writes_is_read_again() -> None:
    written = text_format.Parse(LENET, NetParameter())
    for form in ({}, {"as_one_line": True}, {"use_short_repeated_primitives": True}):
        assert parsed(text_format.MessageToString(written, **form)) == written


def test_a_large_text_is_read_in_linear_time() -> None:
    def seconds(copies: int) -> float:
        text = LENET.replace('name: "LeNet"', "") * copies
        started = time.process_time()
        assert len(parsed(text).layer) == 4 * copies
        return time.process_time() - started

    small = seconds(100)
    assert seconds(2000) < 60 * small


@pytest.mark.parametrize(
    "text",
    [
        "#" * 10**6,
        "name: '" + "\\\\" * 10**6,
        "input_dim: " + "9" * 10**6,
        "[" * 10**6,
        "input_dim: [" + "1," * 10**5,
        "layer {" * 10**5,
        "a" * 10**6,
        " " * 10**6 + "1",
    ],
    ids=lambda text: text[:13],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    with suppress(ParseError):
        parsed(text)
    assert time.process_time() - started < 2


LENET = """name: "LeNet"  # a comment
layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 64 dim: 1 dim: 28 } } }
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param { lr_mult: 1 }
  param { lr_mult: 2.5e-1 decay_mult: 0 }
  convolution_param {
    num_output: 20 kernel_size: 5 stride: 1
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: -.5 }
  }
}
layer { name: 'pool1' type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 global_pooling: false } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool1" bottom: "label" top: "loss"
        include { phase: TEST stage: "a\\n" } propagate_down: [true, false] loss_weight: inf }
"""

# -- against BVLC -------------------------------------------------------------------------

# Runs one of Caffe's programs on every file; `refused` tells a text that does not parse from
# a net that cannot be upgraded.
EACH = """
import json, os, subprocess, sys

answers = []
for name in sorted(os.listdir("in")):
    done = subprocess.run([sys.argv[1], "in/" + name, "new"], stderr=subprocess.PIPE)
    refused = b"Error parsing text-format" in done.stderr
    answer = None
    if os.path.exists("new"):
        with open("new", encoding="latin-1") as stream:
            answer = stream.read()
        os.remove("new")
    answers.append([refused, answer])
json.dump(answers, sys.stdout)
"""


def bvlcs(bvlc: Build, texts: list[str | bytes]) -> list[tuple[bool, str | None]]:
    """For each text: does BVLC's parser refuse it, and what its program writes otherwise."""
    files = {f"in/{index:05}": encoded(text) for index, text in enumerate(texts)}
    answers = bvlc.python(EACH, "upgrade_net_proto_text", files=files).json()
    return [(refused, answer) for refused, answer in answers]


@pytest.mark.oracle
def test_bvlc_takes_and_refuses_the_same(bvlc: Build) -> None:
    texts = [*TAKEN, *NOT_UTF8, *REFUSED]
    answers = dict(zip(texts, bvlcs(bvlc, texts), strict=True))
    assert [text for text in [*TAKEN, *NOT_UTF8] if answers[text][0]] == []
    assert [text for text in REFUSED if not answers[text][0]] == []


@pytest.mark.oracle
def test_bvlc_reads_the_same_values(bvlc: Build) -> None:
    # An input without a shape is dropped by its upgrade, so those texts say less there.
    texts = [text for text in TAKEN if "input" not in TAKEN[text] and "layers" not in TAKEN[text]]
    assert len(texts) > 40
    for text, (_, answer) in zip(texts, bvlcs(bvlc, texts), strict=True):
        assert answer is not None
        theirs = text_format.Parse(answer.encode("latin-1").decode(), NetParameter())
        assert theirs == parsed(text), text


FRAGMENTS = [
    *"{}[]<>\"'\\x0:;,#-.euf+\n\t 1\x01",
    *("", "layer", "true", "inf", "0x", "name:", "pad: 1", "1f", "\\", "//", "é"),
]


def mutated(seed: int) -> str:
    draw = random.Random(seed)
    text = LENET
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        start = draw.randrange(len(text))
        text = text[:start] + draw.choice(FRAGMENTS) + text[start + draw.choice([0, 0, 1, 2, 5]) :]
    return text


@pytest.mark.oracle
@pytest.mark.slow
def test_bvlc_takes_and_refuses_the_same_mutated_texts(bvlc: Build) -> None:
    texts: list[str | bytes] = [mutated(seed) for seed in range(250)]
    differing = []
    refusals = 0
    for text, (refused, _) in zip(texts, bvlcs(bvlc, texts), strict=True):
        try:
            parsed(text)
            ours = False
        except ParseError:
            ours = True
        refusals += refused
        if ours != refused:
            differing.append(text)
    assert differing == []
    assert 25 < refusals < 225
