"""Input, Data: what has no bottoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recipes import write_lmdb

from layer_cases.case import Case

_IMAGES = np.random.default_rng(5).integers(0, 256, (5, 2, 3, 4), dtype=np.uint8)
_IMAGE_LABELS = np.array([4, 0, 3, 1, 2])


def _lmdb(folder: Path) -> None:
    write_lmdb(folder / "lmdb", _IMAGES, _IMAGE_LABELS)


CASES = [
    Case("input", 'type: "Input" input_param { shape { dim: 2 dim: 3 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros((2, 3))], tops=2),
    Case("inputs", 'type: "Input" input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }', (),
         lambda bottoms, params: [np.zeros((2, 3)), np.zeros(4)], tops=2),
    Case("data", 'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 3 }', (),
         lambda bottoms, params: [_IMAGES[:3], _IMAGE_LABELS[:3]], tops=2,
         files=_lmdb),
    Case("data without labels",
         'type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 7 } '
         "transform_param { scale: 0.5 mean_value: 10 mean_value: 20 }", (),
         lambda bottoms, params: [
             (np.concatenate([_IMAGES, _IMAGES[:2]]) - np.array([[[10]], [[20]]])) * 0.5],
         files=_lmdb),
]  # fmt: skip

MISTAKES = [
    ("Input", "", [], 1, "expected one shape"),
    ("Input", "input_param { shape { dim: 1 } shape { dim: 1 } }", [], 3, "the 3 tops, found 2"),
    ("Data", 'data_param { source: "x" batch_size: 1 }', [], 1, "LEVELDB .*backend: LMDB"),
    ("Data", 'data_param { source: "x" backend: LMDB }', [], 1, "batch_size must be at least 1"),
    ("Data", "", [(1,)], 1, "expected 0 bottom blob.s., found 1"),
]  # fmt: skip
