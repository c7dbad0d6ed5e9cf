"""The workflow on a miniature: what it makes, what it makes again, and what it leaves alone."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from miniature import CLASSES, IMAGE, Miniature, fresh
from test_witness_opencv import assert_same_probabilities

from caffetools import prototxt
from caffetools.bundle import contents
from caffetools.history import read_rows
from caffetools.scoring import net_on
from caffetools.weights import read_weights

pytestmark = pytest.mark.slow

OF_THE_NET = ("weights", "top5", "activations", "saliency", "embedding")
FIGURES = (
    *("net", "curves", "gradients", "kernels", "confusion", "calibration", "samples", "mistakes"),
    *OF_THE_NET,
)
RUNS = [(name, seed) for name in ("tuned", "scratch") for seed in (0, 1)]
# What follows from the weights of the runs of both experiments.
AFTER_TRAINING = {
    "evaluate": {f"bars/experiments/{name}/seed{seed}/evaluation.json" for name, seed in RUNS},
    **{
        figure: {f"bars/plots/{name}.{figure}.png" for name in ("tuned", "scratch")}
        for figure in FIGURES
        if figure != "net"
    },
    "bundle": {f"bars/experiments/{name}/bundle/deploy.prototxt" for name in ("tuned", "scratch")},
    "comparison": {"bars/plots/comparison.png"},
    "significance": {"bars/significance.csv"},
    "report_page": {"bars/report.html"},
}
# What follows from the patched prototxts.
AFTER_PATCHING = {
    "net": {f"bars/plots/{name}.net.png" for name in ("tuned", "scratch")},
    **AFTER_TRAINING,
}
TRAINING = {f"bars/experiments/{name}/seed{seed}/final.caffemodel" for name, seed in RUNS}
PRETRAINING = "letters/experiments/source/seed0/final.caffemodel"
# One for the first seed of each experiment.
PREFLIGHT = {f"bars/experiments/{name}/preflight.json" for name in ("tuned", "scratch")}
PRETRAINING_PREFLIGHT = "letters/experiments/source/preflight.json"
PATCHING = {f"bars/experiments/{name}/seed{seed}/train_val.prototxt" for name, seed in RUNS}
LMDBS = {f"bars/lmdb/{split}/data.mdb" for split in ("train", "val", "test")}
FROM_IMAGES = {
    "dataset": {"bars/dataset/manifest.csv"},
    "lmdb": LMDBS,
    "mean": {"bars/mean.binaryproto"},
    "patch": PATCHING,
    "preflight": PREFLIGHT,
    "train": TRAINING,
    **AFTER_PATCHING,
}

# What follows from another runtime; its code is that of the preflight, too.
RUNTIME_CHANGED = {
    "preflight": {*PREFLIGHT, PRETRAINING_PREFLIGHT},
    "train": {*TRAINING, PRETRAINING},
    **AFTER_TRAINING,
}


@pytest.fixture
def copied(finished, tmp_path) -> Miniature:
    return finished.copy(tmp_path / "copied")


# --- what it makes --------------------------------------------------------------------


def test_all_results_are_there(finished):
    for name, seed in RUNS:
        run = finished.path(f"experiments/{name}/seed{seed}")
        assert [row.iteration for row in read_rows(run / "history.csv")] == list(range(7))
        assert json.loads((run / "evaluation.json").read_text())["entries"] == 12
        assert {path.name for path in run.iterdir() if path.is_file()} == {
            *("train_val.prototxt", "solver.prototxt", "deploy.prototxt", "patch.json"),
            *("final.caffemodel", "history.csv", "gradients.csv", "evaluation.json"),
            *("per_class.csv", "confusion.csv", "calibration.csv", "predictions.csv"),
        }
        for figure in FIGURES:
            assert cv2.imread(str(finished.path(f"plots/{name}.{figure}.png"))) is not None
            assert finished.path(f"plots/{name}.{figure}.svg").read_bytes().startswith(b"<?xml")
    assert finished.path("dataset/classes.txt").read_text().split() == list(CLASSES)
    assert "</html>" in finished.path("report.html").read_text()
    assert finished.path("mean.binaryproto").stat().st_size > 0


def test_every_image_is_in_one_split(finished):
    with finished.path("dataset/manifest.csv").open() as stream:
        splits = [row["split"] for row in csv.DictReader(stream)]
    assert {split: splits.count(split) for split in set(splits)} == {
        "train": 15,
        "val": 9,
        "test": 12,
    }
    for split in ("train", "val", "test"):
        manifest = json.loads(finished.path(f"lmdb/{split}.json").read_text())
        assert manifest["entries"] == splits.count(split)


def test_finetuning_starts_from_the_pretrained_weights(finished):
    source = read_weights(finished.folder / "results" / PRETRAINING)
    tuned = read_weights(finished.path("experiments/tuned/seed0/final.caffemodel"))
    # Not of seed 0, by which the source's weights were drawn.
    scratch = read_weights(finished.path("experiments/scratch/seed1/final.caffemodel"))
    assert source["ip2_letters"][0].shape == (26, 500)
    assert tuned["ip2_bars"][0].shape == (3, 500)

    def distance(weights):
        return np.linalg.norm(weights["ip1"][0] - source["ip1"][0])

    # Six steps lead nowhere near as far as another draw.
    assert distance(tuned) < 0.1 * distance(scratch)


def test_opencv_gives_the_probabilities_of_a_run(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    run = finished.path("experiments/tuned/seed1")
    net = prototxt.read_net(run / "train_val.prototxt")
    scored = net_on(net, finished.path("lmdb/test"))
    assert_same_probabilities(scored.message, run / "deploy.prototxt", run / "final.caffemodel")


def test_bundles_are_whole_and_told_in_the_report(finished):
    page = finished.path("report.html").read_text()
    for name in ("tuned", "scratch"):
        bundle = finished.path(f"experiments/{name}/bundle")
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, check=True)
        contents.verify(bundle)
        trained = finished.path(f"experiments/{name}/seed0/final.caffemodel")
        assert (bundle / contents.WEIGHTS).read_bytes() == trained.read_bytes()
        readers = json.loads((bundle / contents.PARITY).read_text())["readers"]
        assert len(readers) == 3
        for reader in readers.values():
            assert f"{reader['largest_difference']:.1e}" in page
        provenance = json.loads((bundle / contents.PROVENANCE).read_text())
        assert ("pretrained_weights" in provenance["sha256"]) == (name == "tuned")
        assert provenance["settings"]["solver"]["random_seed"] == 0


def test_where_readers_differ_no_bundle_stands(copied):
    bundle = copied.path("experiments/scratch/bundle")
    deploy = copied.path("experiments/scratch/seed0/deploy.prototxt")
    deploy.write_text(deploy.read_text().replace("pool: MAX", "pool: AVE"))
    done = copied.snakemake(f"{bundle.relative_to(copied.folder)}/SHA256SUMS")
    assert done.returncode != 0
    assert "error: parity: image" in copied.log("bundle.scratch")
    assert not list(bundle.glob("*"))


def test_a_second_run_does_nothing(copied):
    assert "Nothing to be done" in copied.run()
    assert copied.planned() == {}


def test_two_runs_give_the_same_bytes(finished, tmp_path):
    """Of one experiment; tests/test_slurm.py compares the rest of two runs as well."""
    again = Miniature(tmp_path / "again")
    again.config["experiments"] = {"scratch": again.config["experiments"]["scratch"]}
    again.run()
    first, second = finished.hashes(), again.hashes()
    of_all = {"report.html", "significance.csv", "comparison.png", "comparison.svg"}
    alike = {name for name in second if name.rpartition("/")[2] not in of_all}
    assert len(alike) > 60
    assert {name: first[name] for name in alike} == {name: second[name] for name in alike}


def test_results_hold_no_trace_of_their_place(finished):
    here = str(finished.folder.parent).encode()
    root = finished.folder / "results"
    for name in finished.hashes():
        assert here not in (root / name).read_bytes(), name


def test_lint_has_nothing_to_say(copied):
    done = copied.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Congratulations" in done.stdout + done.stderr


def test_snakemakes_report_has_every_figure(copied):
    copied.run("--report", "overview.html")
    page = (copied.folder / "overview.html").read_text(encoding="utf-8")
    for name in ("tuned", "scratch"):
        for figure in FIGURES:
            assert f"{name}.{figure}.png" in page


def test_gray_images_finetune_a_net_for_colour_by_configuration_alone(tmp_path):
    miniature = Miniature(tmp_path / "colour")
    source = miniature.config["pretrained"]["train_on"]
    source["dataset"]["image"] = {**IMAGE, "gray": False}
    solver = {"max_iter": {"epochs": 2}, "test_interval": {"epochs": 1}, "base_lr": 0.01}
    miniature.config["experiments"] = {
        "tuned": {
            **{"freeze_up_to": "pool1", "lr_mult": {"ip1": 0.5}, "head_bias_lr_mult": 20},
            **{"head_lr_mult": 10, "mirror": True, "solver": solver},
            "batch_size": {"train": 3, "val": 9, "effective": 6},
        }
    }
    miniature.config["seeds"] = [0]
    target = "results/bars/experiments/tuned/seed0/evaluation.json"
    miniature.run("--", target)
    colour = read_weights(miniature.folder / "results" / PRETRAINING)["conv1"][0]
    gray = read_weights(miniature.path("pretrained.gray.caffemodel"))["conv1"][0]
    tuned = read_weights(miniature.path("experiments/tuned/seed0/final.caffemodel"))["conv1"][0]
    assert colour.shape == (20, 3, 5, 5)
    np.testing.assert_allclose(gray, colour.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(tuned, gray)
    # 15 images, six an iteration.
    history = read_rows(miniature.path("experiments/tuned/seed0/history.csv"))
    assert [row.iteration for row in history if row.test_loss is not None] == [0, 3, 5]
    assert miniature.planned("--", target) == {}


# --- what it makes again --------------------------------------------------------------


def test_a_changed_experiment_alone_is_made_again(copied):
    before = copied.hashes()
    copied.config["experiments"]["tuned"]["head_lr_mult"] = 5
    tuned = {
        rule: {output for output in outputs if "scratch" not in output}
        for rule, outputs in AFTER_PATCHING.items()
    }
    assert copied.planned() == {
        "patch": {output for output in PATCHING if "tuned" in output},
        "preflight": {output for output in PREFLIGHT if "tuned" in output},
        "train": {output for output in TRAINING if "tuned" in output},
        **tuned,
    }
    comparison = "results/bars/plots/comparison.png"
    copied.run("--", comparison)
    after = copied.hashes()
    changed = {name for name in after if after[name] != before.get(name)}
    assert "bars/experiments/tuned/seed0/final.caffemodel" in changed
    assert "bars/experiments/tuned/seed1/history.csv" in changed
    assert not [name for name in changed if "scratch" in name or "letters" in name]
    assert copied.planned("--", comparison) == {}


def test_another_figures_code_redraws_it_alone(copied):
    copied.change_code("caffetools/plots/confusion.py")
    expected = {rule: AFTER_TRAINING[rule] for rule in ("confusion", "report_page")}
    assert copied.planned() == expected
    copied.run()
    assert copied.planned() == {}


def test_another_look_into_nets_redraws_it_alone(copied):
    copied.change_code("caffetools/visualization/saliency.py")
    assert copied.planned() == {rule: AFTER_TRAINING[rule] for rule in ("saliency", "report_page")}


def test_another_solvers_code_trains_again(copied):
    copied.change_code("recaffe/solver/sgd.py")
    assert copied.planned() == RUNTIME_CHANGED
    copied.run(f"results/{PRETRAINING}")
    log = (copied.folder / "results/letters/logs/train.source.0.log").read_text()
    assert "starting afresh" in log
    assert "going on" not in log


def test_another_layers_code_trains_again(copied):
    copied.change_code("recaffe/layers/relu.py")
    assert copied.planned() == RUNTIME_CHANGED


def test_the_evaluations_code_trains_nothing(copied):
    copied.change_code("caffetools/evaluate.py")
    assert set(copied.planned()) == {
        *("evaluate", "confusion", "calibration", "samples", "mistakes", "significance"),
        *("bundle", "report_page"),
    }


def test_the_preflights_code_trains_nothing(copied):
    """Trainings run after it, but find their last snapshot and have nothing to do."""
    before = copied.hashes()
    copied.change_code("caffetools/preflight/cost.py")
    assert copied.planned() == RUNTIME_CHANGED
    trained = [f"results/{name}" for name in sorted(TRAINING)]
    copied.run("--", *trained)
    assert copied.hashes() == before
    assert "iteration 6" in copied.log("train.tuned.0")
    assert copied.planned("--", *trained) == {}


def test_an_image_more_is_a_new_data_set(copied):
    photos = copied.folder / "photos" / "low"
    assert cv2.imwrite(str(photos / "999.png"), np.full((12, 12), 100, np.uint8))
    assert copied.planned() == FROM_IMAGES
    (photos / "999.png").unlink()
    assert copied.planned() == {}


def test_an_image_replaced_is_a_new_data_set(copied):
    image = sorted((copied.folder / "photos" / "low").iterdir())[0]
    assert cv2.imwrite(str(image), np.full((12, 12), 100, np.uint8))
    assert copied.planned() == FROM_IMAGES


def test_another_split_is_a_new_data_set(copied):
    copied.config["dataset"]["split"]["seed"] = 1
    assert copied.planned() == FROM_IMAGES
    copied.config["dataset"]["split"] = {"train": 4, "val": 3, "test": "rest", "seed": 0}
    assert copied.planned() == FROM_IMAGES


def test_two_options_that_swap_their_values_are_seen(finished, tmp_path):
    miniature = finished.copy(tmp_path / "copied")
    miniature.config["dataset"]["image"] = {"width": 28, "height": 30, "gray": True}
    target = "results/bars/lmdb/test.json"
    miniature.run(target)
    miniature.config["dataset"]["image"] = {"width": 30, "height": 28, "gray": True}
    miniature.run(target)
    manifest = json.loads((miniature.folder / target).read_text())
    assert (manifest["width"], manifest["height"]) == (30, 28)


def test_a_renamed_class_is_a_new_data_set(copied):
    (copied.folder / "photos" / "low").rename(copied.folder / "photos" / "lower")
    assert copied.planned() == FROM_IMAGES


def test_a_title_rewrites_the_page_alone(copied):
    copied.config["report"]["title"] = "Bars"
    assert copied.planned() == {"report_page": {"bars/report.html"}}


def test_a_seed_more_leaves_the_others_alone(copied):
    copied.config["seeds"] = [0, 1, 2]
    planned = copied.planned()
    assert planned["train"] == {
        f"bars/experiments/{name}/seed2/final.caffemodel" for name in ("tuned", "scratch")
    }
    assert not planned.keys() & {"curves", "kernels", "samples", "bundle", "lmdb", "dataset"}


def test_a_single_value_may_be_told_on_the_command_line(copied):
    planned = copied.planned("--config", "seeds=[0, 1, 2]", "report={title: Bars}")
    assert planned["train"] == {
        f"bars/experiments/{name}/seed2/final.caffemodel" for name in ("tuned", "scratch")
    }


def test_a_configuration_of_ones_own_takes_the_others_place(copied):
    """Snakemake itself would merge the two, and keep the other's experiments."""
    own = fresh(copied.config)
    own["experiments"] = {"other": own["experiments"]["scratch"]}
    own["seeds"] = [1]
    del own["pretrained"]
    (copied.folder / "own.yaml").write_text(yaml.safe_dump(own))
    planned = copied.planned("--configfile", "own.yaml")
    assert planned["train"] == {"bars/experiments/other/seed1/final.caffemodel"}
    assert planned["curves"] == {"bars/plots/other.curves.png"}
    assert "dataset" not in planned
    target = "results/bars/experiments/other/seed1/train_val.prototxt"
    copied.run(target, "--configfile", "own.yaml")
    assert (copied.folder / target).exists()


