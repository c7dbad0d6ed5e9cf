"""Kills a workflow at random points, again and again, and compares what it ends with.

``python tests/campaign.py --kills 100 --seed 0`` runs the miniature's pipeline once to its end
undisturbed, then with that many kills; the results must be the same, byte for byte.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from miniature import Miniature, fresh

# What is struck, and how: a job's command, Snakemake alone, or the whole session.
KINDS = {
    "SIGKILL to a command": ("command", signal.SIGKILL),
    "SIGTERM to a command": ("command", signal.SIGTERM),
    "SIGKILL to Snakemake": ("snakemake", signal.SIGKILL),
    "SIGTERM to Snakemake": ("snakemake", signal.SIGTERM),
    "SIGINT to all": ("all", signal.SIGINT),
    "SIGKILL to all": ("all", signal.SIGKILL),
}
# A stage is passed over if it does not come up so many seconds after the random delay.
PATIENCE = 8.0
LONGEST = 120.0  # seconds in which a run that was struck ends
DELAY = (0.0, 6.0)
# What a run that was not killed may end with: the trainer of one that was killed goes on.
STILL_AT_WORK = re.compile("another trainer is at work here")
LOG = logging.getLogger(__name__)
_COMMAND = re.compile(r"\0-m\0(caffetools[\w.]+)")


@dataclass
class Campaign:
    """A workflow that is killed, and what it is to end with.

    Args:
        miniature: where it runs; its results are removed at first.
        seed: of the points in time and the stages.

    Attributes:
        hits: how often each stage, by its command's module, was at work when it was killed.
        kinds: how often each kind of kill was made.
        rounds: how often the workflow came to its end, with the same results.
        stuck: how often Snakemake did not end after a signal, so that all were killed.
    """

    miniature: Miniature
    seed: int
    hits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    stuck: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log = self.miniature.folder / "campaign.log"
        self._clear()
        stages = set()
        process = self._start()
        while process.poll() is None:
            stages |= {module for _, module in commands_of(process.pid)}
            time.sleep(0.02)
        assert process.returncode == 0, self._said()
        self.hits.update(dict.fromkeys(sorted(stages), 0))
        self.expected = self.miniature.hashes("snapshots")
        self._clear()

    def run(self, kills: int) -> None:
        """Kill ``kills`` times, then let the workflow end; compare the results of each end."""
        while self.kinds.total() < kills:
            process = self._start()
            if self._kill(process, list(KINDS)[self.kinds.total() % len(KINDS)]):
                self._clean_up(process)
            else:
                self._ended(process)
        while True:
            process = self._start()
            process.wait()
            if self._ended(process):
                return

    def _start(self) -> subprocess.Popen[str]:
        with self.log.open("w") as output:
            return self.miniature.start(output=output)

    def _said(self) -> str:
        return self.log.read_text()[-6000:]

    def _clear(self) -> None:
        for name in ("results", ".snakemake"):
            shutil.rmtree(self.miniature.folder / name, ignore_errors=True)

    def _kill(self, process: subprocess.Popen[str], kind: str) -> bool:
        """Kill in a stage that was hit least so far; False if the run has ended before."""
        time.sleep(self.random.uniform(*DELAY))
        rarest, end = min(self.hits.values()), time.monotonic() + PATIENCE
        while process.poll() is None:
            running = commands_of(process.pid)
            wanted = [one for one in running if self.hits[one[1]] == rarest]
            if wanted or (running and time.monotonic() > end):
                pid, module = self.random.choice(wanted or running)
                time.sleep(self.random.uniform(0, 1))
                break
            time.sleep(0.01)
        if process.poll() is not None:
            return False
        target, number = KINDS[kind]
        try:
            if target == "all":
                os.killpg(process.pid, number)
            else:
                os.kill(pid if target == "command" else process.pid, number)
        except ProcessLookupError:  # that command has ended meanwhile
            return self._kill(process, kind)
        self.hits[module] += 1
        self.kinds[kind] += 1
        LOG.info("kill %d: %s, at work: %s", self.kinds.total(), kind, module)
        return True

    def _clean_up(self, process: subprocess.Popen[str]) -> None:
        self._wait(process)
        # As Snakemake tells whoever starts it after it was killed.
        if (self.miniature.folder / ".snakemake" / "locks").is_dir():
            done = self.miniature.snakemake("--unlock")
            assert done.returncode == 0, done.stderr[-6000:]

    def _wait(self, process: subprocess.Popen[str]) -> None:
        """Wait for the end of what was killed; whoever does not end is killed for good."""
        try:
            process.wait(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            at_work = [module for _, module in commands_of(process.pid)]
            LOG.info("it does not end; at work: %s; it said: %s", at_work, self._said()[-500:])
            self.stuck += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _ended(self, process: subprocess.Popen[str]) -> bool:
        """Whether the run came to its end; then the results are compared and removed."""
        if process.returncode:
            assert STILL_AT_WORK.search(self._said()), self._said()
            time.sleep(1)
            return False
        found = self.miniature.hashes("snapshots")
        assert found.keys() == self.expected.keys()
        other = [name for name, digest in found.items() if digest != self.expected[name]]
        assert not other, f"other than of an undisturbed run: {other}"
        self.rounds += 1
        LOG.info("the end, with the same results")
        self._clear()
        return True


def commands_of(session: int) -> list[tuple[int, str]]:
    """Process and module of each ``python -m caffetools...`` of a session."""
    return sorted(_commands_of(session))


def _commands_of(session: int) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                found = _COMMAND.search(line)
                if found and os.getsid(int(entry.name)) == session:
                    yield int(entry.name), found[1]
            except OSError:  # it has ended
                continue


def richer(miniature: Miniature) -> Miniature:
    """One seed, with all that is random in a training, and snapshots often enough to go on from."""
    miniature.config["seeds"] = [0]
    experiments = fresh(miniature.config["experiments"])
    experiments["tuned"] |= {"mirror": True, "shuffle": True, "augmentation": {"min_area": 0.5}}
    for experiment in experiments.values():
        experiment["solver"] |= {"max_iter": 60, "snapshot": 7, "test_interval": 20}
    miniature.config["experiments"] = experiments
    return miniature


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Left behind where it fails, to be looked at.
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    LOG.info("in %s", folder)
    campaign = Campaign(richer(Miniature(folder / "campaign")), options.seed)
    LOG.info("undisturbed: %d results", len(campaign.expected))
    campaign.run(options.kills)
    print(f"{campaign.kinds.total()} kills, {campaign.rounds} ends with the same results")
    print(f"{campaign.stuck} times Snakemake had to be killed once more")
    for name, count in (*campaign.kinds.items(), *campaign.hits.items()):
        print(f"  {count:4d}  {name}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
