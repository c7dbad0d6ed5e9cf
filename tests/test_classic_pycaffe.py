"""Classic pycaffe work: tests/pycaffe/classic_*.py, here and under BVLC's interpreter.

Each script holds its own assertions, and gives back what it found on the way: losses, data,
diffs, parameters, names. Both interpreters must find the same.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bvlc import Build
from recipes import learnable_images, write_lmdb

import caffe
from recaffe.context import context

SCRIPTS = Path(__file__).resolve().parent / "pycaffe"
NAMES = [
    "classic_lenet",
    "classic_logistic",
    "classic_multilabel",
    "classic_python_data",
    "classic_python_loss",
    "classic_siamese",
    "classic_surgery",
]
SHARE_OF_LARGEST = 1e-4  # as far as trained numbers may part


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    context.use_cpu()
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.chdir(tmp_path)
    write_lmdb(tmp_path / "digits", *learnable_images(60, 10, (1, 28, 28)))
    yield
    torch.set_num_threads(threads)


def found_here(name: str) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in importlib.import_module(name).run().items()}


def found_by_bvlc(build: Build, name: str, **files: Any) -> dict[str, np.ndarray]:
    scripts = {path.name: path for path in SCRIPTS.glob("classic*.py")}
    result = build.python(
        SCRIPTS / "classic.py", name, files={**scripts, **files}, fetch=[f"{name}.npz"]
    )
    whose = result.stdout.split()[-1]
    assert whose.startswith("/usr/lib/python3"), whose
    with np.load(io.BytesIO(result.files[f"{name}.npz"])) as arrays:
        return dict(arrays)


def test_every_script_is_named_here():
    assert [path.stem for path in sorted(SCRIPTS.glob("classic_*.py"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_works(name: str):
    found = found_here(name)
    assert found
    for key, value in found.items():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), key


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_bvlc_finds_the_same(name: str, bvlc: Build, tmp_path: Path):
    assert not hasattr(caffe, "_caffe")
    theirs = found_by_bvlc(bvlc, name, digits=tmp_path / "digits")
    ours = found_here(name)
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        assert ours[key].shape == expected.shape, key
        if expected.dtype.kind != "f":
            np.testing.assert_array_equal(ours[key], expected, err_msg=key)
            continue
        largest = np.abs(expected).max()
        np.testing.assert_allclose(
            ours[key], expected, rtol=0, atol=SHARE_OF_LARGEST * largest, err_msg=key
        )
