"""Digests that a workflow puts into a rule's parameters, since it reruns on changed parameters.

Snakemake does not see that a module which a command imports was edited. The digest of a
command's sources changes with every module that it reaches, and with no other, so that
editing a figure retrains nothing and editing the solver does.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import os
import stat
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Optional

_OWN = "caffetools"
# Packages taken whole wherever something imports from them: their modules find one
# another at run time (layers are registered by being in the folder).
_WHOLE = ("caffe", "recaffe")
_SUFFIXES = (".py", ".proto", ".protoset", ".html")


def source_digest(module: str) -> str:
    """A digest of the sources of ``module`` and of all it imports from this project.

    Imports are read from the source and not run. ``import caffe`` reaches the whole
    runtime; ``from caffe.proto import …`` only the messages.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    files = sorted(_reached(module).items())
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0{_content(path)}\0".encode())
    return digest.hexdigest()[:16]


@cache
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _reached(module: str) -> dict[str, Path]:
    """The project's files that ``module`` reaches, by a name free of folders' places."""
    waiting = {module}
    seen: set[str] = set()
    files: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        found = _files_of(name)
        files.update(found)
        for path in found.values():
            waiting |= _imports(path)
        waiting = (waiting | _own_packages(name)) - seen
    return files


def _own_packages(module: str) -> set[str]:
    """The packages around a command's module, which Python runs before it."""
    parents = module.split(".")[:-1]
    if not parents or parents[0] != _OWN:
        return set()
    return {".".join(parents[:end]) for end in range(1, len(parents) + 1)}


@cache
def _files_of(module: str) -> dict[str, Path]:
    return dict(_walk_files(module))


def _walk_files(module: str) -> Iterator[tuple[str, Path]]:
    top = module.split(".")[0]
    path = _find(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module} in this project")
    if top == _OWN or path.name != "__init__.py":
        yield f"{module}.py", path
        for data in (*path.parent.glob(f"templates/{path.stem}.*"), path.with_suffix(".yaml")):
            if data.is_file():
                yield f"{module} {data.name}", data
    else:
        for member in sorted(path.parent.rglob("*")):
            if member.suffix in _SUFFIXES:
                yield f"{module}/{member.relative_to(path.parent).as_posix()}", member


@cache
def _find(module: str) -> Optional[Path]:
    """Where ``module`` lies, without importing it or its packages."""
    first, *rest = module.split(".")
    spec = importlib.util.find_spec(first)
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*rest)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imports(source: Path) -> frozenset[str]:
    """The modules of this project that the file imports."""
    if source.suffix != ".py":
        return frozenset()
    names: list[str] = []
    for node in _statements(ast.parse(source.read_bytes()).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return frozenset(filter(None, map(_own_module, names)))


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements, also within others; no expressions, which are nine tenths of a tree."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, field, ()))


def _own_module(name: str) -> Optional[str]:
    """The module of this project that ``name``, or what ``name`` is an attribute of, stands for."""
    top = name.split(".")[0]
    if top not in (_OWN, *_WHOLE):
        return None
    while _find(name) is None:
        name = name.rpartition(".")[0]
    # Within a package that is taken whole, a module stands for the folder that holds it.
    if top in _WHOLE and name.count(".") > 1:
        name = ".".join(name.split(".")[:2])
    return name


def folder_digest(folder: Path) -> str:
    """A digest of what a folder holds, by names, sizes and times of change; no file is read.

    Raises:
        OSError: the folder cannot be read.
    """
    paths = sorted(folder.rglob("*"))
    return files_digest(folder, (path.relative_to(folder).as_posix() for path in paths))


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """A digest of the files of these names in a folder, by sizes and times of change alone."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        status = _status(path)
        size = status.st_size if status else "absent"
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        if status and stat.S_ISREG(status.st_mode):
            digest.update(f"{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _status(path: Path) -> Optional[os.stat_result]:
    """A link that leads nowhere counts as itself; None where there is nothing of that name.

    What cannot be a name, by its length or a NUL, counts as nothing: the command that reads images
    names it.
    """
    for look in (os.stat, os.lstat):
        with contextlib.suppress(OSError, ValueError):
            return look(path)
    return None
