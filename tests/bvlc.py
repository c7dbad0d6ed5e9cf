"""BVLC's own build of Caffe 1.0, as Debian 11 packages it: find it, build it, ask it.

The build is a Debian 11 root folder, entered with ``chroot``, so root is needed. It lies
where ``$RECAFFE_BVLC`` says, else in the user's cache folder, and never in the checkout::

    python tests/bvlc.py build      # once; two minutes and 1 GB

    build = bvlc.find()
    build.python("import caffe; print(caffe.__version__)").stdout

Its interpreter is shown nothing of ours, unless ``caffetools=True`` asks for that one
package; were the whole of ``src/`` in its path, our ``caffe`` would answer in BVLC's place.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CAFFE = ("python3-caffe", "caffe")
# What caffetools and caffe.draw use beside Caffe.
BESIDE = (
    "graphviz", "python3-lmdb", "python3-opencv", "python3-plyvel", "python3-pydot",
    "python3-tqdm",
)  # fmt: skip
SUITE = "bullseye"
CAFFETOOLS = Path(__file__).resolve().parents[1] / "src" / "caffetools"

# What an input file can be given as: a file or folder to copy, or its content.
Content = Path | bytes | str


class BvlcError(Exception):
    """The build is absent or cannot be made here, or a run in it failed."""


@dataclass(frozen=True)
class Result:
    """What a finished program left: its exit status, its output, the files asked for."""

    status: int
    stdout: str
    stderr: str
    files: dict[str, bytes] = field(default_factory=dict)

    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Workplace:
    """A folder inside the build that several runs can share; runs start in it.

    ``path`` is its name out here and ``inside`` its name in there.
    """

    root: Path
    path: Path

    @property
    def inside(self) -> str:
        return f"/{self.path.relative_to(self.root)}"

    def put(self, name: str, content: Content) -> None:
        """Write ``content`` into the folder as ``name``, or copy it if it is a path."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif isinstance(content, str):
            target.write_text(content, encoding="utf-8")
        elif content.is_dir():
            shutil.copytree(content, target)
        else:
            shutil.copyfile(content, target)

    def run(
        self,
        command: Sequence[str],
        *,
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 600,
    ) -> Result:
        """Run ``command`` in the build, in this folder, in a clean environment.

        Raises :class:`BvlcError` with the program's own words if it fails, unless
        ``check`` is false.
        """
        done = subprocess.run(
            ["chroot", str(self.root), "/usr/bin/env", "-C", self.inside, *command],
            env=_environment(threads) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise BvlcError(
                f"{' '.join(command)} ended with status {done.returncode} in BVLC's build\n"
                f"--- stdout ---\n{done.stdout[-4000:]}\n--- stderr ---\n{done.stderr[-8000:]}"
            )
        return Result(done.returncode, done.stdout, done.stderr)

    def python(
        self, script: Content, *arguments: str, caffetools: bool = False, **options: Any
    ) -> Result:
        """Run a script, given as text or as a path, with BVLC's interpreter."""
        self.put("script.py", script)
        return self.run(["python3", "script.py", *arguments], **self._show(caffetools, options))

    def module(self, name: str, *arguments: str, **options: Any) -> Result:
        """Run ``python3 -m name``, a module of ``caffetools``, with BVLC's interpreter."""
        return self.run(["python3", "-m", name, *arguments], **self._show(True, options))

    def _show(self, caffetools: bool, options: dict[str, Any]) -> dict[str, Any]:
        if not caffetools:
            return options
        package = self.path / "python" / "caffetools"
        if not package.exists():
            shutil.copytree(CAFFETOOLS, package, ignore=shutil.ignore_patterns("__pycache__"))
        shown = {"PYTHONPATH": f"{self.inside}/python"}
        return options | {"environment": shown | dict(options.get("environment") or {})}


@dataclass(frozen=True)
class Build:
    """A root folder in which ``python3 -c 'import caffe'`` is BVLC's Caffe."""

    root: Path

    @contextmanager
    def workplace(self, files: Mapping[str, Content] | None = None) -> Iterator[Workplace]:
        """A new folder inside the build with ``files`` in it; removed at the end."""
        parent = self.root / "work"
        parent.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            place = Workplace(self.root, folder)
            for name, content in (files or {}).items():
                place.put(name, content)
            yield place
        finally:
            shutil.rmtree(folder)

    def python(
        self,
        script: Content,
        *arguments: str,
        files: Mapping[str, Content] | None = None,
        fetch: Sequence[str] = (),
        **options: Any,
    ) -> Result:
        """One script in a folder of its own; ``fetch`` names the files to bring back."""
        with self.workplace(files) as place:
            result = place.python(script, *arguments, **options)
            return _with_files(result, place, fetch)

    def program(
        self,
        name: str,
        *arguments: str,
        files: Mapping[str, Content] | None = None,
        fetch: Sequence[str] = (),
        **options: Any,
    ) -> Result:
        """One of Caffe's programs (``caffe``, ``convert_imageset`` ...), likewise."""
        with self.workplace(files) as place:
            result = place.run([name, *arguments], **options)
            return _with_files(result, place, fetch)


def _with_files(result: Result, place: Workplace, names: Sequence[str]) -> Result:
    files = {name: (place.path / name).read_bytes() for name in names}
    return Result(result.status, result.stdout, result.stderr, files)


def _environment(threads: int) -> dict[str, str]:
    """Nothing of ours but the processor type that the machine's owner tells OpenBLAS."""
    clean = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
        "GLOG_minloglevel": "2",
        "GLOG_logtostderr": "1",
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    if "OPENBLAS_CORETYPE" in os.environ:
        clean["OPENBLAS_CORETYPE"] = os.environ["OPENBLAS_CORETYPE"]
    return clean


# --- finding --------------------------------------------------------------------------


def place_of_build() -> Path:
    """Where the build lies, or would: ``$RECAFFE_BVLC``, else the user's cache folder."""
    if named := os.environ.get("RECAFFE_BVLC"):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "recaffe" / "bvlc"


def find() -> Build:
    """The build. Raises :class:`BvlcError`, saying why, where there is none to use."""
    root = place_of_build()
    if not (root / "usr/lib/python3/dist-packages/caffe").is_dir():
        raise BvlcError(
            "BVLC's build is neither at $RECAFFE_BVLC nor in the cache folder; "
            "`make oracle` makes it"
        )
    if os.geteuid() != 0:
        raise BvlcError("BVLC's build is entered with chroot, which needs root")
    return Build(root)


# --- building -------------------------------------------------------------------------


def build(mirror: str | None = None) -> str:
    """Make the build unless it is there; say what was done."""
    root = place_of_build()
    if os.geteuid() != 0:
        raise BvlcError("debootstrap and chroot need root; run this as root")
    if root.exists():
        _verify(Build(root))
        _install_beside(root)
        return f"already there: {root}"
    if shutil.which("debootstrap") is None:
        raise BvlcError("debootstrap is not installed; `apt-get install debootstrap` brings it")
    mirror = mirror or _debian_mirror(Path("/etc/apt"), _codename(Path("/etc/os-release")))
    # Built beside and renamed: what is found at `root` has worked once.
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        _debootstrap(partial, mirror)
        _verify(Build(partial))
        _install_beside(partial)
        partial.rename(root)
    finally:
        if partial.exists():
            _remove(partial)
    return f"built: {root}"


def _verify(candidate: Build) -> None:
    try:
        candidate.python("import caffe")
    except BvlcError as error:
        raise BvlcError(
            f"{candidate.root} is there, but Caffe does not work in it; "
            f"remove that folder and build anew\n{error}"
        ) from error


def _debootstrap(target: Path, mirror: str) -> None:
    include = ",".join(CAFFE)
    command = ["debootstrap", "--variant=minbase", f"--include={include}", SUITE]
    status = subprocess.run([*command, str(target), mirror]).returncode
    if status != 0:
        raise BvlcError(f"debootstrap from {mirror} ended with status {status}; see above")


def _install_beside(root: Path) -> None:
    """Install those packages of BESIDE that the build lacks, an older one perhaps."""
    inside = [
        "chroot",
        str(root),
        "/usr/bin/env",
        *(f"{k}={v}" for k, v in _environment(1).items()),
    ]
    query = [*inside, "dpkg-query", "--show", "--showformat=${Status}\\n", *BESIDE]
    known = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    if known == ["install ok installed"] * len(BESIDE):
        return
    install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *BESIDE]
    status = subprocess.run([*inside, "DEBIAN_FRONTEND=noninteractive", *install]).returncode
    if status != 0:
        raise BvlcError(f"apt-get install in {root} ended with status {status}; see above")


