"""``caffe train``, ``caffe test``, ``caffe time`` and ``caffe device_query``.

Source: ``tools/caffe.cpp``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NoReturn

import torch

from caffe.commands import devices, program
from caffe.commands.flags import integer
from caffe.commands.program import Parser, info
from caffe.commands.train import train
from recaffe.context import context
from recaffe.errors import CaffeError, DeviceError
from recaffe.net import Net, load_weights
from recaffe.proto.schema import TEST, TRAIN
from recaffe.proto.text import read_net

FILE = "caffe.cpp"
USAGE = """command line brew
usage: caffe <command> <args>

commands:
  train           train or finetune a model
  test            score a model
  device_query    show GPU diagnostic information
  time            benchmark model execution time
"""


def main() -> NoReturn:
    """The program ``caffe``."""
    program.main(parser(), _run)


def parser() -> Parser:
    """What the program takes."""
    parser = Parser("caffe", USAGE)
    parser.add_argument("command", nargs="*", help="train, test, time or device_query")
    flag = parser.flag
    flag("gpu", "run on this GPU; train on these, separated by ',', or 'all'; by default the CPU")
    flag("solver", "the solver definition protocol buffer text file")
    flag("model", "the model definition protocol buffer text file")
    flag("phase", "network phase (TRAIN or TEST), for 'time'")
    flag("level", "network level", integer, 0)
    flag("stage", "network stages (not to be confused with phase), separated by ','")
    flag("snapshot", "the snapshot solver state to resume training")
    flag("weights", "the pretrained weights, separated by ','; not together with snapshot")
    flag("iterations", "the number of iterations to run", integer, 50)
    flag("sigint_effect", "what SIGINT does: snapshot, stop or none", default="stop")
    flag("sighup_effect", "what SIGHUP does: snapshot, stop or none", default="snapshot")
    return parser


def _run(options: argparse.Namespace) -> int | None:
    if len(options.command) != 1:
        print(f"caffe: {USAGE}\n'caffe --help' lists the flags.")
        return 0
    (command,) = options.command
    if command not in COMMANDS:
        raise CaffeError(f"Unknown action: {command}; known: {', '.join(sorted(COMMANDS))}")
    COMMANDS[command](options)
    return None


# -- test ----------------------------------------------------------------------------------


def _choose_device(gpu: str, cpu_line: int, gpu_line: int) -> None:
    chosen = devices.named(gpu)
    if len(chosen) > 1:
        raise DeviceError(f"-gpu {gpu}: only 'train' runs on several GPUs; name one")
    devices.tell(chosen[0], cpu_line, gpu_line)
    devices.use(chosen[0])


def _net(options: argparse.Namespace, phase: int) -> Net:
    stages = tuple(options.stage.split(","))
    return Net(
        read_net(options.model), phase, level=options.level, stages=stages, origin=options.model
    )


def score(options: argparse.Namespace) -> None:
    """Run a net on its own data; log every output of every batch and the means."""
    if not options.model:
        raise CaffeError("Need a model definition to score.")
    if not options.weights:
        raise CaffeError("Need model weights to score.")
    _positive(options.iterations)
    _choose_device(options.gpu, 275, 266)
    net = _net(options, TEST)
    load_weights(net, [path.strip() for path in options.weights.split(",")])
    info((FILE, 281), "Running for %d iterations.", options.iterations)
    loss = 0.0
    sums: list[tuple[str, float]] = []
    for batch in range(options.iterations):
        net.forward_layers(0, len(net.layers) - 1, record=False)
        loss += net.loss()
        values = [
            (name, float(value))
            for name in net.outputs
            for value in net.blobs[name].data_tensor.flatten().tolist()
        ]
        for name, value in values:
            info((FILE, 304), "Batch %d, %s = %g", batch, name, value)
        before = sums or [(name, 0.0) for name, _ in values]
        sums = [(name, old + new) for (name, old), (_, new) in zip(before, values, strict=True)]
    info((FILE, 309), "Loss: %g", loss / options.iterations)
    weights = {
        name: weight
        for layer, own in zip(net.layers, net.loss_weights, strict=True)
        for name, weight in zip(layer.top_names, own, strict=True)
    }
    for name, total in sums:
        mean, weight = total / options.iterations, weights.get(name, 0.0)
        share = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
        info((FILE, 321), "%s = %g%s", name, mean, share)


def _positive(iterations: int) -> None:
    if iterations < 1:
        raise CaffeError(f"-iterations {iterations}: expected at least 1")


# -- time ----------------------------------------------------------------------------------


def time_layers(options: argparse.Namespace) -> None:
    """Time every layer's forward and backward."""
    if not options.model:
        raise CaffeError("Need a model definition to time.")
    phases = {"": TRAIN, "TRAIN": TRAIN, "TEST": TEST}
    if options.phase not in phases:
        raise CaffeError('phase must be "TRAIN" or "TEST"')
    _positive(options.iterations)
    _choose_device(options.gpu, 343, 339)
    net = _net(options, phases[options.phase])
    last = len(net.layers) - 1
    info((FILE, 351), "Performing Forward")
    net.forward_layers(0, last)
    info((FILE, 356), "Initial loss: %g", net.loss())
    info((FILE, 357), "Performing Backward")
    net.backward_layers(last, 0)
    info((FILE, 365), "*** Benchmark begins ***")
    info((FILE, 366), "Testing for %d iterations.", options.iterations)
    forward, backward = [0.0] * (last + 1), [0.0] * (last + 1)
    begin = _milliseconds()
    for iteration in range(options.iterations):
        start = _milliseconds()
        for index in range(last + 1):
            before = _milliseconds()
            net.forward_layers(index, index)
            forward[index] += _milliseconds() - before
        for index in reversed(range(last + 1)):
            before = _milliseconds()
            net.backward_layers(index, index, retain=False)
            backward[index] += _milliseconds() - before
        took = _milliseconds() - start
        info((FILE, 394), "Iteration: %d forward-backward time: %g ms.", iteration + 1, took)
    total, rounds = _milliseconds() - begin, options.iterations
    info((FILE, 397), "Average time per layer: ")
    for index, layer in enumerate(net.layers):
        name = f"{layer.name:>10}"
        info((FILE, 400), "%s\tforward: %g ms.", name, forward[index] / rounds)
        info((FILE, 403), "%s\tbackward: %g ms.", name, backward[index] / rounds)
    info((FILE, 408), "Average Forward pass: %g ms.", sum(forward) / rounds)
    info((FILE, 410), "Average Backward pass: %g ms.", sum(backward) / rounds)
    info((FILE, 412), "Average Forward-Backward: %g ms.", total / rounds)
    info((FILE, 414), "Total Time: %g ms.", total)
    info((FILE, 415), "*** Benchmark ends ***")


