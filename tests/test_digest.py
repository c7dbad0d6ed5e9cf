"""The digests that make Snakemake rerun what a change of code concerns, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import REPOSITORY

from caffetools.digest import files_digest, folder_digest, source_digest

COMMANDS = (
    "caffetools.dataset.__main__",
    "caffetools.evaluate",
    "caffetools.examples",
    "caffetools.fetch",
    "caffetools.gray_weights",
    "caffetools.lmdb",
    "caffetools.mean",
    "caffetools.patch",
    "caffetools.plots.comparison",
    "caffetools.plots.confusion",
    "caffetools.plots.curves",
    "caffetools.plots.samples",
    "caffetools.pretrained.__main__",
    "caffetools.report",
    "caffetools.train",
    "caffetools.visualization.activations",
    "caffetools.visualization.gradients",
    "caffetools.visualization.graph",
    "caffetools.visualization.kernels",
)
SCRIPT = """
import json, sys
from caffetools.digest import source_digest
json.dump({name: source_digest(name) for name in sys.argv[1:]}, sys.stdout)
"""


def digests(packages: Path) -> dict[str, str]:
    """The digest of every command, as the packages in that folder have it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *COMMANDS],
        env={**os.environ, "PYTHONPATH": str(packages)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return digests(REPOSITORY / "src")


@pytest.fixture
def packages(tmp_path) -> Path:
    target = tmp_path / "elsewhere"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY / "src", target, ignore=ignored)
    return target


def changed_by(packages: Path, before: dict[str, str], *files: str) -> set[str]:
    """The commands, without their package's name, whose digest an addition changes."""
    for name in files:
        with (packages / name).open("a", encoding="utf-8") as stream:
            stream.write("\n# Something else.\n")
    after = digests(packages)
    prefix = len("caffetools.")
    return {name[prefix:] for name in COMMANDS if after[name] != before[name]}


def test_a_digest_does_not_hang_on_the_packages_place(packages, before):
    assert changed_by(packages, before) == set()
    assert len(set(before.values())) == len(COMMANDS)


# Commands that run a net.
RUNNING = {"train", "evaluate", "visualization.activations"}


@pytest.mark.parametrize("name", ["solver/sgd.py", "net/net.py", "layers/lrn.py", "data/datum.py"])
def test_commands_that_run_nets_reach_the_whole_runtime(packages, before, name):
    assert changed_by(packages, before, f"recaffe/{name}") == RUNNING


def test_a_new_layer_file_counts(packages, before):
    (packages / "recaffe/layers/another.py").write_text('"""Another layer."""\n')
    assert changed_by(packages, before) == RUNNING


def test_commands_that_read_messages_reach_the_schema_alone(packages, before):
    changed = changed_by(packages, before, "recaffe/proto/caffe.proto")
    assert changed >= {"train", "evaluate", "lmdb", "mean", "patch", "visualization.kernels"}
    assert not changed & {"dataset", "examples", "fetch", "report", "plots.confusion"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plots/confusion.py", {"plots.confusion"}),
        ("dataset/splits.py", {"dataset.__main__"}),
        ("patch.py", {"patch"}),
        ("evaluate.py", {"evaluate"}),
        ("visualization/graph.py", {"visualization.graph"}),
        ("snapshots.py", {"train"}),
        ("templates/report.html", {"report"}),
        ("pretrained/registry.yaml", {"pretrained.__main__"}),
        ("pretrained/nets/vgg.py", {"pretrained.__main__"}),
        ("download.py", {"fetch"}),
        ("config.py", set()),
    ],
)
def test_a_module_changes_the_commands_that_import_it(packages, before, name, expected):
    assert changed_by(packages, before, f"caffetools/{name}") == expected


def test_what_is_imported_by_an_imported_module_counts(packages, before):
    # train imports history, which imports files.
    assert changed_by(packages, before, "caffetools/files.py") == {
        name.removeprefix("caffetools.") for name in COMMANDS
    }


def test_a_package_that_holds_a_command_runs_with_it(packages, before):
    changed = changed_by(packages, before, "caffetools/plots/__init__.py")
    figures = {
        name.removeprefix("caffetools.")
        for name in COMMANDS
        if name.startswith(("caffetools.plots.", "caffetools.visualization."))
    }
    # The report takes its colours from the figures.
    assert changed == {*figures, "report"}


def test_an_unknown_command_is_refused():
    with pytest.raises(ModuleNotFoundError, match=r"caffetools\.trian"):
        source_digest("caffetools.trian")


# --- folders --------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.png").write_bytes(b"one")
    (folder / "a" / "2.png").write_bytes(b"two")
    return folder


def test_a_folders_digest_follows_what_is_in_it(photos):
    seen = {folder_digest(photos)}
    (photos / "a" / "3.png").write_bytes(b"three")
    seen.add(folder_digest(photos))
    (photos / "a" / "3.png").write_bytes(b"longer than three")
    seen.add(folder_digest(photos))
    (photos / "a" / "3.png").rename(photos / "a" / "4.png")
    seen.add(folder_digest(photos))
    (photos / "b").mkdir()
    seen.add(folder_digest(photos))
    assert len(seen) == 5


def test_a_folders_digest_follows_an_image_replaced_by_one_as_long(photos):
    before = folder_digest(photos)
    image = photos / "a" / "1.png"
    image.write_bytes(b"eno")
    os.utime(image, ns=(1, 1))
    assert folder_digest(photos) != before


def test_a_folders_digest_is_of_what_was_found_there_and_not_where(photos, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(photos, copied)
    assert folder_digest(copied) == folder_digest(photos)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_what_cannot_be_a_name_is_no_obstacle(photos, name):
    assert files_digest(photos, [name]) != files_digest(photos, [])


def test_a_link_that_leads_nowhere_is_no_obstacle(photos):
    before = folder_digest(photos)
    (photos / "a" / "gone.png").symlink_to(photos / "nothing")
    assert folder_digest(photos) != before
