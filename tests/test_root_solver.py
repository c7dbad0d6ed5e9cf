"""Several solvers: what that of rank 0 does for all, as BVLC's build answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from bvlc import Build
from bvlc_questions import ask
from small_solvers import make

import caffe
from recaffe.context import context
from recaffe.errors import LayerError, SolverError
from recaffe.proto.text import read_solver
from recaffe.solver import Action, make_solver

NET = """
name: "small"
layer { name: "x" type: "DummyData" top: "x" dummy_data_param {
  shape { dim: 2 dim: 3 } data_filler { value: 0.5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" loss_weight: 1
  inner_product_param { num_output: 1 weight_filler { type: "gaussian" std: 1 } } }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 momentum: 0.5 lr_policy: "multistep" stepvalue: 1 gamma: 0.5
display: 1 test_iter: 1 test_interval: 1 snapshot: 2 snapshot_prefix: "s" random_seed: 5
max_iter: 3 clip_gradients: 0.01 weights: "start.caffemodel" debug_info: true
"""
USER = """
import caffe
class One(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(1)
    def forward(self, bottom, top): top[0].data[...] = 1
    def backward(self, top, propagate_down, bottom): pass
"""
PYTHON = """
layer { name: "p" type: "Python" top: "p" python_param { module: "one" layer: "One" %s } }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)
    Path("one.py").write_text(USER)
    caffe.Net("net.prototxt", caffe.TRAIN).save("start.caffemodel")
    yield
    context.solver_count, context.solver_rank, context.multiprocess = 1, 0, False


def be(rank: int, count: int = 2) -> None:
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)


# -- what only the root does ----------------------------------------------------------------


def test_only_the_root_tests_and_takes_snapshots_that_fall_due():
    be(1)
    solver = caffe.SGDSolver("solver.prototxt")
    solver.step(2)
    assert solver.iter == 2
    assert not list(Path().glob("s_*"))
    be(0)
    solver.step(2)
    assert len(list(Path().glob("s_*"))) == 2


def test_what_is_the_roots_is_refused_to_others():
    be(1)
    solver = caffe.SGDSolver("solver.prototxt")
    with pytest.raises(SolverError, match=r"rank 1 .* only that of rank 0 solves"):
        solver.solve()
    with pytest.raises(SolverError, match=r"only that of rank 0 takes snapshots"):
        solver.snapshot()
    made = make("")
    made.action = iter([Action.SNAPSHOT, Action.NONE]).__next__
    with pytest.raises(SolverError, match="takes snapshots"):
        made.step(1)


def test_another_than_the_root_may_have_no_place_for_snapshots(tmp_path: Path):
    (tmp_path / "file").write_text("")
    settings = f'snapshot: 1 snapshot_prefix: "{tmp_path}/file/s"'
    with pytest.raises(SolverError, match="cannot write to snapshot_prefix"):
        make(settings)
    be(1)
    make(settings).step(1)


def test_others_go_on_from_a_snapshot_too():
    caffe.SGDSolver("solver.prototxt").step(2)
    be(1)
    solver = make_solver(read_solver("solver.prototxt"))
    solver.restore("s_iter_2.solverstate")
    assert solver.iteration == 2
    assert any(array.any() for array in solver.history())


def test_each_solver_draws_its_own_random_numbers():
    def weights(seed: int, rank: int) -> bytes:
        be(rank, 3)
        text = SOLVER.replace("random_seed: 5", f"random_seed: {seed}")
        Path("seeded.prototxt").write_text(text.replace('weights: "start.caffemodel"', ""))
        return caffe.SGDSolver("seeded.prototxt").net.params["ip"][0].data.tobytes()

    assert weights(5, 1) == weights(6, 0)
    assert weights(5, 2) == weights(6, 1) == weights(7, 0)
    assert weights(5, 0) != weights(5, 1)


def test_a_python_layer_that_trains_insists_on_processes():
    Path("python.prototxt").write_text(PYTHON % "share_in_parallel: true")
    be(0)
    with pytest.raises(LayerError, match=r"'p' .* 2 solvers .*set_multiprocess\(True\)"):
        caffe.Net("python.prototxt", caffe.TRAIN)
    caffe.Net("python.prototxt", caffe.TEST).forward()
    caffe.set_multiprocess(True)
    caffe.Net("python.prototxt", caffe.TRAIN).forward()
    be(0, 1)
    caffe.set_multiprocess(False)
    caffe.Net("python.prototxt", caffe.TRAIN).forward()


# -- what BVLC's build says -------------------------------------------------------------------

IN_CHILDREN = """
import os
def survives(question):
    child = os.fork()
    if not child:
        exec(question, globals())
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
def be(rank, count=2):
    caffe.set_solver_count(count)
    caffe.set_solver_rank(rank)
"""
ROOTS = {
    "solve": "solver.solve()",
    "snapshot": "solver.snapshot()",
    "step": "solver.step(2)",
    "restore": 'solver.restore("s_iter_2.solverstate")',
}


@pytest.mark.oracle
def test_bvlcs_build_leaves_the_same_to_the_root(bvlc: Build):
    question = IN_CHILDREN + """
caffe.SGDSolver("solver.prototxt").step(2)
be(1)
solver = caffe.SGDSolver("solver.prototxt")
answer = [survives(each) for each in json.loads(sys.argv[1])]
answer.append(sorted(name for name in os.listdir(".") if name.startswith("s_iter")))
"""  # fmt: skip
    files = {name: Path(name) for name in ("net.prototxt", "solver.prototxt", "start.caffemodel")}
    theirs = ask(bvlc, question, json.dumps(list(ROOTS.values())), files=files)
    assert theirs == [
        False, False, True, True, ["s_iter_2.caffemodel", "s_iter_2.solverstate"],
    ]  # fmt: skip


@pytest.mark.oracle
def test_bvlcs_build_seeds_by_rank_and_insists_on_processes(bvlc: Build):
    question = IN_CHILDREN + """
with open("seeded.prototxt", "w") as stream:
    stream.write(sys.argv[1])
drawn = []
for rank in (0, 1):
    be(rank)
    drawn.append(caffe.SGDSolver("seeded.prototxt").net.params["ip"][0].data.tolist())
be(0)
with open("seeded.prototxt", "w") as stream:
    stream.write(sys.argv[1].replace("random_seed: 5", "random_seed: 6"))
drawn.append(caffe.SGDSolver("seeded.prototxt").net.params["ip"][0].data.tolist())
sys.path.insert(0, ".")
make = "net(%r, caffe.%s)"
answer = [drawn[1] == drawn[2] != drawn[0]]
for share in ("", "share_in_parallel: true"):
    text = sys.argv[2] % share
    answer += [survives(make % (text, phase)) for phase in ("TRAIN", "TEST")]
    answer.append(survives("caffe.set_multiprocess(True); " + make % (text, "TRAIN")))
"""  # fmt: skip
    text = SOLVER.replace('weights: "start.caffemodel"', "")
    files = {name: Path(name) for name in ("net.prototxt", "one.py")}
    theirs = ask(bvlc, question, text, PYTHON, files=files)
    assert theirs == [True] + [False, True, True] * 2


@pytest.mark.oracle
def test_another_than_the_root_logs_what_bvlcs_does(bvlc: Build, caplog: pytest.LogCaptureFixture):
    from test_solver_logs import of_solver, told

    script = (
        "import caffe\ncaffe.set_solver_count(2); caffe.set_solver_rank(1)\n"
        "solver = caffe.SGDSolver('solver.prototxt'); solver.step(2)\n"
    )
    files = {name: Path(name) for name in ("net.prototxt", "solver.prototxt", "start.caffemodel")}
    done = bvlc.python(script, files=files, environment={"GLOG_minloglevel": "0"})
    caplog.set_level(logging.INFO, "recaffe.solver")
    exec(script, {})
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("recaffe.solver")]
    found, expected = told(ours), told(of_solver(done.stderr.splitlines()))
    assert [line for line, _ in found] == [line for line, _ in expected]
    assert len(found) > 5