def test_another_place_is_no_reason(finished, tmp_path):
    assert finished.copy(tmp_path / "another" / "place").planned() == {}


# --- what was stopped -----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_is_ended_ends_as_one_that_was_not(finished, copied, tmp_path, number):
    whole = finished.copy(tmp_path / "whole")
    for miniature in (whole, copied):
        random = {"mirror": True, "shuffle": True, "augmentation": {"min_area": 0.5, "rotation": 9}}
        scratch = fresh({**miniature.config["experiments"]["scratch"], **random})
        scratch["solver"].update(max_iter=200, snapshot=20, test_interval=100)
        scratch["batch_size"]["train"] = 64
        miniature.config["experiments"] = {"scratch": scratch}
    target = "results/bars/experiments/scratch/seed0/final.caffemodel"
    folder = copied.path("experiments/scratch/seed0/snapshots")
    process = copied.start(target)
    trainer = wait_for_trainer(folder, "snapshot_iter_20.sha256", process)
    subprocess.run(["kill", f"-{int(number)}", str(trainer)], check=True)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "Traceback" not in said
    assert not (copied.folder / target).exists()
    copied.run(target)
    log = copied.log("train.scratch.0")
    assert re.search(r"going on from iteration (\d+)", log), log
    rows = read_rows(copied.path("experiments/scratch/seed0/history.csv"))
    assert [row.iteration for row in rows] == list(range(201))
    whole.run(target)
    for name in ("final.caffemodel", "history.csv", "gradients.csv"):
        one, other = (m.path(f"experiments/scratch/seed0/{name}") for m in (copied, whole))
        assert one.read_bytes() == other.read_bytes(), name


def wait_for_trainer(folder: Path, name: str, process: subprocess.Popen[str]) -> int:
    """The id of the trainer at work in ``folder``, once it has written ``name`` there."""
    for _ in range(6000):
        if (folder / name).exists():
            return int((folder / "lock").read_text().split()[1])
        if process.poll() is not None:
            break
        time.sleep(0.01)
    process.terminate()
    pytest.fail(process.communicate()[1], pytrace=False)
