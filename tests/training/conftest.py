"""What the tests of the trainer share."""

from __future__ import annotations

import logging

import pytest
import torch
from lenet_task import Task


@pytest.fixture
def task(tmp_path) -> Task:
    return Task(tmp_path)


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Task:
    task = Task(tmp_path_factory.mktemp("trained"))
    assert task.train() is None
    return task
