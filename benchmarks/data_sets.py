"""Time what is done with images before a net sees them: ours against BVLC's tools.

- ``create``: an LMDB of 256 x 256 from JPEGs of 375 x 500: ``caffetools.lmdb convert`` with one
  worker and with one a core, against ``convert_imageset``
- ``mean``: the mean image of that LMDB: ``caffetools.mean`` against ``compute_image_mean``; and of
  one five times as long, where starting the process counts less
- ``read raw``, ``read jpg``: the Data layer with a crop of 227, mirroring and a mean image, in
  batches of 50, of raw and of encoded records
- ``memory``: the most memory that ``convert`` and ``mean`` take for 2,000 and for 100,000 small
  images, which should be alike. The pages of the LMDB that the system keeps mapped are not
  counted: it takes them back when it needs them

Every side runs in a process of its own, round by round. The photographs are crops of
scikit-learn's two, at random places and scales. Figures are medians, in images a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import bvlc

HERE = Path(__file__).resolve().parent
SIZE = ("256", "256")
BATCH = 50
LONGER = 5  # how many times each image stands in the longer LMDB
QUIET = 0.5  # load up to which figures can be trusted
Side = Callable[[], float]  # seconds


def write_photographs(folder: Path, count: int) -> None:
    """JPEGs of 375 x 500 and their list."""
    random = np.random.RandomState(0)
    photographs = load_sample_images().images
    (folder / "images").mkdir()
    for i in range(count):
        photograph = photographs[i % 2]
        scale = random.uniform(0.75, 1)
        height, width = int(375 * scale), int(500 * scale)
        top = random.randint(photograph.shape[0] - height + 1)
        left = random.randint(photograph.shape[1] - width + 1)
        crop = photograph[top : top + height, left : left + width, ::-1]
        image = cv2.resize(crop, (500, 375), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "images" / f"{i:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    lines = "".join(f"{i:05d}.jpg {i % 10}\n" for i in range(count))
    (folder / "list.txt").write_text(lines)


def ours(folder: Path, *command: str) -> Side:
    def measure() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        return time.perf_counter() - start

    return measure


def bvlcs(place: bvlc.Workplace, *command: str) -> Side:
    def measure() -> float:
        place.run(["rm", "-rf", "made"])
        start = time.perf_counter()
        place.run(list(command))
        return time.perf_counter() - start

    return measure


def convert(output: str, *more: str, listed: str = "list.txt") -> list[str]:
    size = ["--width", SIZE[0], "--height", SIZE[1]]
    return ["caffetools.lmdb", "convert", "--list", listed, "--root", "images", *size,
            "--output", output, *more]  # fmt: skip


def reading(database: str, batches: int) -> list[str]:
    return [database, "--batch", str(BATCH), "--batches", str(batches)]


def our_reading(folder: Path, database: str, batches: int) -> Side:
    def measure() -> float:
        command = [sys.executable, str(HERE / "read_worker.py"), *reading(database, batches)]
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)  # fmt: skip
        return float(json.loads(done.stdout)["seconds"])

    return measure


def bvlcs_reading(place: bvlc.Workplace, database: str, batches: int) -> Side:
    def measure() -> float:
        done = place.python(HERE / "read_worker.py", *reading(database, batches))
        return float(done.json()["seconds"])

    return measure


def cases(
    folder: Path, place: bvlc.Workplace, count: int
) -> dict[str, tuple[int, dict[str, Side]]]:
    """What is measured: of how many images, and who takes part."""
    cores = len(os.sched_getaffinity(0))
    resized = (f"--resize_width={SIZE[0]}", f"--resize_height={SIZE[1]}")
    return {
        "create": (count, {
            "ours": ours(folder, *convert("made")),
            **({"ours, one worker": ours(folder, *convert("made", "--workers", "1"))}
               if cores > 1 else {}),
            "BVLC": bvlcs(place, "convert_imageset", *resized, "images/", "list.txt", "made"),
        }),
        **{
            f"mean of {images}": (images, {
                "ours": ours(folder, "caffetools.mean", "--lmdb", name, "--output", "made.mean"),
                "BVLC": bvlcs(place, "compute_image_mean", name, "made.mean"),
            })
            for name, images in (("raw", count), ("longer", LONGER * count))
        },
        **{
            f"read {kind}": (BATCH, {
                "ours": our_reading(folder, kind, batches),
                "BVLC": bvlcs_reading(place, kind, batches),
            })
            for kind, batches in (("raw", 60), ("jpg", 30))
        },
    }  # fmt: skip


def report(name: str, images: int, seconds: dict[str, list[float]]) -> None:
    print(f"{name}: images a second")
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for side, values in seconds.items():
        rates = [images / value for value in values]
        print(f"  {side:20}{images / medians[side]:10.0f}  ({min(rates):.0f} to {max(rates):.0f})")
    print(f"  ours / BVLC: {medians['BVLC'] / medians['ours']:.2f}", flush=True)


def memory(folder: Path, count: int) -> dict[str, float]:
    """The most memory in MB that converting and averaging ``count`` small images takes."""
    place = folder / f"small{count}"
    (place / "images").mkdir(parents=True)
    image = cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    (place / "images" / "a.png").write_bytes(image)
    (place / "list.txt").write_text("".join(f"a.png {i % 10}\n" for i in range(count)))
    size = ["--width", "16", "--height", "16"]
    made = ["--list", "list.txt", "--root", "images", "--output", "made", *size]
    commands = {
        "convert": ["caffetools.lmdb", "convert", *made],
        "mean": ["caffetools.mean", "--lmdb", "made", "--output", "made.mean"],
    }
    return {name: _most_memory(place, command) for name, command in commands.items()}


# Looks every 5 ms at the memory of its own process that belongs to no file, of which the kernel
# keeps no maximum.
MEASURED = """
import runpy, sys, threading
module, sys.argv = sys.argv[1], sys.argv[1:]
most, ended = 0, threading.Event()
def watch():
    global most
    while not ended.wait(0.005):
        status = open("/proc/self/status").read()
        most = max(most, int(status.split("RssAnon:")[1].split()[0]))
watcher = threading.Thread(target=watch)
watcher.start()
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end
finally:
    ended.set()
watcher.join()
print(most)
"""


def _most_memory(place: Path, command: list[str]) -> float:
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], cwd=place, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    return int(done.stdout) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > QUIET:
        print(f"warning: others are at work here (load {load:.1f}); mind it", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder, options.images)
        (folder / "longer.txt").write_text(LONGER * (folder / "list.txt").read_text())
        for command in (
            convert("raw"),
            convert("longer", listed="longer.txt"),
            convert("jpg", "--encode", "jpg"),
        ):
            ours(folder, *command)()
        ours(folder, "caffetools.mean", "--lmdb", "raw", "--output", "mean.binaryproto")()
        try:
            files = {entry.name: entry for entry in folder.iterdir()}
            with bvlc.find().workplace(files) as place:
                for case, (images, sides) in cases(folder, place, options.images).items():
                    seconds: dict[str, list[float]] = {side: [] for side in sides}
                    for _ in range(options.rounds):
                        for side, measure in sides.items():
                            seconds[side].append(measure())
                    report(case, images, seconds)
        except bvlc.BvlcError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        for count in (2_000, 100_000):
            for command, most in memory(folder, count).items():
                print(f"memory of {command}, {count:,} small images: {most:.0f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
