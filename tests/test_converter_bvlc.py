"""A converter that knows pycaffe alone finds the same in both builds."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path

import deployed_nets
import numpy as np
import pytest
from bvlc import Build

SCRIPT = Path(__file__).resolve().parent / "pycaffe" / "converter.py"
NETS = [
    pytest.param(name, marks=pytest.mark.slow) if name in deployed_nets.BIG else name
    for name in deployed_nets.NETS
]


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETS)
def test_a_converter_finds_the_same(
    name: str, bvlc: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deploy, weights = deployed_nets.write(name, tmp_path)
    theirs = bvlc.python(
        SCRIPT,
        deploy.name,
        weights.name,
        files={deploy.name: deploy, weights.name: weights},
        fetch=["graph.json", "arrays.npz"],
    ).files
    expected_graph = json.loads(theirs["graph.json"])
    assert expected_graph.pop("caffe").startswith("/usr/lib/python3")
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(tmp_path)
    graph, arrays = importlib.import_module("converter").convert(deploy.name, weights.name)
    # As JSON has it, on either side: a tuple is a list there.
    graph = json.loads(json.dumps(graph))
    assert graph.keys() == expected_graph.keys()
    for key, expected in expected_graph.items():
        assert graph[key] == expected, key
    with np.load(io.BytesIO(theirs["arrays.npz"])) as loaded:
        expected_arrays = {key.replace("|", "/"): loaded[key] for key in loaded}
    assert arrays.keys() == expected_arrays.keys()
    for key, expected in expected_arrays.items():
        np.testing.assert_allclose(
            arrays[key], expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=key
        )
