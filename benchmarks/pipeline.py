"""Time the whole pipeline on its default configuration, and a second run with nothing to do.

Works on a fresh copy of the committed files, so that nothing is cached.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def seconds(command: list[str], folder: Path) -> float:
    # The copy's own sources go before those that the environment has installed.
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "copy")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        command = [sys.executable, "-m", "snakemake", "--cores", str(options.cores)]
        print(f"whole run: {seconds(command, folder):.0f} s", flush=True)
        print(f"second run: {seconds(command, folder):.1f} s")


if __name__ == "__main__":
    main()
