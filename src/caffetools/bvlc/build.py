"""BVLC's own build of Caffe 1.0, as Debian 11 packages it: where it lies, and how it is made.

It is a Debian 11 root folder, made by debootstrap: where ``$RECAFFE_BVLC`` says, else in the user's
cache folder, and never in the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from caffetools.cli import ToolError

CAFFE = ("python3-caffe", "caffe")
# What caffetools and caffe.draw use beside Caffe.
BESIDE = (
    "graphviz", "python3-lmdb", "python3-opencv", "python3-plyvel", "python3-pydot",
    "python3-tqdm",
)  # fmt: skip
SUITE = "bullseye"
# What programs in the build are told of their surroundings.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
}


def place() -> Path:
    """Where the build lies, or would: ``$RECAFFE_BVLC``, else the user's cache folder."""
    named = os.environ.get("RECAFFE_BVLC")
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "recaffe" / "bvlc"


def find() -> Path:
    """The build's root folder. Raises :class:`ToolError` where there is none."""
    root = place()
    if not (root / "usr/lib/python3/dist-packages/caffe").is_dir():
        raise ToolError(
            "BVLC's build is neither at $RECAFFE_BVLC nor in the cache folder; `make bvlc` makes it"
        )
    return root


def build(mirror: Optional[str] = None) -> str:
    """Make the build unless it is there; say what was done."""
    root = place()
    if os.geteuid() != 0:
        raise ToolError("debootstrap and chroot need root; run this as root")
    if root.exists():
        _verify(root)
        _install_beside(root)
        return f"already there: {root}"
    if shutil.which("debootstrap") is None:
        raise ToolError("debootstrap is not installed; `apt-get install debootstrap` brings it")
    mirror = mirror or debian_mirror(Path("/etc/apt"), _codename(Path("/etc/os-release")))
    # Built beside and renamed: what is found at `root` has worked once.
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        _debootstrap(partial, mirror)
        _verify(partial)
        _install_beside(partial)
        partial.rename(root)
    finally:
        if partial.exists():
            _remove(partial)
    return f"built: {root}"


def _inside(root: Path, *command: str, **settings: str) -> list[str]:
    words = [f"{name}={value}" for name, value in {**ENVIRONMENT, **settings}.items()]
    return ["chroot", str(root), "/usr/bin/env", "-i", *words, *command]


def _verify(candidate: Path) -> None:
    done = subprocess.run(
        _inside(candidate, "python3", "-c", "import caffe"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ToolError(
            f"{candidate} is there, but Caffe does not work in it; remove that folder and build "
            f"anew\n{done.stdout[-4000:]}"
        )


def _debootstrap(target: Path, mirror: str) -> None:
    include = ",".join(CAFFE)
    command = ["debootstrap", "--variant=minbase", f"--include={include}", SUITE]
    status = subprocess.run([*command, str(target), mirror], check=False).returncode
    if status != 0:
        raise ToolError(f"debootstrap from {mirror} ended with status {status}; see above")


def _install_beside(root: Path) -> None:
    """Install those packages of BESIDE that the build lacks, an older one perhaps."""
    query = _inside(root, "dpkg-query", "--show", "--showformat=${Status}\\n", *BESIDE)
    known = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=False)
    if known.stdout.splitlines() == ["install ok installed"] * len(BESIDE):
        return
    install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *BESIDE]
    command = _inside(root, *install, DEBIAN_FRONTEND="noninteractive", HOME="/tmp")
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise ToolError(f"apt-get install in {root} ended with status {status}; see above")


def _remove(partial: Path) -> None:
    # A debootstrap that was stopped leaves these mounted.
    for mounted in (partial / "proc", partial / "sys"):
        if mounted.is_mount():
            subprocess.run(["umount", str(mounted)], check=True)
    shutil.rmtree(str(partial))


# --- the machine's own mirror of Debian -------------------------------------------------


def _codename(os_release: Path) -> str:
    for line in os_release.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    return ""


def debian_mirror(apt: Path, codename: str) -> str:
    """The first archive in the machine's apt sources that carries the system's own suite.

    Other vendors' archives have suites of their own names, so the suite tells which one
    is Debian's.
    """
    wanted = {codename, "stable", "oldstable", "testing", "unstable", "sid"} - {""}
    one_line = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    deb822 = sorted((apt / "sources.list.d").glob("*.sources"))
    sources = [entry for path in one_line if path.exists() for entry in _one_line(path)]
    sources += [entry for path in deb822 for entry in _deb822(path)]
    for uri, suites, components in sources:
        if wanted & set(suites) and "main" in components:
            return uri
    raise ToolError(
        f"no Debian mirror among the apt sources under {apt}; name one with --mirror URL"
    )


Source = tuple[str, list[str], list[str]]


def _one_line(path: Path) -> Iterator[Source]:
    """Entries such as ``deb [arch=amd64] URI suite component ...``."""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if kind != "deb":
            continue
        rest = rest.strip()
        if rest.startswith("["):
            rest = rest.partition("]")[2]
        uri, suite, *components = [*rest.split(), "", ""]
        yield uri, [suite], components


def _deb822(path: Path) -> Iterator[Source]:
    """Stanzas of ``Key: value`` lines, parted by blank lines."""
    for stanza in _stanzas(path.read_text(encoding="utf-8")):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled") == "no":
            continue
        for uri in stanza.get("uris", "").split():
            yield uri, stanza.get("suites", "").split(), stanza.get("components", "").split()


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0].isspace():
            fields[key] += " " + line.strip()
        else:
            key, _, value = line.partition(":")
            key = key.lower()
            fields[key] = value.strip()