def _remove(partial: Path) -> None:
    # A debootstrap that was stopped leaves these mounted.
    for mounted in (partial / "proc", partial / "sys"):
        if mounted.is_mount():
            subprocess.run(["umount", str(mounted)], check=True)
    shutil.rmtree(partial)


def _codename(os_release: Path) -> str:
    for line in os_release.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    return ""


def _debian_mirror(apt: Path, codename: str) -> str:
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
    raise BvlcError(
        f"no Debian mirror among the apt sources under {apt}; name one with --mirror URL"
    )


Source = tuple[str, list[str], list[str]]


def _one_line(path: Path) -> Iterator[Source]:
    """Entries such as ``deb [arch=amd64] URI suite component ...``."""
    for line in path.read_text().splitlines():
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
    for stanza in _stanzas(path.read_text()):
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


def main() -> int:
    parser = argparse.ArgumentParser(description="BVLC's own build of Caffe 1.0, to test against")
    commands = parser.add_subparsers(dest="command", required=True)
    build_parser = commands.add_parser("build", help="make it, unless it is there")
    build_parser.add_argument("--mirror", help="a Debian mirror; else the machine's own")
    commands.add_parser("where", help="print where it lies, or would")
    options = parser.parse_args()
    try:
        print(build(options.mirror) if options.command == "build" else place_of_build())
    except BvlcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
