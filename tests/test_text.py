"""Prototxt: what is read, and where an error is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
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
        ("layer {\n  nam: 'x'\n}", "2:3", "has no field named \"nam\".; did you mean 'name'?"),
        ("nothing_like_it: 1", "1:1", 'no field named "nothing_like_it".'),
        ("layer {\n pooling_param { pool: MAXX }\n}", "2:24", "MAXX.; did you mean 'MAX'?"),
        ("layer { phase: TSET }", "1:16", "TSET.; did you mean 'TEST'?"),
        ("layer { type: 1 }", "1:15", "Expected string"),
        ('layer { name: "a"\nname: "b" }', "2:7", 'multiple "name" fields'),
        ("layer {\n", "1:7", 'Expected "}"'),
        ('name: "a\n"', "1:7", "missing ending quote"),
        ("layer { inner_product_param { num_output: -1 } }", "1:43", "out of range"),
        ('layer { name: "\\xff" }', "1:22", "Couldn't parse string"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, text: str, place: str, said: str) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(PrototxtError) as caught:
        read_net(path)
    assert str(caught.value).startswith(f"{path}:{place} ")
    assert said in str(caught.value)
    if "did you mean" not in said:
        assert "did you mean" not in str(caught.value)


def test_a_solver_is_not_a_net(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'net: "x"\nbase_lr: 0.1\n')
    with pytest.raises(PrototxtError, match=f'{path}:1:1 .*NetParameter" has no field named "net"'):
        read_net(path)
    assert read_solver(path).net == "x"


def test_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="none: no such file"):
        read_net(tmp_path / "none")
    with pytest.raises(FormatError, match=f"{tmp_path}: cannot be read as a prototxt: Is a dir"):
        read_net(tmp_path)
    (tmp_path / "x.caffemodel").write_bytes(b"\x0a\x01n\xa2\x06\x02\x0a\x00\xff")
    with pytest.raises(FormatError, match=r"x\.caffemodel: expected a prototxt, found a file that"):
        read_net(tmp_path / "x.caffemodel")
    (tmp_path / "ascii.caffemodel").write_bytes(b"\x0a\x01n\x12\x03\x22\x01a")
    with pytest.raises(PrototxtError, match=r"ascii\.caffemodel:2:1 "):
        read_net(tmp_path / "ascii.caffemodel")


def test_an_empty_file_is_an_empty_message(tmp_path: Path) -> None:
    assert read_message(file_of(tmp_path, ""), SolverParameter()) == SolverParameter()


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # protobuf's own
@given(st.integers(0, len(NET)), st.text(alphabet='{}[]<>"\\x0:;,#-.eu\n\tlayer', max_size=4))
def test_no_text_raises_anything_but_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, inserted: str
) -> None:
    path = file_of(tmp_path_factory.getbasetemp(), NET[:place] + inserted + NET[place:])
    with suppress(FormatError):
        read_message(path, NetParameter())
