"""What a configuration asks for, run by run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from miniature import CONFIG, SOLVER, fresh
from recipes import REPOSITORY
from snakemake.utils import validate

from caffetools.cli import ToolError
from caffetools.plan import Plan, run_folder
from caffetools.pretrained.registry import find

SCHEMA = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
RULES = REPOSITORY / "workflow" / "rules"
FETCHED = {"url": "w.caffemodel", "sha256": "0" * 64}


def plan_of(**changes: Any) -> Plan:
    """The plan of the miniature with other top-level parts (None removes one)."""
    config = {**fresh(CONFIG), **changes}
    config = {key: value for key, value in config.items() if value is not None}
    validate(config, str(SCHEMA))
    return Plan(config)


def model(**changes: Any) -> dict[str, Any]:
    return {**CONFIG["model"], **changes}


def test_data_sets_are_the_target_and_the_source():
    plan = plan_of()
    assert (plan.target, plan.source, plan.datasets) == ("bars", "letters", ["bars", "letters"])
    assert plan.dataset("letters")["per_class"] == 8
    assert plan_of(pretrained=FETCHED).datasets == ["bars"]


def test_images_are_in_the_users_folder_or_made():
    plan = plan_of()
    assert not plan.is_built_in("bars")
    assert plan.folder("bars") == "photos"
    assert plan.is_built_in("letters")
    assert plan.folder("letters") == "results/letters/images"


def test_what_the_commands_on_images_are_told():
    plan = plan_of()
    assert plan.example_options("letters") == ["letters", "--per-class", "8"]
    split = ["--train", "5", "--val", "3", "--test", "rest", "--seed", "0"]
    assert plan.split_options("bars") == split
    size = ["--width", "28", "--height", "28", "--gray"]
    assert plan.image_options("bars", "val") == size
    assert plan.image_options("bars", "train") == [*size, "--shuffle", "--seed", "0"]


def test_what_is_told_of_a_table():
    table = {"source": "a.csv", "table": {"lost": 0.5, "placeholders": ["0" * 40]}}
    plan = plan_of(dataset={**fresh(CONFIG)["dataset"], **table})
    assert plan.table_options("bars") == [
        *("--lost", "0.5", "--url", "url", "--label", "label", "--max-bytes", "100000000"),
        *("--placeholder", "0" * 40),
    ]


def test_what_is_told_of_lists_splits_and_limits():
    split = {"train": 0.5, "val": 0.2, "test": "rest", "group": "^(.)", "folds": 3, "fold": 1}
    lists = {"lists": {"train": "a", "test": "b"}, "names": "c", "split": split}
    limits = {"max_per_class": 9, "strict": True}
    plan = plan_of(dataset={**fresh(CONFIG)["dataset"], **lists, **limits})
    assert plan.split_options("bars") == [
        *("--train-list", "a", "--test-list", "b", "--names", "c"),
        *("--train", "0.5", "--val", "0.2", "--test", "rest", "--group", "^(.)", "--folds", "3"),
        *("--fold", "1", "--seed", "0", "--max-per-class", "9", "--strict"),
    ]
    assert plan.is_listed("bars")
    plan = plan_of(dataset={**fresh(CONFIG)["dataset"], "lists": "all"})
    assert plan.listings("bars") == {"list": "all"}
    assert not plan_of().is_listed("bars")


def test_images_that_differ_in_size_have_no_mean_image():
    image = {"width": 28, "height": 28, "gray": True, "fit": "short", "encode": "png"}
    dataset = {**fresh(CONFIG)["dataset"], "image": image, "max_pixels": 900}
    plan = plan_of(dataset=dataset)
    assert plan.image_options("bars", "val")[4:-1] == [
        *("--fit", "short", "--encode", "png", "--max-pixels", "900")
    ]
    with pytest.raises(ToolError, match=r"config: the data set 'bars' has image\.fit: short"):
        plan_of(dataset=dataset, model=model(subtract_mean=True))


def test_a_set_without_choices_is_told_none():
    digits = {"name": "mine", "source": "digits", "image": {"width": 8, "gray": True}}
    plan = plan_of(dataset=digits)
    assert plan.example_options("mine") == ["digits"]
    assert plan.image_options("mine", "test") == ["--width", "8", "--height", "256", "--gray"]


def test_runs_are_labelled_for_commands_that_take_several():
    assert plan_of(experiments={"b": {}, "a": {}}).labelled_runs("history.csv") == [
        f"{name}:{seed}:results/bars/experiments/{name}/seed{seed}/history.csv"
        for name in "ba"
        for seed in (0, 1)
    ]
    assert plan_of().labelled_runs()[0] == "tuned:0:results/bars/experiments/tuned/seed0"


def test_bundles_are_of_the_first_seed_and_tested_as_told():
    assert plan_of(experiments={"b": {}, "a": {}}, seeds=[5, 2]).labelled_parity == [
        f"{name}:5:results/bars/experiments/{name}/bundle/parity.json" for name in "ba"
    ]
    assert plan_of().bundle_options == ["--count", "64"]
    less = plan_of(bundle={"images": 3, "opencv": False})
    assert less.bundle_options == ["--count", "3", "--without-opencv"]


def test_experiments_and_seeds_keep_their_order():
    plan = plan_of(experiments={"z": {}, "a": {}}, seeds=[7, 3])
    assert plan.experiments == ["z", "a"]
    assert plan.seeds == [7, 3]


def test_settings_of_a_run():
    assert plan_of().settings("bars", "tuned", 1) == {
        "head": "ip2",
        "new_head": "ip2_bars",
        "head_lr_mult": 10,
        "freeze": [],
        "train_source": "results/bars/lmdb/train",
        "val_source": "results/bars/lmdb/val",
        "mean_file": None,
        "batch_size": {"train": 5, "val": 9},
        "solver": {**SOLVER, "random_seed": 1, "solver_mode": "CPU"},
    }


def test_settings_of_pretraining():
    settings = plan_of().settings("letters", "source", 0)
    assert settings["new_head"] == "ip2_letters"
    assert settings["train_source"] == "results/letters/lmdb/train"
    assert settings["batch_size"] == {"train": 26, "val": 52}
    assert settings["head_lr_mult"] == 1
    assert "freeze" not in settings


def test_an_experiment_may_leave_everything_out():
    settings = plan_of(experiments={"plain": {}}).settings("bars", "plain", 0)
    assert settings["solver"] == {"random_seed": 0, "solver_mode": "CPU"}
    assert settings["head_lr_mult"] == 1
    assert "batch_size" not in settings


def test_each_head_of_several_gets_a_name():
    two = model(head=["a", "b"])
    plan = plan_of(model=two, experiments={"plain": {}, "named": {"new_head": {"b": "mine"}}})
    assert plan.settings("bars", "plain", 0)["head"] == ["a", "b"]
    assert plan.settings("bars", "plain", 0)["new_head"] == ["a_bars", "b_bars"]
    assert plan.settings("bars", "named", 0)["new_head"] == ["a_bars", "mine"]
    assert plan.settings("letters", "source", 0)["new_head"] == ["a_letters", "b_letters"]
    one = plan_of(experiments={"one": {"new_head": {"ip2": "mine"}}})
    assert one.settings("bars", "one", 0)["new_head"] == "mine"


@pytest.mark.parametrize(
    ("new_head", "message"),
    [
        ("mine", "experiments.one.new_head is one name, 'mine', for the heads a, b; expected an"),
        ({"c": "mine"}, "experiments.one.new_head: 'c' is no head of the model: a, b"),
    ],
)
def test_names_that_fit_no_head_are_refused(new_head, message):
    with pytest.raises(ToolError, match=re.escape(message)):
        plan_of(model=model(head=["a", "b"]), experiments={"one": {"new_head": new_head}})


def test_what_an_experiment_tells_of_layers_is_a_setting():
    told = {
        **{"freeze_up_to": "pool1", "lr_mult": {"ip1": 0.5}, "batch_norm": "freeze"},
        **{"crop_size": 24, "mirror": True, "dropout": {"drop*": 0.6}},
        **{"shuffle": True, "augmentation": {"rotation": 10}},
    }
    settings = plan_of(experiments={"one": dict(told)}).settings("bars", "one", 0)
    assert {key: settings[key] for key in told} == told


def test_values_of_the_mean_are_the_models():
    plan = plan_of(model=model(mean_value=[104, 117, 123]))
    for run in (("bars", "tuned", 0), ("letters", "source", 0)):
        assert plan.settings(*run)["mean_value"] == [104, 117, 123]
        assert plan.settings(*run)["mean_file"] is None
    with pytest.raises(ToolError, match=r"config: model\.mean_value and model\.subtract_mean"):
        plan_of(model=model(mean_value=[104], subtract_mean=True))


def test_statistics_are_not_kept_where_there_are_none():
    row = {"batch_norm": "freeze", "pretrained": False}
    with pytest.raises(ToolError, match="experiment 'one' says batch_norm: freeze and pretrained"):
        plan_of(experiments={"one": row})


def test_the_seed_of_a_run_stands_above_the_solvers():
    plan = plan_of(experiments={"one": {"solver": {"random_seed": 5}}})
    assert plan.settings("bars", "one", 2)["solver"]["random_seed"] == 2


def test_settings_follow_the_model_and_the_device():
    plan = plan_of(
        model=model(subtract_mean=True),
        training={"gpu": True},
        experiments={"one": {"new_head": "mine", "freeze": ["conv*"]}},
    )
    settings = plan.settings("bars", "one", 0)
    assert settings["mean_file"] == "results/bars/mean.binaryproto"
    assert settings["solver"]["solver_mode"] == "GPU"
    assert settings["new_head"] == "mine"
    assert settings["freeze"] == ["conv*"]
    assert plan.uses_gpu
    assert plan.computing_options == ["--gpu", "any"]


def test_how_to_compute_is_told_where_it_is_not_the_default():
    assert plan_of().computing_options == []
    plan = plan_of(
        training={"gpu": True, "precision": "bf16", "compile": True, "deterministic": True}
    )
    assert plan.computing_options == [
        *("--gpu", "any", "--precision", "bf16", "--compile", "--deterministic"),
    ]


def test_nets_run_on_the_caffe_that_is_told():
    assert plan_of().on_caffe("caffetools.train") == ["caffetools.train"]
    on_debians = plan_of(caffe={"runtime": "bvlc"}).on_caffe("caffetools.train")
    assert on_debians == ["caffetools.bvlc", "run", "caffetools.train"]
    other = plan_of(caffe={"runtime": "bvlc", "command": ["apptainer", "exec", "caffe.sif"]})
    assert other.on_caffe("caffetools.train") == [
        *("caffetools.bvlc", "run", "--through", "apptainer", "--through", "exec"),
        *("--through", "caffe.sif", "caffetools.train"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"precision": "bf16"}}, "config: training.precision: BVLC's build"),
        ({"training": {"compile": True}}, "config: training.compile: BVLC's build"),
        ({"training": {"deterministic": True}}, "config: training.deterministic: BVLC's build"),
        ({"training": {"gpu": True}}, "config: training.gpu: BVLC's build"),
        ({"experiments": {"one": {"shuffle": True}}}, "config: experiments.one.shuffle: BVLC's"),
        (
            {"experiments": {"one": {"augmentation": {"rotation": 5}}}},
            "config: experiments.one.augmentation: BVLC's",
        ),
        ({"caffe": {"command": ["x"]}}, "caffe.runtime is recaffe; say runtime: bvlc"),
    ],
)
def test_what_bvlcs_caffe_cannot_do_is_told(changes: dict[str, Any], message: str):
    with pytest.raises(ToolError, match=re.escape(message)):
        plan_of(**{"caffe": {"runtime": "bvlc"}, **changes})
    if "caffe" not in changes:
        plan_of(**changes)


def test_another_build_of_bvlcs_may_have_a_gpu():
    caffe = {"runtime": "bvlc", "command": ["docker", "run", "caffe"]}
    assert plan_of(caffe=caffe, training={"gpu": True}).uses_gpu


def test_jobs_get_what_the_configuration_tells_of_their_kind():
    plan = plan_of(resources={"short": {"mem_mb": 300, "runtime": 5}})
    assert plan.resources("short") == {"mem_mb": 300, "runtime": 5, "grouped": 1}


def test_what_the_preflight_is_told():
    plan = plan_of()
    assert plan.preflight_options("bars", "tuned") == ["--new-head", "ip2_bars"]
    assert plan.preflight_options("letters", "source") == ["--new-head", "ip2_letters"]
    two = plan_of(model=model(head=["ip1", "ip2"]), preflight={"accept": ["shuffling", "mean"]})
    assert two.preflight_options("bars", "tuned") == [
        *("--new-head", "ip1_bars", "ip2_bars", "--accept", "shuffling", "mean"),
    ]


def test_how_to_judge_is_told():
    assert plan_of().evaluation_options == ["--crops", "1", "--resamples", "2000"]
    ten = plan_of(evaluation={"crops": 10, "resamples": 99})
    assert ten.evaluation_options == ["--crops", "10", "--resamples", "99"]


def test_weights_come_from_pretraining_by_the_first_seed():
    plan = plan_of(seeds=[3, 4])
    assert run_folder("bars", "tuned", 4) == "results/bars/experiments/tuned/seed4"
    expected = "results/letters/experiments/source/seed3/final.caffemodel"
    assert plan.weights("bars", "tuned", 0) == expected
    assert plan.weights("bars", "scratch", 0) is None
    assert plan.weights("letters", "source", 0) is None


def in_stages(**changes: Any) -> dict[str, Any]:
    tuned = CONFIG["experiments"]["tuned"]
    return {"head": tuned, "all": {**tuned, "start_from": "head", **changes}}


def test_an_experiment_may_start_from_another_ones_weights():
    plan = plan_of(experiments=in_stages())
    assert plan.weights("bars", "all", 3) == f"{run_folder('bars', 'head', 3)}/final.caffemodel"
    assert plan.preflight_options("bars", "all") == ["--no-new-head"]
    kept = in_stages(pretrained=False, batch_norm="freeze")
    assert plan_of(experiments=kept).weights("bars", "all", 0)
    alone = {"scratch": {"pretrained": False}, "more": {"start_from": "scratch"}}
    assert plan_of(experiments=alone, pretrained=None).source is None


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        (in_stages(start_from="heads"), "all.start_from: there is no experiment 'heads'; did you"),
        (in_stages(start_from="all"), "all.start_from: all -> all is a circle"),
        (in_stages(new_head="other"), "the head is 'other', and that of 'head' is 'ip2_bars'"),
    ],
)
def test_what_an_experiment_cannot_start_from_is_told(experiments, message):
    with pytest.raises(ToolError, match=re.escape(message)):
        plan_of(experiments=experiments)


def test_weights_may_be_fetched():
    plan = plan_of(pretrained=FETCHED)
    assert plan.pretrained_weights == "results/bars/pretrained.caffemodel"
    assert plan.weights("bars", "tuned", 0) == "results/bars/pretrained.gray.caffemodel"
    assert plan.weights("bars", "scratch", 0) is None
    assert plan.source is None


# --- published models -----------------------------------------------------------------


def published(name: str, model: Any = None, **pretrained: Any) -> Plan:
    return plan_of(pretrained={"model": name, **pretrained}, model=model)


def test_what_is_fetched_and_how_it_is_verified() -> None:
    assert plan_of().fetch_options == []
    told = plan_of(pretrained={"url": ["one", "two"], "sha1": "1" * 40, "sha256": "0" * 64})
    assert told.fetch_options == [
        *("--url", "one", "--url", "two"),
        *("--sha256", "0" * 64, "--sha1", "1" * 40),
    ]
    assert plan_of(pretrained=FETCHED).fetch_options == [
        *("--url", "w.caffemodel", "--sha256", "0" * 64),
    ]


def test_a_published_model_brings_where_it_is_with_the_strongest_checksum() -> None:
    vgg = find("vgg16")
    urls = [word for url in vgg.urls for word in ("--url", url)]
    size = ["--max-bytes", "553432081"]
    assert published("vgg16").fetch_options == [*urls, "--sha256", vgg.sha256, *size]
    rcnn = published("rcnn", model={"solver": "s", "mean_value": [104, 117, 123]})
    assert rcnn.fetch_options == ["--url", *find("rcnn").urls, "--sha1", find("rcnn").sha1]


def test_places_and_checksums_of_the_users_own_win() -> None:
    plan = published("vgg16", url="here.caffemodel")
    here = ["--url", "here.caffemodel"]
    assert plan.fetch_options[:4] == [*here, "--sha256", find("vgg16").sha256]
    plan = published("vgg16", url="here.caffemodel", sha1="1" * 40)
    assert plan.fetch_options == [*here, "--sha1", "1" * 40]
    plan = published("vgg16", url="here.caffemodel", max_bytes=7)
    assert plan.fetch_options[4:] == ["--max-bytes", "7"]
    plan = plan_of(pretrained={**FETCHED, "max_bytes": 7})
    assert plan.fetch_options[-2:] == ["--max-bytes", "7"]


def test_a_published_model_brings_its_net_solver_heads_and_mean() -> None:
    assert published("vgg16").model == {
        "train_val": "results/bars/published/train_val.prototxt",
        "solver": "results/bars/published/solver.prototxt",
        "head": "fc8",
        "mean_value": [103.939, 116.779, 123.68],
        "python_layers": [],
        "subtract_mean": False,
    }
    settings = published("googlenet").settings("bars", "tuned", 0)
    assert settings["head"] == find("googlenet").heads
    assert settings["new_head"] == [f"{head}_bars" for head in find("googlenet").heads]
    assert settings["mean_value"] == [104, 117, 123]


def test_what_the_user_says_of_the_net_wins() -> None:
    own = {"train_val": "n", "solver": "s", "head": "h", "mean_value": [1, 2, 3]}
    assert published("vgg16", model=own).model == {**own, "subtract_mean": False}
    plan = published("vgg16", model={"subtract_mean": True})
    assert "mean_value" not in plan.model
    assert plan.settings("bars", "tuned", 0)["mean_file"] == "results/bars/mean.binaryproto"


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("vvg16", None, "no published model is named 'vvg16'; did you mean 'vgg16'?"),
        (
            "mobilenet_v2",
            None,
            "config: pretrained.model 'mobilenet_v2': no solver is known by which it was trained; "
            "give model.solver",
        ),
        (
            "rcnn",
            {"solver": "s"},
            "config: pretrained.model 'rcnn': it is not known which mean its training subtracted",
        ),
        (
            "vgg16",
            {"mean_value": [1], "subtract_mean": True},
            "config: model.mean_value and model.subtract_mean: true",
        ),
    ],
)
def test_what_the_registry_lacks_must_be_told(name: str, model: Any, message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        published(name, model=model)


def test_weights_without_a_checksum_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(find("vgg16"), sha1=None, sha256=None)
    monkeypatch.setattr("caffetools.plan_running.find", lambda name: bare)
    with pytest.raises(ToolError, match=r"no checksum of its weights is known.*sha256$"):
        published("vgg16")
    assert published("vgg16", sha256="0" * 64).fetch_options[-2:] == ["--sha256", "0" * 64]


COLOUR = {"width": 28, "height": 28, "gray": False}


def test_weights_are_made_gray_where_images_are_and_they_may_be_not():
    source = {**CONFIG["pretrained"]["train_on"]["dataset"], "image": COLOUR}
    plan = plan_of(pretrained={"train_on": {"dataset": source}})
    assert plan.weights("bars", "tuned", 0) == "results/bars/pretrained.gray.caffemodel"
    assert plan.weights("bars", "scratch", 0) is None
    target = {**CONFIG["dataset"], "image": COLOUR}
    fetched = plan_of(dataset=target, pretrained=FETCHED)
    assert fetched.weights("bars", "tuned", 0) == "results/bars/pretrained.caffemodel"


def test_weights_for_gray_images_are_not_for_colour():
    message = r"train_on\.dataset\.image\.gray is true and dataset\.image\.gray is not"
    with pytest.raises(ToolError, match=message):
        plan_of(dataset={**CONFIG["dataset"], "image": COLOUR})


def test_without_weights_every_experiment_must_say_so():
    with pytest.raises(ToolError, match="experiment 'tuned' starts from pretrained weights"):
        plan_of(pretrained=None)
    only_scratch = {"scratch": {"pretrained": False}}
    assert plan_of(pretrained=None, experiments=only_scratch).weights("bars", "scratch", 0) is None


def test_two_data_sets_of_one_name_are_refused():
    dataset = {**CONFIG["dataset"], "name": "letters"}
    with pytest.raises(ToolError, match="both named 'letters'"):
        plan_of(dataset=dataset)


def test_folders_of_images_must_be_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError, match=r"config: dataset\.source: there is no folder photos, "):
        plan_of().require_folders()
    (tmp_path / "photos").mkdir()
    plan_of().require_folders()
    source = {**CONFIG["pretrained"]["train_on"]["dataset"], "source": "leters"}
    with pytest.raises(ToolError, match=r"train_on\.dataset\.source: there is no folder leters"):
        plan_of(pretrained={"train_on": {"dataset": source}}).require_folders()


def test_what_rules_compute_in_the_shell_is_quoted():
    """As what Snakemake puts in by ``:q``; without quotes a blank in a folder's name parts it."""
    rules = "".join(path.read_text() for path in sorted(RULES.glob("*.smk")))
    assert re.findall(r".\$\(", rules)
    assert set(re.findall(r".\$\(", rules)) == {'"$('}


def test_every_rule_that_runs_a_command_has_a_log_and_tells_what_it_took():
    texts = [path.read_text() for path in sorted(RULES.glob("*.smk"))]
    rules = [rule for text in texts for rule in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]]
    commands = [rule for rule in rules if "\n    shell:\n" in rule]
    assert len(commands) > 20
    for rule in commands:
        name = rule.split(":")[0]
        assert "\n    log:\n" in rule, name
        shell = rule.partition("\n    shell:\n")[2].lstrip()
        assert re.match(r'f?"logged \{+log(\.main)?:q\}+ (python -m|\{PINNED\})', shell), name
        # Snakemake measures nothing that may come from its cache.
        assert ("\n    benchmark:\n" in rule) != ("\n    cache:" in rule), name
