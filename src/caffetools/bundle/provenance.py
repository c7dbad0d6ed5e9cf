"""Where a bundle comes from: configuration, hashes of what it was made of, versions, scores.

Files are told by their SHA-256 alone, so that nothing hangs on where they lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

import cv2
import google.protobuf
import numpy as np
from google.protobuf import json_format

import caffe
from caffe.proto import caffe_pb2
from caffetools import prototxt
from caffetools.cli import ToolError
from caffetools.files import sha256

# Places of the run that made it, in solvers and settings; nets name their data.
_PLACES = (
    *("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param"),
    *("snapshot_prefix", "weights", "train_source", "val_source", "mean_file"),
)
_SCORES = ("accuracy", "entries", "errors", "macro_f1", "mean_loss", "top_5_accuracy")


def provenance(
    inputs: Mapping[str, Path],
    settings: Mapping[str, Any],
    lmdb_manifest: Mapping[str, Any],
    solver: Optional[Path] = None,
    evaluation: Optional[Path] = None,
) -> dict[str, Any]:
    """What ``provenance.json`` says.

    Args:
        inputs: the files that went in, by what they are.
        settings: the experiment's configuration, as the net was patched by it; told without
            where its files lie.
        lmdb_manifest: of the LMDB whose images the parity test took.
        solver: the solver prototxt; its fields are told.
        evaluation: ``evaluation.json``; its figures are told.
    """
    return {
        "evaluation": _scores(evaluation),
        "settings": _without_places(settings),
        "sha256": {name: sha256(path) for name, path in inputs.items()},
        "solver": _fields(solver),
        "test_lmdb": dict(lmdb_manifest),
        "versions": versions(),
    }


def _scores(path: Optional[Path]) -> Optional[dict[str, Any]]:
    """The figures among those that an evaluation has by name."""
    if path is None:
        return None
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(given, dict):
            raise ValueError(f"found {given!r:.80}")
        return {name: given[name] for name in _SCORES if name in given}
    except ValueError as error:
        raise ToolError(
            f"{path}: expected JSON of an evaluation ({error}); evaluate again"
        ) from error


def _fields(path: Optional[Path]) -> Optional[dict[str, Any]]:
    if path is None:
        return None
    fields: dict[str, Any] = json_format.MessageToDict(
        prototxt.read_solver(path), preserving_proto_field_name=True
    )
    return _without_places(fields)


def _without_places(fields: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in fields.items() if name not in _PLACES}
    if isinstance(told.get("solver"), Mapping):
        told["solver"] = _without_places(told["solver"])
    return told


def versions() -> dict[str, Optional[str]]:
    """Of what computed; None for a package that is not installed."""
    schema = hashlib.sha256(caffe_pb2.DESCRIPTOR.serialized_pb).hexdigest()
    return {
        "caffe": caffe.__version__,
        "caffe_schema_sha256": schema,
        "numpy": np.__version__,
        "onnx": _version("onnx"),
        "onnxruntime": _version("onnxruntime"),
        "opencv": cv2.__version__,
        "protobuf": google.protobuf.__version__,
        "recaffe": _version("recaffe"),
    }


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
