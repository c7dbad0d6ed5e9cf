"""Which layers a net has, for random rules and states: here and in BVLC's build."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bvlc import Build
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from recaffe.errors import CaffeError
from recaffe.net import Net

pytestmark = pytest.mark.oracle

SCRIPT = """
import json, os
import caffe
answers = []
for index, case in enumerate(json.load(open("cases.json"))):
    open("net.prototxt", "w").write(case["net"])
    child = os.fork()
    if child == 0:
        os.close(2)
        net = caffe.Net(network_file="net.prototxt", phase=case["phase"], level=case["level"],
                        stages=case["stages"])
        open("names", "w").write(json.dumps(list(net._layer_names)))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    answers.append(json.load(open("names")) if status == 0 else None)
print(json.dumps(answers))
"""


def rule(random: np.random.Generator) -> str:
    words = []
    if random.random() < 0.5:
        words.append(f"phase: {random.choice(['TRAIN', 'TEST'])}")
    if random.random() < 0.3:
        words.append(f"min_level: {random.integers(-1, 3)}")
    if random.random() < 0.3:
        words.append(f"max_level: {random.integers(-1, 3)}")
    for kind in ("stage", "not_stage"):
        words += [f"{kind}: '{name}'" for name in "ab" if random.random() < 0.25]
    return " ".join(words)


def case(number: int) -> dict:
    random = np.random.default_rng(number)
    text = f"state {{ stage: '{random.choice(['a', 'b', 'c'])}' }}\n"
    for index in range(6):
        kinds = ["include", "exclude"] if random.random() < 0.1 else [random.choice(
            ["include", "exclude"])]  # fmt: skip
        rules = " ".join(
            f"{kind} {{ {rule(random)} }}" for kind in kinds for _ in range(random.integers(3))
        )
        own = " phase: TEST" if random.random() < 0.2 else ""
        text += (
            f"layer {{ name: 'l{index}' type: 'Input' top: 't{index}'{own} {rules} "
            "input_param { shape { dim: 1 } } }\n"
        )
    stages = [name for name in "abc" if random.random() < 0.4]
    return {"net": text, "phase": int(random.integers(2)), "level": int(random.integers(-1, 3)),
            "stages": stages}  # fmt: skip


def test_layers_that_rules_leave_are_bvlcs(bvlc: Build):
    cases = [case(number) for number in range(200)]
    answers = bvlc.python(SCRIPT, files={"cases.json": json.dumps(cases)}).json()
    assert None in answers
    assert len({tuple(names) for names in answers if names is not None}) > 30
    for given, names in zip(cases, answers, strict=True):
        param = text_format.Parse(given["net"], caffe_pb2.NetParameter())
        state = {"level": given["level"], "stages": given["stages"]}
        if names is None:
            with pytest.raises(CaffeError, match="include rules or exclude rules"):
                Net(param, given["phase"], **state)
        else:
            assert Net(param, given["phase"], **state).layer_names == names, given
