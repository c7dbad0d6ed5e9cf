"""Pickled messages of one build, read by the other."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys

import pytest
from bvlc import Build

MESSAGES = """
import base64, pickle
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter(name="net")
net.layer.add(name="ip").include.add(phase=caffe_pb2.TEST)
messages = [net, net.layer[0].include[0], caffe_pb2.V1LayerParameter(name="old"),
            caffe_pb2.SolverParameter(net="x", base_lr=0.5), caffe_pb2.Datum(data=b"\\xff")]
"""
WRITE = MESSAGES + "print(base64.b64encode(pickle.dumps(messages, %d)).decode())"
READ = MESSAGES + "assert pickle.loads(base64.b64decode('%s')) == messages"


def here(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 4])
def test_messages_cross_from_one_build_to_the_other(bvlc: Build, protocol: int) -> None:
    theirs = bvlc.python(WRITE % protocol).stdout.strip()
    assert pickle.loads(base64.b64decode(theirs))[0].layer[0].name == "ip"
    here(READ % theirs)
    bvlc.python(READ % here(WRITE % protocol).strip())
