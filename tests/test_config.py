"""The configuration's schema, and what its mistakes are told."""

from __future__ import annotations

import jsonschema
import pytest
import yaml
from miniature import CONFIG, fresh
from recipes import REPOSITORY
from snakemake.utils import validate

from caffetools.cli import ToolError
from caffetools.config import check_config, typed

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"


def changed(path: str, value: object) -> dict:
    """The miniature's configuration with ``value`` at the dotted ``path``."""
    config = fresh(CONFIG)
    *folders, last = path.split(".")
    place = config
    for name in folders:
        place = place.setdefault(name, {})
    place[last] = value
    return config


def complaints(config: object) -> list[str]:
    """The lines below the heading of what the configuration is told, without indents."""
    with pytest.raises(ToolError) as caught:
        check_config(config, SCHEMA)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(yaml.safe_load(SCHEMA.read_text()))


def test_the_shipped_and_the_miniature_configuration_are_valid():
    check_config(yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text()), SCHEMA)
    check_config(CONFIG, SCHEMA)


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("experimentss", "top level: unknown key 'experimentss'; did you mean 'experiments'?"),
        ("dataset.sorce", "dataset: unknown key 'sorce'; did you mean 'source'?"),
        ("dataset.split.trian", "dataset.split: unknown key 'trian'; did you mean 'train'?"),
        ("dataset.image.grey", "dataset.image: unknown key 'grey'; did you mean 'gray'?"),
        ("model.heads", "model: unknown key 'heads'; did you mean 'head'?"),
        (
            "experiments.tuned.head_lr_mul",
            "experiments.tuned: unknown key 'head_lr_mul'; did you mean 'head_lr_mult'?",
        ),
        (
            "experiments.tuned.batch_size.trane",
            "experiments.tuned.batch_size: unknown key 'trane'; did you mean 'train'?",
        ),
        (
            "pretrained.train_on.solvers",
            "pretrained.train_on: unknown key 'solvers'; did you mean 'solver'?",
        ),
        (
            "experiments.tuned.solver.stepsize.epoch",
            "experiments.tuned.solver.stepsize: unknown key 'epoch'; did you mean 'epochs'?",
        ),
        ("training.thread", "training: unknown key 'thread'; did you mean 'threads'?"),
        ("report.titel", "report: unknown key 'titel'; did you mean 'title'?"),
    ],
)
def test_a_misspelt_key_is_told_the_right_one(path, suggestion):
    assert complaints(changed(path, 1)) == [suggestion]


def test_a_key_like_no_other_is_told_all_there_are():
    assert complaints(changed("training.xyz", 1)) == [
        "training: unknown key 'xyz'; known: threads, gpu, precision, compile, deterministic"
    ]


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("seeds", [], ("seeds", "non-empty")),
        ("seeds", [1, 1], ("seeds", "non-unique")),
        ("seeds", ["1"], ("seeds.0", "'1' is not of type 'integer'")),
        ("dataset.name", "a b", ("dataset.name", "'a b'")),
        ("dataset.split.train", -1, ("dataset.split.train", "-1")),
        ("dataset.split.train", "all", ("dataset.split.train", "'all'", "rest")),
        ("dataset.image.width", "28", ("dataset.image.width", "'28' is not of type 'integer'")),
        ("experiments", {}, ("experiments", "non-empty")),
        ("experiments.a/b", {}, ("experiments", "'a/b'")),
        ("experiments.tuned.freeze", "conv1", ("experiments.tuned.freeze", "'array'")),
        ("experiments.tuned.head_lr_mult", -1, ("experiments.tuned.head_lr_mult", "-1")),
        ("experiments.tuned.batch_norm", "frozen", ("experiments.tuned.batch_norm", "'frozen'")),
        ("experiments.tuned.lr_mult", {"a": -1}, ("experiments.tuned.lr_mult.a", "-1", "a list")),
        ("experiments.tuned.dropout", {"a": 1}, ("experiments.tuned.dropout.a", "maximum of 1")),
        ("model.mean_value", 104, ("model.mean_value", "104 is not of type 'array'")),
        ("experiments.tuned.solver.max_iter", "10 epochs", ("experiments.tuned.solver.max_iter",)),
        (
            "experiments.tuned.solver.stepvalue.epochs",
            [5, 0],
            ("experiments.tuned.solver.stepvalue.epochs", "[5, 0]", "a number above 0"),
        ),
        ("experiments.tuned.solver.base_lr", {}, ("experiments.tuned.solver.base_lr",)),
        ("experiments.tuned.pretrained", "no", ("experiments.tuned.pretrained", "'boolean'")),
        ("experiments.tuned", None, ("experiments.tuned", "None is not of type 'object'")),
        ("training.threads", 0, ("training.threads", "minimum of 1")),
        ("report.accuracies", [50], ("report.accuracies.0", "maximum of 1")),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_place(path, value, parts):
    (line,) = complaints(changed(path, value))
    place, _, said = line.partition(": ")
    assert place == parts[0]
    for part in parts[1:]:
        assert part in said


def test_every_mistake_is_named():
    config = changed("training.threads", 0)
    config["seeds"] = []
    assert [line.split(":")[0] for line in complaints(config)] == ["seeds", "training.threads"]


@pytest.mark.parametrize("key", ["dataset", "model", "experiments"])
def test_what_cannot_be_left_out_is_named(key):
    config = fresh(CONFIG)
    del config[key]
    assert complaints(config) == [f"top level: '{key}' is a required property"]


