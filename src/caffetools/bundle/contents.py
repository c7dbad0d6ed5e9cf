"""The files of a bundle, and their checksums."""

from __future__ import annotations

import re
from pathlib import Path

from caffetools.cli import ToolError
from caffetools.files import sha256, write_text

DEPLOY = "deploy.prototxt"
WEIGHTS = "weights.caffemodel"
LABELS = "labels.txt"
PREPROCESSING = "preprocessing.json"
MEAN = "mean.binaryproto"  # where the net subtracts an image
ONNX = "model.onnx"  # where all layers have a form in ONNX
PARITY = "parity.json"
PROVENANCE = "provenance.json"
SUMS = "SHA256SUMS"

ALWAYS = (DEPLOY, WEIGHTS, LABELS, PREPROCESSING, PARITY, PROVENANCE)
FILES = (*ALWAYS, MEAN, ONNX, SUMS)

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9_.-]*)")


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over all files of the folder, as ``sha256sum -c`` reads it."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    write_text(folder / SUMS, "".join(lines))


def verify(folder: Path) -> None:
    """Raise :class:`ToolError` unless the folder holds a whole bundle as its sums say."""
    if not (folder / SUMS).is_file():
        raise ToolError(f"{folder}: expected a bundle, found no {SUMS} in it; make it first")
    expected = _read_sums(folder / SUMS)
    for name in ALWAYS:
        if name not in expected:
            raise ToolError(
                f"{folder / SUMS}: expected a line for {name}, found none; make it again"
            )
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise ToolError(f"{path}: expected this file of the bundle, found none; copy it again")
        found = sha256(path)
        if found != digest:
            raise ToolError(
                f"{path}: expected the SHA-256 {digest}, found {found}; the file was changed or "
                "cut off since the bundle was made: copy it again"
            )


def _read_sums(path: Path) -> dict[str, str]:
    sums = {}
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ToolError(
                f"{path}:{number}: expected 64 hexadecimal digits, two spaces and a file's name, "
                f"found {line[:120]!r}; make the bundle again"
            )
        sums[match.group(2)] = match.group(1)
    return sums
