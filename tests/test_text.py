"""Prototxt: what is read, and where an error is."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from bvlc import Build
from hypothesis import given
from hypothesis import strategies as st

from recaffe.errors import FormatError, PrototxtError
from recaffe.proto.schema import NetParameter, SolverParameter
from recaffe.proto.text import read_message, read_net, read_solver, write_message

NET = """name: "net"  # a comment
layer {
  name: "ip" type: "InnerProduct"
  bottom: 'data' top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } }
}
"""


def file_of(folder: Path, text: str, name: str = "net.prototxt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_net_is_read_and_written_again(tmp_path: Path) -> None:
    net = read_net(file_of(tmp_path, NET))
    assert (net.name, net.layer[0].inner_product_param.num_output) == ("net", 2)
    write_message(tmp_path / "again.prototxt", net)
    assert read_net(tmp_path / "again.prototxt") == net


def test_older_forms_are_upgraded(tmp_path: Path) -> None:
    net = read_net(file_of(tmp_path, 'layers { name: "r" type: RELU }'))
    assert net.layer[0].type == "ReLU"
    assert read_solver(file_of(tmp_path, "solver_type: NESTEROV")).type == "Nesterov"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("layer {\n  nam: 'x'\n}", "2:3", "has no field named 'nam'; did you mean 'name'?"),
        ("nothing_like_it: 1", "1:1", "NetParameter has no field named 'nothing_like_it'"),
        ("Layer { }", "1:1", "has no field named 'Layer'; did you mean 'layer'?"),
        ("layer {\n pooling_param { pool: MAXX }\n}", "2:24", "'MAXX'; did you mean 'MAX'?"),
        ("layer { phase: TSET }", "1:16", "named 'TSET'; did you mean 'TEST'?"),
        ("layer { phase: 7 }", "1:16", "Phase has no value 7; expected one of TRAIN, TEST"),
        ("layer { type: 1 }", "1:15", "expected a string in quotes for 'type', found '1'"),
        ('layer { name: "a"\nname: "b" }', "2:1", "'name' is given twice"),
        ("state { }\nstate { }", "2:1", "'state' is given twice; a NetParameter has but one"),
        ("layer {\n", "2:1", "expected a field of LayerParameter or '}', found the end of the"),
        ('name: "a\n"', "1:7", "a string without its closing quote"),
        ("layer { inner_product_param { num_output: -1 } }", "1:43", "expected a whole number"),
        ("input_dim: 3000000000", "1:12", "is to be from -2147483648 to 2147483647"),
        ('layer { name: "\\xff" }', "1:15", "the string for 'name' is not UTF-8"),
        ('layer { name: "a\\q" }', "1:15", "unknown escape"),
        ("layer { name 'a' }", "1:14", "expected ':' after 'name', found \"'a'\""),
        ("layer: 'a'", "1:8", "expected '{' after 'layer'"),
        ("input_dim: [1 2]", "1:15", "expected ',' or ']'"),
        ("input_dim: 1_000", "1:12", "'1_000' is not a number"),
        ("force_backward: yes", "1:17", "expected true or false for 'force_backward'"),
        ("// a net", "1:1", "comments start with '#'"),
        ("# a\n\ufeffname: 'a'", "2:1", "a byte order mark; save the file as UTF-8 without"),
        ("name: 'a'\n\x00", "2:1", "the byte 0x00, which is no text"),
        ("name:\n\n  'a', ,", "3:8", "expected a field of NetParameter, found ','"),
        ("layer { clip_param { min: 1 } }\n", "1:32", "layer[0].clip_param.max"),
        ("name: " + "a" * 99, "1:7", "'" + "a" * 37 + "...'"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, text: str, place: str, said: str) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(PrototxtError) as caught:
        read_net(path)
    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert said in str(caught.value)
    if "did you mean" not in said:
        assert "did you mean" not in str(caught.value)


def test_a_solver_is_not_a_net(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'net: "x"\nbase_lr: 0.1\n')
    with pytest.raises(PrototxtError, match=f"{path}:1:1: NetParameter has no field named 'net'"):
        read_net(path)
    assert read_solver(path).net == "x"


def test_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="none: no such file"):
        read_net(tmp_path / "none")
    with pytest.raises(FormatError, match=f"{tmp_path}: cannot be read as a prototxt: Is a dir"):
        read_net(tmp_path)
    (tmp_path / "x.caffemodel").write_bytes(b"\x0a\x01n\xa2\x06\x02\x0a\x00\xff")
    with pytest.raises(PrototxtError, match=r"x\.caffemodel:2:1: the byte 0x01, .*a binary file\?"):
        read_net(tmp_path / "x.caffemodel")


def test_an_empty_file_is_an_empty_message(tmp_path: Path) -> None:
    assert read_message(file_of(tmp_path, ""), SolverParameter()) == SolverParameter()


@given(st.integers(0, len(NET)), st.text(alphabet='{}[]<>"\\x0:;,#-.eu\n\tlayer', max_size=4))
def test_no_text_raises_anything_but_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, inserted: str
) -> None:
    path = file_of(tmp_path_factory.getbasetemp(), NET[:place] + inserted + NET[place:])
    with suppress(FormatError):
        read_message(path, NetParameter())


# -- snapshot_prefix ----------------------------------------------------------------------


def prefixes(folder: Path) -> dict[str, str]:
    """What a solver's file in ``folder`` gives, and what its snapshots are then named after."""
    (folder / "out").mkdir()
    return {
        "": f"{folder}/fast.solver",
        f"snapshot_prefix: '{folder}/out'": f"{folder}/out/fast.solver",
        f"snapshot_prefix: '{folder}/out/'": f"{folder}/out/fast.solver",
        f"snapshot_prefix: '{folder}/out/x'": f"{folder}/out/x",
        "snapshot_prefix: ''": "",
    }


def test_snapshots_are_named_after_the_solvers_file(tmp_path: Path) -> None:
    for text, expected in prefixes(tmp_path).items():
        path = file_of(tmp_path, text, "fast.solver.prototxt")
        assert read_solver(path).snapshot_prefix == expected


PREFIX = """
import caffe, json, os, sys

answer = []
for text in json.loads(sys.argv[1]):
    with open("fast.solver.prototxt", "w") as stream:
        stream.write('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" ' + text)
    caffe.get_solver(os.path.abspath("fast.solver.prototxt")).snapshot()
    (state,) = [os.path.join(folder, name) for folder, _, names in os.walk(".")
                for name in names if name.endswith("_iter_0.solverstate")]
    os.remove(state)
    answer.append(os.path.abspath(state)[:-len("_iter_0.solverstate")])
json.dump(answer, sys.stdout)
"""
NET_TO_LEARN = """
layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip"
  inner_product_param { num_output: 1 } }
layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "d" top: "l" }
"""


@pytest.mark.oracle
def test_bvlc_names_snapshots_so(bvlc: Build) -> None:
    with bvlc.workplace({"net.prototxt": NET_TO_LEARN}) as place:
        (place.path / "out").mkdir()
        expected = {
            "": "fast.solver",
            "snapshot_prefix: 'out'": "out/fast.solver",
            "snapshot_prefix: 'out/'": "out/fast.solver",
            "snapshot_prefix: 'out/x'": "out/x",
            "snapshot_prefix: ''": "",
        }
        answer = place.python(PREFIX, json.dumps(list(expected))).json()
        assert answer == [f"{place.inside}/{name}" for name in expected.values()]
