"""A patch's settings: which are taken, and what is said of the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from caffetools.cli import ToolError
from caffetools.settings import check_settings, new_heads, of_head, parse_shape, read_settings

HEAD = {"head": "ip2", "new_head": "ip2_new", "classes": 10}
TWO = {"head": ["ip1", "ip2"], "new_head": ["a", "b"], "classes": 10}
FULL = {
    **HEAD,
    "head_lr_mult": 10,
    "head_bias_lr_mult": 0.5,
    "freeze": ["conv*"],
    "freeze_up_to": "pool1",
    "batch_norm": "follow",
    "lr_mult": {"ip1": 0.5},
    "decay_mult": {"ip*": [1, 0]},
    "train_source": "lmdb/train",
    "val_source": "lmdb/val",
    "mean_file": None,
    "mean_value": [104, 117.5, 123],
    "crop_size": 0,
    "mirror": False,
    "shuffle": True,
    "augmentation": {"rotation": 10},
    "dropout": {"drop*": 0},
    "batch_size": {"train": 64, "val": 100, "effective": 128},
    "input_shape": [1, 28, 28],
    "solver": {"base_lr": 0.001},
}


def test_full_settings_are_taken_as_they_are(tmp_path: Path) -> None:
    assert read_settings(json.dumps(FULL)) == FULL
    (tmp_path / "settings.json").write_text(json.dumps(FULL))
    assert read_settings(f"@{tmp_path}/settings.json") == FULL


def test_each_head_has_its_name_and_its_multipliers() -> None:
    settings = check_settings({**TWO, "head_lr_mult": {"ip1": 5}, "head_bias_lr_mult": 7})
    assert new_heads(settings) == {"ip1": "a", "ip2": "b"}
    assert [of_head(settings, "head_lr_mult", head) for head in ("ip1", "ip2")] == [5, None]
    assert of_head(settings, "head_bias_lr_mult", "ip2") == 7
    assert new_heads(check_settings(HEAD)) == {"ip2": "ip2_new"}


def test_null_is_absent_but_for_the_mean() -> None:
    given = {**dict.fromkeys(FULL), "batch_size": {"train": None, "val": 5}}
    assert check_settings(given) == {"mean_file": None, "batch_size": {"val": 5}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clases": 3}, "unknown key 'clases'; did you mean 'classes'? Known: classes, head,"),
        ({"batch_size": {"test": 3}}, "unknown key 'batch_size.test'. Known: batch_size.train"),
        ({"batch_size": {"train": 0}}, "batch_size.train is 0; expected an integer of at least 1"),
        ({"batch_size": 64}, "batch_size is 64; expected an object with train, val, eff"),
        ({**HEAD, "classes": True}, "classes is True; expected an integer"),
        ({**HEAD, "classes": 0}, "classes is 0; expected an integer"),
        ({**HEAD, "new_head": ""}, "new_head is ''; expected a string that is not empty"),
        ({**HEAD, "head_lr_mult": -1}, "head_lr_mult is -1; expected a number of at least 0"),
        ({**HEAD, "head_lr_mult": "1e1"}, "head_lr_mult is '1e1'; expected a number"),
        ({"freeze": "conv1"}, "freeze is 'conv1'; expected a list of layer names"),
        ({"freeze_up_to": ["conv1"]}, "freeze_up_to is ['conv1']; expected a string"),
        ({"batch_norm": True}, "batch_norm is True; expected one of follow, freeze, update"),
        ({"lr_mult": 0.1}, "lr_mult is 0.1; expected an object of numbers of at least 0, or lists"),
        ({"decay_mult": {"ip1": [1, -1]}}, "decay_mult is {'ip1': [1, -1]}; expected an object"),
        ({"lr_mult": {"ip1": []}}, "lr_mult is {'ip1': []}; expected an object"),
        ({"mean_file": False}, "mean_file is False; expected a path or null"),
        ({"mean_value": 104}, "mean_value is 104; expected a list of numbers"),
        ({"mean_value": [1], "mean_file": "m"}, "mean_file and mean_value; Caffe subtracts one"),
        ({"crop_size": -1}, "crop_size is -1; expected an integer of at least 0"),
        ({"crop_size": False}, "crop_size is False; expected an integer of at least 0"),
        ({"mirror": 1}, "mirror is 1; expected true or false"),
        ({"shuffle": "yes"}, "shuffle is 'yes'; expected true or false"),
        ({"augmentation": {"hue": True}}, "augmentation is {'hue': True}; expected an object of"),
        ({"dropout": {"drop6": 1}}, "dropout is {'drop6': 1}; expected an object of numbers of"),
        ({"input_shape": [28, 28]}, "expected three integers of at least 1: channels, height"),
        ({"solver": []}, "solver is []; expected an object"),
        ({"head": "ip2", "classes": 3}, "head, classes without new_head; a new head needs"),
        ({"head_lr_mult": 10}, "head_lr_mult without head"),
        ({**HEAD, "head": []}, "head is []; expected a string that is not empty, or a list"),
        ({**TWO, "head": ["ip1", "ip1"]}, "expected a string that is not empty, or a list of diff"),
        ({**TWO, "new_head": ["a"]}, "2 in head (ip1, ip2) but 1 in new_head (a); expected a new"),
        ({**TWO, "head_lr_mult": {"ipp1": 1}}, "key 'head_lr_mult.ipp1'; did you mean 'ip1'"),
        ({**TWO, "head_lr_mult": {"ip1": "x"}}, "or an object of such by head"),
    ],
)
def test_other_settings_are_refused_with_their_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        check_settings(settings)


def test_text_that_is_not_a_json_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"--settings: expected a JSON object, found \[1\]"):
        read_settings("[1]")
    path = tmp_path / "settings.json"
    path.write_text('{"head": "ip2",\n  classes: 3}')
    with pytest.raises(ToolError, match=f"{path}:2:3: .*expected a JSON object"):
        read_settings(f"@{path}")


def test_shape_is_read_as_channels_height_width() -> None:
    assert parse_shape("3,227,226") == [3, 227, 226]
    for text in ("3,227", "3x227x227", "0,2,2"):
        with pytest.raises(ToolError, match=r"--input-shape is .* channels, height, width"):
            parse_shape(text)
