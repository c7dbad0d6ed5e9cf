"""Run drawn nets on both sides, and say where they part."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bvlc import Build

from differential import run_nets, run_solvers
from differential.draw import NetCase
from differential.draw_solvers import SolverCase
from recaffe.errors import CaffeError

TOLERANCE = 2e-4
Case = NetCase | SolverCase
Found = dict[str, np.ndarray] | str  # a string tells in what words the net was refused


def ask_bvlc(bvlc: Build, cases: Sequence[Case]) -> list[Found]:
    """What BVLC's build gives for each case."""
    packed = io.BytesIO()
    values = [case.values if isinstance(case, NetCase) else {} for case in cases]
    np.savez(packed, **{f"{i} {k}": v for i, own in enumerate(values) for k, v in own.items()})
    scripts = [Path(module.__file__) for module in (run_nets, run_solvers)]
    files = {
        **{script.name: script for script in scripts},
        "jobs.json": json.dumps([case.job() for case in cases]),
        "values.npz": packed.getvalue(),
    }
    result = bvlc.python(
        scripts[isinstance(cases[0], SolverCase)], files=files,
        fetch=["found.json", "found.f32"], timeout=1800,
    )  # fmt: skip
    floats = np.frombuffer(result.files["found.f32"], "<f4")
    return [
        places if isinstance(places, str) else
        {name: floats[at : at + int(np.prod(shape))].reshape(shape)
         for name, (at, shape) in places.items()}
        for places in json.loads(result.files["found.json"])
    ]  # fmt: skip


def ask_ours(case: Case) -> Found:
    """What our runtime gives."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            if isinstance(case, SolverCase):
                return run_solvers.run(case.job(), {})
            return run_nets.run(case.job(), case.values)
        except CaffeError as error:
            return str(error)
        finally:
            os.chdir(here)


def differences(ours: Found, theirs: Found, tolerance: float = TOLERANCE) -> list[str]:
    """Where ours parts from theirs: nowhere, or sentences."""
    if isinstance(theirs, str) or isinstance(ours, str):
        if isinstance(theirs, str) and isinstance(ours, str):
            return []
        side, words = ("BVLC", theirs) if isinstance(theirs, str) else ("ours", ours)
        return [f"only {side} refuses: {words}"]
    told = [f"only in one: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        found, expected = ours[name], theirs[name]
        if found.shape != expected.shape:
            told.append(f"{name}: the shape {found.shape}, expected {expected.shape}")
            continue
        finite = np.abs(expected[np.isfinite(expected)])
        allowed = tolerance * finite.max(initial=0.0)
        close = np.isclose(found, expected, rtol=0, atol=allowed, equal_nan=True)
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0])
            told.append(
                f"{name}{list(at)}: {found[at]!r}, expected {expected[at]!r}, allowed {allowed:.2g}"
            )
    return told
