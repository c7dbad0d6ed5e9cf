"""Asking BVLC's own build of Caffe 1.0, which ``make bvlc`` makes (``caffetools.bvlc``)::

    build = bvlc.find()
    build.python("import caffe; print(caffe.__version__)").stdout

It is entered with ``chroot``, so root is needed.

Its interpreter is shown nothing of ours, unless ``caffetools=True`` asks for that one
package; were the whole of ``src/`` in its path, our ``caffe`` would answer in BVLC's place.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffetools.bvlc.build import ENVIRONMENT
from caffetools.bvlc.build import find as find_root
from caffetools.cli import ToolError

CAFFETOOLS = Path(__file__).resolve().parents[1] / "src" / "caffetools"

# What an input file can be given as: a file or folder to copy, or its content.
Content = Path | bytes | str


class BvlcError(Exception):
    """The build is absent or cannot be used here, or a run in it failed."""


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
        **ENVIRONMENT,
        "HOME": "/tmp",
        "GLOG_minloglevel": "2",
        "GLOG_logtostderr": "1",
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    if "OPENBLAS_CORETYPE" in os.environ:
        clean["OPENBLAS_CORETYPE"] = os.environ["OPENBLAS_CORETYPE"]
    return clean


def find() -> Build:
    """The build. Raises :class:`BvlcError`, saying why, where there is none to use."""
    try:
        root = find_root()
    except ToolError as error:
        raise BvlcError(str(error)) from error
    if os.geteuid() != 0:
        raise BvlcError("BVLC's build is entered with chroot, which needs root")
    return Build(root)
