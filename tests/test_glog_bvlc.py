"""Where the log of a Python script goes, steered by glog's variables, beside BVLC's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bvlc import Build

HEAD = re.compile(r"^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ", re.MULTILINE)
BEFORE = "WARNING: Logging before InitGoogleLogging() is written to STDERR\n"
FILES = {
    "solver.prototxt": 'net: "net.prototxt" base_lr: 0.5 lr_policy: "fixed" max_iter: 1 '
    'snapshot_prefix: "s"',
    "net.prototxt": 'name: "n" layer { name: "d" type: "DummyData" top: "d" '
    "dummy_data_param { shape { dim: 1 } } }",
}
LOG = "import caffe; caffe.init_log({}); caffe.log('told')"
SOLVER = "import caffe; caffe.{}('solver.prototxt')"
FOLDER = {"GLOG_log_dir": "."}
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "before init_log": (LOG.replace("caffe.init_log({});", ""), {"GLOG_logtostderr": "0"}),
    "silenced before init_log": (LOG.replace("caffe.init_log({});", ""), {"GLOG_minloglevel": "1"}),
    "standard error": (LOG.format(""), {}),
    "an empty variable": (LOG.format(""), {"GLOG_logtostderr": "", **FOLDER}),
    "a file": (LOG.format(""), {"GLOG_logtostderr": "0", **FOLDER}),
    "a threshold": (
        LOG.format(""), {"GLOG_logtostderr": "0", "GLOG_stderrthreshold": "0", **FOLDER},
    ),
    "both": (LOG.format(""), {"GLOG_logtostderr": "0", "GLOG_alsologtostderr": "1", **FOLDER}),
    "silenced": (LOG.format(""), {"GLOG_minloglevel": "1"}),
    "no prefix": (LOG.format(""), {"GLOG_log_prefix": "0"}),
    "no prefix in a file": (
        LOG.format(""), {"GLOG_logtostderr": "0", "GLOG_log_prefix": "no", **FOLDER},
    ),
    "a level": (LOG.format("1"), {}),
    "a level over the variable": (LOG.format("0"), {"GLOG_minloglevel": "2"}),
    "asked for standard error": (LOG.format("0, True"), {"GLOG_logtostderr": "0", **FOLDER}),
    "asked for a file": (LOG.format("0, False"), FOLDER),
    "a solver": (SOLVER.format("SGDSolver"), {}),
    "any solver": (SOLVER.format("get_solver"), {}),
    "a silenced solver": (SOLVER.format("SGDSolver"), {"GLOG_minloglevel": "1"}),
}  # fmt: skip


def logs(folder: Path) -> list[str]:
    """What log files say, without the lines on top; links to them left out."""
    paths = [path for path in folder.glob("*.log.*") if not path.is_symlink()]
    texts = [HEAD.sub(r"\1 ", path.read_text()) for path in sorted(paths)]
    return [text.partition(" msg\n")[2] or text for text in texts]


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_a_script_logs_where_bvlcs_does(bvlc: Build, tmp_path: Path, name: str) -> None:
    script, steered = CASES[name]
    steered = {"GLOG_minloglevel": "0", "GLOG_logtostderr": "1", **steered}
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    mine = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **steered},
    )  # fmt: skip
    with bvlc.workplace(FILES) as place:
        theirs = place.python(script, environment=steered)
        theirs_logs = logs(place.path)
    assert mine.returncode == 0, mine.stderr
    expected = HEAD.sub(r"\1 ", theirs.stderr.replace(BEFORE, ""))
    assert HEAD.sub(r"\1 ", mine.stderr) == expected
    assert logs(tmp_path) == theirs_logs
    assert expected or theirs_logs or "ilence" in name or name == "a level"
