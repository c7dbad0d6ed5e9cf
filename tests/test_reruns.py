"""What is made again when something changes: the table in docs/reference/reruns.md, row by row."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from miniature import Miniature
from recipes import REPOSITORY

pytestmark = pytest.mark.slow
PAGE = REPOSITORY / "docs" / "reference" / "reruns.md"
# The table's columns, and the rules of each.
STAGES = {
    "data set": {"dataset"},
    "LMDBs, mean": {"lmdb", "mean"},
    "patch": {"patch"},
    "preflight": {"preflight"},
    "train": {"train"},
    "evaluate": {"evaluate"},
    "figures": {
        *("net", "curves", "gradients", "kernels", "confusion", "calibration", "samples"),
        *("mistakes", "weights", "top5", "activations", "saliency", "embedding", "comparison"),
        "significance",
    },
    "bundle": {"bundle"},
    "report": {"report_page"},
}
CHANGES: dict[str, Callable[[Miniature], Any]] = {}


def row(name: str) -> Callable[[Callable[[Miniature], Any]], Callable[[Miniature], Any]]:
    """Make a function the change of the table's row ``name``."""

    def add(change: Callable[[Miniature], Any]) -> Callable[[Miniature], Any]:
        CHANGES[name] = change
        return change

    return add


def code(name: str, module: str) -> None:
    row(name)(lambda miniature: miniature.change_code(module))


def setting(name: str, **fields: Any) -> None:
    row(name)(lambda miniature: miniature.config["experiments"]["tuned"].update(fields))


def of_solver(name: str, **fields: Any) -> None:
    row(name)(lambda miniature: miniature.config["experiments"]["tuned"]["solver"].update(fields))


@row("an image added, removed or replaced")
def replace_image(miniature: Miniature) -> None:
    image = min((miniature.folder / "photos" / "low").iterdir())
    assert cv2.imwrite(str(image), np.full((12, 12), 100, np.uint8))


@row("a class renamed, an image moved to another class")
def rename_class(miniature: Miniature) -> None:
    photos = miniature.folder / "photos"
    (photos / "low").rename(photos / "lower")


row("`dataset.split`")(lambda m: m.config["dataset"]["split"].update(seed=1))
row("`dataset.image`")(lambda m: m.config["dataset"]["image"].update(width=30, height=30))
setting("`crop_size`", crop_size=24)
setting("`mirror`, `shuffle`, `augmentation`", shuffle=True)
setting("`new_head`", new_head="mine")
setting("`freeze`, `lr_mult`, `head_lr_mult`", head_lr_mult=5)
of_solver("`solver.base_lr`", base_lr=0.02)
of_solver("`solver.max_iter`", max_iter=9)
of_solver("`solver.snapshot`", snapshot=5)
row("`training.threads`")(lambda m: m.config.update(training={"threads": 2}))
row("`report.title`")(lambda m: m.config["report"].update(title="Bars"))
code("code of the data set (`caffetools.dataset`)", "caffetools/dataset/splits.py")
code("code of the LMDBs (`caffetools.lmdb`)", "caffetools/lmdb.py")
code("code of the patch (`caffetools.patch`)", "caffetools/patch.py")
code("code of the preflight (`caffetools.preflight`)", "caffetools/preflight/cost.py")
code("code of the trainer (`caffetools.train`)", "caffetools/train.py")
code("code of layers, solvers and nets (`recaffe`)", "recaffe/layers/relu.py")
code("code of pycaffe (`caffe`)", "caffe/net.py")
code("code of the evaluation (`caffetools.evaluate`)", "caffetools/evaluate.py")
code(
    "code of one figure (`caffetools.visualization.saliency`)",
    "caffetools/visualization/saliency.py",
)
code("style of all figures (`caffetools.plots.style`)", "caffetools/plots/style.py")
code("code of the bundle (`caffetools.bundle`)", "caffetools/bundle/parity.py")
code("code of the report (`caffetools.report`)", "caffetools/report.py")


@row("a figure's caption")
def change_caption(miniature: Miniature) -> None:
    caption = miniature.folder / "src/caffetools/templates/report.confusion.rst"
    caption.write_text(caption.read_text() + "\nMore.\n")


@row("`--cores`, a profile, a log's name")
def change_profile(miniature: Miniature) -> None:
    profile = miniature.folder / "profiles/default/config.yaml"
    profile.write_text(profile.read_text() + "keep-going: true\n")


@row("the checkout moved, results and `.snakemake` with it")
def move(miniature: Miniature) -> None:
    # Each row's copy is one.
    assert (miniature.folder / ".snakemake").is_dir()


@row("a fresh clone, with old results and without `.snakemake`")
def forget(miniature: Miniature) -> None:
    shutil.rmtree(miniature.folder / ".snakemake")


def rows() -> Iterator[tuple[str, list[str]]]:
    """Each row of the page's table: what changes, and the cells of the stages."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| what changes"):
            name, *cells = (cell.strip() for cell in line.strip("|").split(" |"))
            yield name, cells


TABLE = dict(rows())


def test_the_table_has_the_rows_and_columns_that_are_tried():
    assert list(TABLE) == list(CHANGES)
    head = re.search(r"^\| what changes \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert head is not None
    assert [cell.strip() for cell in head[1].split("|")] == list(STAGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_of_the_table(finished, tmp_path, name):
    miniature = finished.copy(tmp_path / "copied")
    CHANGES[name](miniature)
    planned = set(miniature.planned())
    assert planned <= set().union(*STAGES.values())
    found = [stage for stage, rules in STAGES.items() if rules & planned]
    assert found == [
        stage for stage, cell in zip(STAGES, TABLE[name], strict=True) if cell not in ("", "-")
    ]
