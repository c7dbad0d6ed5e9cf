"""The rows of patch.json, layer by layer."""

from __future__ import annotations

from typing import Any

from caffetools.patch_diff import Hunk, hunks, kept_statistics


def row(layer: str | None, field: str, before: Any, after: Any, phase: str | None = None) -> Any:
    file = "train_val.prototxt" if layer else "solver.prototxt"
    values = {"field": field, "before": before, "after": after}
    return {"file": file, "layer": layer, "phase": phase, **values}


def test_changes_stand_under_their_layer() -> None:
    rows = [
        row("ip_new", "name", "ip", "ip_new"),
        row("data", "data_param.source", "a", "b", "TEST"),
        row("ip_new", "param[0].lr_mult", None, 10.0),
        row(None, "gamma", 0.1, None),
        row(None, "test_initialization", True, False),
    ]
    assert hunks(rows) == [
        Hunk(
            "train_val.prototxt: ip_new",
            [("-", "name: ip"), ("+", "name: ip_new"), ("+", "param[0].lr_mult: 10.0")],
        ),
        Hunk(
            "train_val.prototxt: data (TEST)",
            [("-", "data_param.source: a"), ("+", "data_param.source: b")],
        ),
        Hunk(
            "solver.prototxt",
            [
                ("-", "gamma: 0.1"),
                ("-", "test_initialization: true"),
                ("+", "test_initialization: false"),
            ],
        ),
    ]


def test_layers_with_the_same_changes_stand_together() -> None:
    frozen = [row(name, "param[0].lr_mult", 1, 0) for name in ("conv1", "conv2", "conv3")]
    other = row("ip", "param[0].lr_mult", 2, 0)
    found = hunks([*frozen[:2], other, frozen[2]])
    assert [hunk.title.split(": ")[1] for hunk in found] == ["conv1, conv2, conv3", "ip"]
    many = hunks([row(f"conv{i}", "param[0].lr_mult", 1, 0) for i in range(9)])
    assert [hunk.title for hunk in many] == [
        "train_val.prototxt: conv0, conv1, conv2, … conv8 (9 layers)"
    ]


def test_kept_statistics_are_those_now_global() -> None:
    field = "batch_norm_param.use_global_stats"
    rows = [
        row("a", field, None, True, "TEST"),
        row("a", field, None, True),
        row("b", field, True, False),
        row("c", "name", 1, True),
    ]
    assert kept_statistics(rows) == ["a"]