def _milliseconds() -> float:
    if context.device.type == "cuda":
        torch.cuda.synchronize(context.device)
    return 1000 * time.perf_counter()


# -- device_query --------------------------------------------------------------------------


def device_query(options: argparse.Namespace) -> None:
    """Tell what torch knows of the GPUs asked for, or of all."""
    info((FILE, 138), "Querying GPUs %s", options.gpu)
    count = torch.cuda.device_count()
    if options.gpu == "all" and not count:
        raise DeviceError("-gpu all: torch sees no GPU here")
    given = options.gpu if options.gpu not in ("", "all") else ",".join(map(str, range(count)))
    for number in given.split(",") if given else ():
        if not number.isdigit() or int(number) >= count:
            raise DeviceError(f"GPU {number} was asked for, but torch sees {count} GPU(s) here")
        _describe(int(number))
    if not count:
        info((FILE, 138), "torch %s sees no GPU here.", torch.__version__)


def _describe(number: int) -> None:
    found: Any = torch.cuda.get_device_properties(number)
    facts = (
        ("Device id:", number),
        ("Major revision number:", found.major),
        ("Minor revision number:", found.minor),
        ("Name:", found.name),
        ("Total global memory:", found.total_memory),
        ("Warp size:", found.warp_size),
        ("Number of multiprocessors:", found.multi_processor_count),
    )
    for name, value in facts:
        info(("common.cpp", 190), "%-30s %s", name, value)


COMMANDS = {"train": train, "test": score, "time": time_layers, "device_query": device_query}
