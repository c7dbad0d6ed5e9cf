"""Some of BVLC's answers to drawn cases, kept in the repository with where they come from.

``python tests/differential/goldens.py`` asks BVLC's build afresh and writes them. Each case is
kept whole, so that the test needs neither the drawing nor BVLC's build.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bvlc

from differential import draw_neurons, draw_structure, draw_windows  # noqa: F401
from differential.compare import Case, Found, ask_bvlc
from differential.draw import DRAWERS, NetCase, draw_net
from differential.draw_graph import draw_graph
from differential.draw_solvers import SolverCase, draw_solvers

FOLDER = Path(__file__).resolve().parents[1] / "goldens"
NETS_A_TYPE = 3
GRAPHS = 20
SOLVERS = 36


def cases() -> list[Case]:
    """The cases that are kept: the first ones of those that are drawn."""
    nets = [draw_net(type_, number) for type_ in sorted(DRAWERS) for number in range(NETS_A_TYPE)]
    nets += [draw_graph(number) for number in range(GRAPHS)]
    return [*nets, *draw_solvers(SOLVERS)]


def ask(build: bvlc.Build, asked: list[Case]) -> list[Found]:
    """BVLC's answers, in the order of the cases."""
    nets = [case for case in asked if isinstance(case, NetCase)]
    solvers = [case for case in asked if isinstance(case, SolverCase)]
    return [*ask_bvlc(build, nets), *ask_bvlc(build, solvers)]


class _Floats:
    """Arrays one after the other, and where each lies."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0

    def add(self, arrays: dict[str, np.ndarray]) -> dict[str, list]:
        places = {}
        for name, array in arrays.items():
            places[name] = [self.size, list(array.shape)]
            self.parts.append(np.ascontiguousarray(array, np.float32).ravel())
            self.size += array.size
        return places


def write(build: bvlc.Build) -> None:
    """Write ``cases.json``, what was asked, and ``floats.npz``, what was given and answered."""
    floats, rows = _Floats(), []
    asked = cases()
    for case, answer in zip(asked, ask(build, asked), strict=True):
        if isinstance(answer, str):
            raise ValueError(f"{case.name}: BVLC refuses it: {answer}")
        values = floats.add(case.values) if isinstance(case, NetCase) else {}
        kind = "net" if isinstance(case, NetCase) else "solver"
        rows.append({"kind": kind, "type": case.type, "job": case.job(), "values": values,
                     "answer": floats.add(answer)})  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    head = json.dumps({"provenance": provenance(build)}, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(row) for row in rows)
    (FOLDER / "cases.json").write_text(f'{head},\n"cases": [\n{lines}\n]}}\n')
    np.savez_compressed(FOLDER / "floats.npz", floats=np.concatenate(floats.parts))


def provenance(build: bvlc.Build) -> dict[str, str]:
    """Which build answered, and how it was asked."""
    script = (
        "import caffe, json, numpy, platform\n"
        "print(json.dumps([caffe.__version__, numpy.__version__, platform.python_version()]))"
    )
    caffe, numpy, python = build.python(script).json()
    with build.workplace() as place:
        query = ["dpkg-query", "-W", "-f", "${Package} ${Version}; ", "python3-caffe*",
                 "libopenblas0-pthread"]  # fmt: skip
        listed = place.run(query).stdout.split("; ")
        packages = "; ".join(line.strip() for line in listed if line.strip().count(" "))
    return {
        "caffe": caffe,
        "packages": packages,
        "python": python,
        "numpy": numpy,
        "written by": "python tests/differential/goldens.py",
    }


def read() -> tuple[dict[str, str], list[tuple[Case, dict[str, np.ndarray]]]]:
    """Where the goldens come from; each case and BVLC's answer to it."""
    held = json.loads((FOLDER / "cases.json").read_text())
    with np.load(FOLDER / "floats.npz") as archive:
        floats = archive["floats"]

    def arrays(places: dict[str, list]) -> dict[str, np.ndarray]:
        return {
            name: floats[at : at + int(np.prod(shape))].reshape(shape)
            for name, (at, shape) in places.items()
        }

    found = []
    for row in held["cases"]:
        job = {key: value for key, value in row["job"].items() if key != "seed"}
        case: Case
        if row["kind"] == "net":
            case = NetCase(type=row["type"], values=arrays(row["values"]), **job)
        else:
            case = SolverCase(type=row["type"], **job)
        found.append((case, arrays(row["answer"])))
    return held["provenance"], found


if __name__ == "__main__":
    write(bvlc.find())