def test_an_empty_configuration_is_told_what_it_needs():
    assert len(complaints({})) == 3


@pytest.mark.parametrize(
    ("pretrained", "expected"),
    [
        ({"url": "w.caffemodel"}, "pretrained: found the keys url; expected either url and sha256"),
        (
            {"url": "w.caffemodel", "sha265": "0" * 64},
            "pretrained: unknown key 'sha265'; did you mean 'sha256'?",
        ),
        ({"trainon": {}}, "pretrained: unknown key 'trainon'; did you mean 'train_on'?"),
        ({}, "pretrained: found no key; expected either url and sha256"),
        ({"sha256": "0" * 64}, "pretrained: found the keys sha256; expected either url and"),
        ({"modell": "vgg16"}, "pretrained: unknown key 'modell'; did you mean 'model'?"),
        (
            {**CONFIG["pretrained"], "model": "vgg16"},
            "pretrained: found the keys train_on, model; expected either url and sha256",
        ),
        ({"url": [], "sha1": "0" * 40}, "pretrained.url: found []; expected a caffemodel to"),
        ({"url": "w", "sha1": "0" * 64}, "pretrained.sha1: '0000"),
        (
            {**CONFIG["pretrained"], "url": "w.caffemodel", "sha256": "0" * 64},
            "pretrained: found the keys train_on, url, sha256; expected either url and sha256",
        ),
    ],
)
def test_pretrained_weights_come_from_one_place(pretrained, expected):
    lines = complaints(changed("pretrained", pretrained))
    assert any(line.startswith(expected) for line in lines), lines


@pytest.mark.parametrize(
    "pretrained",
    [
        {"url": "w.caffemodel", "sha256": "0" * 64},
        {"url": "w.caffemodel", "sha1": "0" * 40},
        {"url": ["one", "two"], "sha1": "0" * 40, "sha256": "0" * 64},
        {"model": "vgg16"},
        {"model": "vgg16", "url": "w.caffemodel"},
        {"model": "vgg16", "url": ["one", "two"], "sha256": "0" * 64},
    ],
)
def test_pretrained_weights_may_be_told_in_these_ways(pretrained):
    check_config(changed("pretrained", pretrained), SCHEMA)


@pytest.mark.parametrize("left_out", [["train_val"], ["solver"], ["head"], ["solver", "head"]])
def test_a_net_of_ones_own_is_told_whole_and_a_published_one_in_part(left_out):
    config = fresh(CONFIG)
    for key in left_out:
        del config["model"][key]
    lines = complaints(config)
    assert lines == [f"model: '{key}' is a required property" for key in sorted(left_out)]
    config["pretrained"] = {"model": "vgg16"}
    check_config(config, SCHEMA)
    del config["model"]
    check_config(config, SCHEMA)
    validate(config, str(SCHEMA))
    assert config["model"] == {"python_layers": [], "subtract_mean": False}


def test_defaults_are_filled_in():
    config = {
        "dataset": {"name": "mine", "source": "photos"},
        "model": {"train_val": "n", "solver": "s", "head": "h"},
        "experiments": {"one": {}},
    }
    check_config(config, SCHEMA)
    validate(config, str(SCHEMA))
    assert config["seeds"] == [0]
    assert config["dataset"]["split"] == {
        "train": 0.7, "val": 0.1, "test": "rest", "seed": 0, "given": True,
    }  # fmt: skip
    assert config["dataset"]["strict"] is False
    assert config["dataset"]["image"] == {"width": 256, "height": 256, "gray": False}
    assert config["model"]["subtract_mean"] is False
    assert config["experiments"]["one"] == {
        "pretrained": True,
        "head_lr_mult": 1,
        "freeze": [],
        "solver": {},
    }
    assert config["training"] == {
        "threads": 1, "gpu": False, "precision": "float32", "compile": False,
        "deterministic": False,
    }  # fmt: skip
    assert config["resources"] == {
        "data": {"mem_mb": 2000, "runtime": 60},
        "training": {"mem_mb": 4000, "runtime": 240},
        "nets": {"mem_mb": 2000, "runtime": 30},
        "short": {"mem_mb": 1000, "runtime": 10},
    }
    assert config["preflight"] == {"accept": []}
    assert config["evaluation"] == {"crops": 1, "resamples": 2000}
    assert config["bundle"] == {"images": 64, "opencv": True}
    assert config["report"]["accuracies"] == [0.5, 0.6, 0.7, 0.8]


def test_values_of_the_command_line_get_their_types():
    """As Snakemake leaves them, which reads the outermost value alone."""
    given = {
        "seeds": ["0", "-1"],
        "training": {"gpu": "true", "precision": "tf32"},
        "experiments": {"a": {"solver": {"base_lr": "0.01", "gamma": "null"}, "freeze": ["conv*"]}},
        "dataset": {"name": "flowers: red", "source": "[", "split": {"seed": 3}},
    }
    assert typed(given) == {
        "seeds": [0, -1],
        "training": {"gpu": True, "precision": "tf32"},
        "experiments": {"a": {"solver": {"base_lr": 0.01, "gamma": None}, "freeze": ["conv*"]}},
        "dataset": {"name": "flowers: red", "source": "[", "split": {"seed": 3}},
    }
