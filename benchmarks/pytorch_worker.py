"""Time training steps of a bare PyTorch loop, the data in memory; print them as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch
from pytorch_nets import NETS
from torch import nn


def optimizer(net: nn.Module) -> torch.optim.SGD:
    """Weights and biases with Caffe's usual lr_mult of 1 and 2."""
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.0005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=sorted(NETS), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--chunks", type=int, required=True)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--deterministic", action="store_true", help="not of this loop")
    options = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if options.gpu else "cpu"
    torch.backends.cudnn.allow_tf32 = options.precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = options.precision != "float32"
    make, shape, classes = NETS[options.net]
    net = make().to(device)
    images = torch.rand(options.batch, *shape, device=device) - 0.5
    labels = torch.randint(classes, (options.batch,), device=device)
    if options.gpu and options.precision != "float32":
        net, images = (it.to(memory_format=torch.channels_last) for it in (net, images))
    learner = optimizer(net)
    half = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")
    run = torch.compile(net) if options.compile else net

    def step(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            learner.zero_grad()
            with half:
                loss = run(images, labels)
            loss.backward()
            learner.step()
        loss.item()
        return time.perf_counter() - start

    warm_up = step(options.warm_up)
    seconds = [step(options.steps) / options.steps for _ in range(options.chunks)]
    loss = net(images, labels).item()
    json.dump({"seconds": seconds, "warm_up": warm_up, "loss": loss}, sys.stdout)


if __name__ == "__main__":
    main()
