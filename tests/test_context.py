"""The context: which device, which random numbers; and the exception tree."""

from __future__ import annotations

import os

import pytest
import torch

import caffe
from recaffe import context as context_module
from recaffe import errors
from recaffe.context import CPU, Context
from recaffe.errors import CaffeError, DeviceError


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_the_cpu_is_the_default() -> None:
    assert Context().device == CPU


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu() -> None:
    context = Context()
    with pytest.raises(DeviceError, match=r"GPU 0 was asked for, .* sees no GPU.*set_mode_cpu"):
        context.use_gpu()
    with pytest.raises(DeviceError, match="GPU 3 was asked for"):
        context.select_gpu(3)
    assert context.device == CPU
    context.use_cpu()


@pytest.mark.usefixtures("two_gpus")
def test_choosing_a_gpu() -> None:
    context = Context()
    context.select_gpu(1)
    assert context.device == CPU
    context.use_gpu()
    assert context.device == torch.device("cuda", 1)
    for absent in (2, -1):
        with pytest.raises(DeviceError, match=f"GPU {absent} was asked for, .* sees 2 GPU"):
            context.select_gpu(absent)
    assert context.device == torch.device("cuda", 1)
    context.use_cpu()
    assert context.device == CPU


@pytest.mark.usefixtures("no_gpu")
def test_pycaffes_names_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caffe.mode, "context", Context())
    caffe.set_mode_cpu()
    with pytest.raises(CaffeError, match="GPU 0"):
        caffe.set_mode_gpu()
    with pytest.raises(CaffeError, match="GPU 1"):
        caffe.set_device(1)
    assert caffe.mode.context.device == CPU


def draw(context: Context) -> float:
    return float(torch.rand((), generator=context.generator(CPU)))


def test_seeds_are_reproducible() -> None:
    one, other = Context(), Context()
    one.seed(5)
    other.seed(5)
    drawn = [draw(one), draw(one)]
    assert drawn == [draw(other), draw(other)]
    assert drawn[0] != drawn[1]
    one.seed(5)
    assert draw(one) == drawn[0]
    one.seed(6)
    assert draw(one) != drawn[0]


def test_without_a_seed_runs_differ() -> None:
    assert draw(Context()) != draw(Context())


def test_set_random_seed_is_the_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Context()
    monkeypatch.setattr(caffe.mode, "context", mine)
    caffe.set_random_seed(5)
    reference = Context()
    reference.seed(5)
    assert draw(mine) == draw(reference)
    assert context_module.context is not mine


def test_layer_types_are_listed() -> None:
    assert {"Convolution", "Data", "SoftmaxWithLoss"} <= set(caffe.layer_type_list())


def tree(cls: type) -> dict:
    """The errors of the runtime below ``cls``; pycaffe's modules have some of their own."""
    below = [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]
    return {each.__name__: tree(each) for each in below}


def test_the_tree_of_errors_is_as_drawn() -> None:
    assert errors.__doc__ is not None
    drawn: dict = {}
    above = [drawn]
    for line in errors.__doc__.splitlines():
        before, branch, rest = line.partition("── ")
        if branch:
            depth = len(before) // 4 - 1  # the tree is indented
            above[depth + 1 :] = [above[depth].setdefault(rest.split()[0], {})]
    assert tree(CaffeError) == drawn


def test_tf32_is_off_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    context = Context()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    context.use_gpu()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    context.set_precision("tf32")
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
    context.set_precision("float32")
    assert not torch.backends.cudnn.allow_tf32
    with pytest.raises(DeviceError, match="'fp16' is not known; known: float32, tf32, bf16"):
        context.set_precision("fp16")


def test_deterministic_algorithms_are_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    context = Context()
    assert not torch.are_deterministic_algorithms_enabled()
    context.set_deterministic(True)
    try:
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        context.set_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()
