"""Files that are no .npy, or lie: each ends in a sentence, and nothing runs or is written."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from caffetools.arrays import __main__ as tool
from caffetools.cli import ToolError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def header(text: str, version: int = 1, values: bytes = b"") -> bytes:
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + values


def told(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


class Harm:
    """What runs a program when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


WHOLE = saved(np.zeros((5, 3), "<f4"))
HOSTILE = {
    "objects": (saved(np.array([Harm(), Harm()], object)), "Python objects, which are pickled"),
    "pickle": (pickle.dumps(Harm()), "expected a .npy file"),
    "fields": (saved(np.zeros(3, [("a", "<f4"), ("b", "<i4")])), "records of several fields"),
    "fortran": (saved(np.asfortranarray(np.zeros((3, 4)))), "Fortran's order"),
    "texts": (saved(np.array(["a", "b"])), "floats, whole numbers or booleans, found '<U1'"),
    "complex": (saved(np.zeros(3, "<c8")), "floats, whole numbers or booleans, found '<c8'"),
    "long": (header(told("'<f16'", "(1,)"), values=bytes(16)), "booleans, found '<f16'"),
    "times": (saved(np.zeros(3, "<M8[s]")), "booleans, found '<M8"),
    "cut": (WHOLE[:-1], r"5 x 3 values of float32, 60 bytes, and 59 follow; is it cut off\?"),
    "more": (WHOLE + b"x", "60 bytes, and 61 follow; Save"),
    "cut in the header": (WHOLE[:40], "its header, of 118 bytes, is none"),
    "cut in the magic": (WHOLE[:7], "expected a .npy file"),
    "empty": (b"", "expected a .npy file"),
    "archive": (b"PK\x03\x04" + bytes(40), r"several in an archive \(.npz\)"),
    "version": (header(told("'<f4'", "(1,)"), 9), "expected version 1, 2 or 3 of .npy, found 9"),
    "huge shape": (header(told("'<f4'", f"({2**62}, {2**62})")), "bytes, and 0 follow"),
    "wrapped shape": (header(told("'<f4'", f"({2**32}, {2**32})")), "bytes, and 0 follow"),
    "negative": (header(told("'<f4'", "(-1, -1)"), values=bytes(4)), "shape of whole numbers"),
    "bool shape": (header(told("'<f4'", "(True,)"), values=bytes(4)), "shape of whole numbers"),
    "float shape": (header(told("'<f4'", "(1.0,)"), values=bytes(4)), "shape of whole numbers"),
    "no tuple": (header(told("'<f4'", "1"), values=bytes(4)), "shape of whole numbers"),
    "order": (header(told("'<f4'", "(1,)", "'x'"), values=bytes(4)), "fortran_order x"),
    "scalar": (header(told("'<f4'", "()"), values=bytes(4)), "from 1 to 32 axes, .* found 0"),
    "axes": (header(told("'<f4'", f"{(1,) * 33}"), values=bytes(4)), "32 axes, .* found 33"),
    "no rows": (saved(np.zeros((0, 3))), r"found an array of shape \(0, 3\) with none"),
    "no columns": (saved(np.zeros((3, 0))), r"found an array of shape \(3, 0\) with none"),
    "code": (header("__import__('os').mkdir('harm')"), "is none of a .npy file"),
    "deep": (header("(" * 9000), "is none of a .npy file"),
    "unary": (header("-" * 9000 + "1"), "is none of a .npy file"),
    "zeros": (header("\0" * 100), "is none of a .npy file"),
    "keys": (header("{'descr': '<f4'}"), "is none of a .npy file"),
    "unhashable": (header("{[]: 1}"), "is none of a .npy file"),
    "long header": (header(" " * 60000), "is none of a .npy file"),
    "endless header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "of 4294967295 bytes, is none"),
    "void": (header(told("'|V4'", "(1,)"), values=bytes(4)), "booleans, found"),
    "nested type": (header(told("('<f4', (2,))", "(1,)"), values=bytes(8)), "booleans, found"),
}


@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_a_sentence(form: str, name: str):
    content, said = HOSTILE[name]
    Path("x.npy").write_bytes(content)
    with pytest.raises(ToolError, match=rf"^x\.npy: .*{said}") as caught:
        tool.main([form, "--array", "data=x.npy", "--output", "out"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert [path.name for path in Path().iterdir()] == ["x.npy"]
