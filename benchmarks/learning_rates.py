"""Find each experiment's own best learning rate, so that the comparison is a fair one.

Trains every experiment of the configuration with each base_lr of a grid and a few seeds,
on what the pipeline has made (run it first), and prints the accuracy on the val split at
some iterations and its mean over all tests of a run. The best rate is the one with the
highest mean: it rewards both a fast start and a good end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from snakemake.utils import validate

from caffetools.history import History, read_history
from caffetools.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
RATES = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05]
SHOWN = (10, 20, 40, 80, 120)


def train(plan: Plan, experiment: str, seed: int, rate: float, folder: Path) -> History:
    """One run with ``base_lr`` set to ``rate``, by the commands that the workflow calls."""
    settings = plan.settings(plan.target, experiment, seed)
    settings["solver"]["base_lr"] = rate
    weights = plan.weights(plan.target, experiment)
    model = plan.model
    call("patch", "--net", model["train_val"], "--solver", model["solver"], "--output", folder,
         "--settings", json.dumps(settings), "--data", f"results/{plan.target}")  # fmt: skip
    call("train", "--solver", folder / "solver.prototxt", "--snapshots", folder / "snapshots",
         "--output", folder / "final.caffemodel", "--history", folder / "history.csv",
         *(["--weights", weights] if weights else []))  # fmt: skip
    return read_history(folder / "history.csv").tested()


def call(command: str, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", f"caffetools.{command}", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True,
    )  # fmt: skip


def row(histories: list[History]) -> tuple[float, list[float]]:
    """The mean accuracy over all tests, and that at the iterations shown."""
    accuracy = np.mean([history.test_accuracy for history in histories], axis=0)
    iterations = histories[0].iteration
    return float(accuracy[iterations > 0].mean()), [
        float(accuracy[iterations == shown][0]) if shown in iterations else float("nan")
        for shown in SHOWN
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--experiments", nargs="+")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    validate(config, str(ROOT / "workflow/schemas/config.schema.yaml"))
    plan = Plan(config)
    print(f"{'experiment':<12}{'base_lr':>9}{'mean':>8}" + "".join(f"{i:>8}" for i in SHOWN))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        for experiment in options.experiments or plan.experiments:
            for rate in options.rates:
                runs = [
                    pool.submit(train, plan, experiment, seed, rate,
                                Path(folder, f"{experiment}-{rate}-{seed}"))
                    for seed in options.seeds
                ]  # fmt: skip
                mean, shown = row([run.result() for run in runs])
                figures = "".join(f"{value:>8.3f}" for value in (mean, *shown))
                print(f"{experiment:<12}{rate:>9}{figures}", flush=True)


if __name__ == "__main__":
    main()
