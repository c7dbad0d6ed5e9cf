"""Slurm on this one machine, from Debian's packages: started for tests, stopped after them.

It takes root, and writes ``/etc/slurm``, since steps within jobs read their configuration there
whatever ``$SLURM_CONF`` says. One that somebody else wrote is left alone: it may be a cluster's.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from miniature import Miniature

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
MARK = "# Written by Recaffe's tests, which write it anew."
ETC = Path("/etc/slurm")
CONFIGURATION = ("slurm.conf", "gres.conf", "cgroup.conf")
MUNGE = Path("/run/munge")
PATIENCE = 60.0
# As `profiles/slurm`, for a machine without Slurm's accounting and with the files at hand.
PROFILE = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
)


class SlurmError(Exception):
    """Slurm cannot be started here, or did not start."""


def require() -> None:
    """Raise :class:`SlurmError` with the reason where these tests cannot start Slurm."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    absent = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if absent:
        raise SlurmError(
            f"{absent[0]} is not installed; `apt-get install --no-install-recommends "
            f"{' '.join(PACKAGES)}` brings it"
        )
    if os.geteuid() != 0:
        raise SlurmError("starting Slurm takes root")
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text(encoding="utf-8").startswith(MARK):
        raise SlurmError(f"{conf} is another Slurm's, which is left alone")
    if conf.exists() and _run("sinfo", "--noheader", check=False):
        raise SlurmError("a Slurm that tests started runs already; end slurmctld and slurmd first")


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Slurm, with this machine as its only node; ``folder`` keeps its state and logs."""
    require()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    _write_configuration(folder)
    own_munge = _start_munge()
    try:
        for program in ("slurmctld", "slurmd"):
            _run(program)
        _wait_for("sinfo --noheader --format=%T", "idle", folder)
        yield
    finally:
        _run("scancel", "--user=root", check=False)
        for name in ("slurmd", "slurmctld"):
            _stop(folder / f"{name}.pid")
        if own_munge:
            _stop(MUNGE / "munged.pid")
        # With it, whoever asks Slurm waits 9 seconds for a controller that has ended, and
        # every start of Snakemake asks.
        for name in CONFIGURATION:
            (ETC / name).unlink()


def _write_configuration(folder: Path) -> None:
    host = socket.gethostname()
    node = _run("slurmd", "-C").splitlines()[0]
    settings = {
        "ClusterName": "one",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "MpiDefault": "none",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "ReturnToService": "2",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "KillWait": "15",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "slurmctld.log",
        "SlurmdLogFile": folder / "slurmd.log",
        "GresTypes": "gpu",
    }
    lines = [MARK, *(f"{key}={value}" for key, value in settings.items())]
    lines.append(f"{node} NodeAddr=127.0.0.1 Gres=gpu:1")
    lines.append(f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP")
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # A pretended GPU; without a file the node drains.
    (ETC / "gres.conf").write_text(f"{MARK}\nNodeName={host} Name=gpu File=/dev/null\n")
    (ETC / "cgroup.conf").write_text(f"{MARK}\nCgroupAutomount=no\nConstrainCores=no\n")


def _start_munge() -> bool:
    """Start munged, unless it runs; whether it had to be started."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return False
    MUNGE.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(MUNGE, "munge", "munge")
    subprocess.run(["munged"], user="munge", group="munge", check=True, env=_environment())
    return True


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if check and done.returncode != 0:
        raise SlurmError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _wait_for(command: str, words: str, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while words not in (said := _run(*command.split(), check=False)):
        if time.monotonic() > end:
            logs = "".join(
                path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log")
            )
            raise SlurmError(f"{command} says {said!r}, and not {words!r}:\n{logs}")
        time.sleep(0.5)


def _stop(pid_file: Path) -> None:
    """End a daemon of ours by its pid file."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.1)


def jobs(name: str, rule: str) -> list[str]:
    """The numbers of the jobs of a rule that run now, of the workflow that is called ``name``."""
    lines = _run("squeue", "--noheader", "--states=RUNNING", "--format=%i %j %k").splitlines()
    return [line.split()[0] for line in lines if f" {name}_" in line and f"rule_{rule}" in line]


def cancel(job: str) -> None:
    """Cancel a job, as a user does."""
    _run("scancel", job)


def submit(miniature: Miniature, log: Path, *options: str) -> subprocess.Popen[str]:
    """Start the workflow through Slurm, called as ``log``, where it writes what it says."""
    called = ("--slurm-jobname-prefix", log.stem)
    with log.open("w", encoding="utf-8") as stream:
        return miniature.start(*PROFILE, *called, *options, output=stream)
