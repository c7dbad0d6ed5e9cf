"""The runtime on a GPU against BVLC's kept answers; skipped where torch sees none."""

from __future__ import annotations

from pathlib import Path

import pytest
import together
import torch
from differential import goldens
from differential.compare import ask_ours, differences
from small_nets import TINY, filled

import caffe
from recaffe.context import context

# With TF32 off a GPU sums in another order than a CPU, and in more parts.
TOLERANCE = 2e-3

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
_, GOLDENS = goldens.read()


@pytest.fixture(autouse=True)
def _on_the_gpu():
    caffe.set_mode_gpu()
    yield
    context.set_precision("float32")
    caffe.set_mode_cpu()


@pytest.mark.parametrize(
    ("case", "theirs"), GOLDENS, ids=[f"{case.type}-{case.name}" for case, _ in GOLDENS]
)
def test_numbers_are_those_that_bvlc_gave(case, theirs):
    assert differences(ask_ours(case), theirs, TOLERANCE) == []


def test_nets_live_there():
    net = filled(TINY)
    net.forward_backward()
    assert net.blobs["ip"].data_tensor.device.type == "cuda"
    assert net.params["ip"][0].diff_tensor.device.type == "cuda"


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("compiles", [False, True])
def test_a_whole_step_gives_nearly_the_same(precision, compiles, monkeypatch):
    context.seed(1)
    layers = filled(TINY)
    context.seed(1)
    whole = filled(TINY)
    expected = layers.forward_backward()
    monkeypatch.setattr(context, "compiles", compiles)
    context.set_precision(precision)
    allowed = 1e-5 if precision == "float32" else 0.03
    assert whole.forward_backward(keep=False) == pytest.approx(expected, rel=allowed)
    for ours, theirs in zip(whole.learnable, layers.learnable, strict=True):
        largest = theirs.diff_tensor.abs().max()
        assert (ours.diff_tensor - theirs.diff_tensor).abs().max() <= 2 * allowed * largest


def test_deterministic_algorithms_give_the_same_bits():
    """Of a whole step with convolution and pooling, again and again."""
    context.set_deterministic(True)
    try:
        found = set()
        for _ in range(5):
            context.seed(1)
            net = filled(TINY)
            net.forward_backward(keep=False)
            diffs = [blob.diff_tensor.cpu().numpy().tobytes() for blob in net.learnable]
            found.add(b"".join(diffs))
        assert len(found) == 1
    finally:
        context.set_deterministic(False)


LINEAR = """
net_param {
  layer { name: "x" type: "DummyData" top: "x" dummy_data_param {
    shape { dim: 2 dim: 3 } data_filler { value: 0.5 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" loss_weight: 1
    inner_product_param { num_output: 2 weight_filler { value: 0.25 } } }
}
base_lr: 0.1 lr_policy: "fixed"
"""


def _trained(uid: str) -> list[float]:
    caffe.set_device(caffe.solver_rank())
    caffe.set_mode_gpu()
    Path(f"{caffe.solver_rank()}.prototxt").write_text(LINEAR)
    solver = caffe.SGDSolver(f"{caffe.solver_rank()}.prototxt")
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    solver.step(3)
    return solver.net.params["ip"][0].data.ravel().tolist()


@pytest.mark.parametrize("count", [1, 2])
def test_solvers_are_joined_by_nccl(count, tmp_path, monkeypatch):
    if torch.cuda.device_count() < count:
        pytest.skip(f"torch sees fewer than {count} GPUs here")
    assert caffe.has_nccl()
    monkeypatch.chdir(tmp_path)
    for found in together.values(together.run(_trained, caffe.NCCL.new_uid(), count=count)):
        assert found == pytest.approx([0.25 - 3 * 0.1] * 6)
