"""What a configuration asks for of its data sets: archives and formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_plan import plan_of

from caffetools.cli import ToolError
from caffetools.plan import Plan

URL = "https://example.org/set.tgz"
SHA256 = "a" * 64


def of(**dataset: Any) -> Plan:
    return plan_of(dataset={"name": "mine", "image": {"gray": True}, **dataset})


def test_a_fetched_archive_is_verified_then_unpacked():
    archive = {"sha256": SHA256, "folder": "a b", "limit": 10**12}
    plan = of(source=URL, archive=archive)
    assert plan.is_address("mine")
    assert plan.archive_fetch_options("mine") == [
        *("--url", URL, "--sha256", SHA256, "--max-bytes", "1000000000000")
    ]
    without = of(source=URL, archive={"sha256": SHA256})
    assert without.archive_fetch_options("mine") == ["--url", URL, "--sha256", SHA256]
    assert plan.archive("mine") == "results/mine/downloads/archive"
    assert plan.archive_options("mine") == ["--folder", "a b", "--limit", "1000000000000"]
    assert plan.folder("mine") == "results/mine/unpacked"
    assert plan.made_folders("mine") == ["results/mine/unpacked"]
    assert plan.given_folder("mine") is None


def test_an_archive_by_path_may_have_a_checksum():
    plan = of(source="set.zip", archive={"sha1": "b" * 40})
    assert not plan.is_address("mine")
    assert plan.archive("mine") == "set.zip"
    assert plan.archive_options("mine") == ["--sha1", "b" * 40]
    assert of(source="set.zip", archive={}).archive_options("mine") == []


def test_files_of_a_format_lie_in_a_folder_or_in_an_archive():
    given = of(source="raw", format="idx", stored={"names": "names.txt"})
    assert given.folder("mine") == "results/mine/images"
    assert (given.given_folder("mine"), given.stored_source("mine")) == ("raw", "raw")
    assert given.stored_inputs("mine") == ["names.txt"]
    assert given.stored_options("mine") == ["idx", "--names", "names.txt"]
    packed = of(source="c.tgz", archive={}, format="cifar100", stored={"label": "coarse"})
    assert packed.folder("mine") == "results/mine/images"
    assert packed.stored_source("mine") == "results/mine/unpacked"
    assert packed.stored_inputs("mine") == ["results/mine/unpacked"]
    assert packed.stored_options("mine") == ["cifar100", "--label", "coarse"]


def test_a_folder_of_class_folders_is_made_by_no_rule():
    plan = of(source="photos")
    assert not plan.is_archive("mine")
    assert not plan.is_stored("mine")
    assert plan.made_folders("mine") == []
    assert plan_of().made_folders("letters") == ["results/letters/images"]


@pytest.mark.parametrize(
    ("dataset", "complaint"),
    [
        ({"source": URL}, "dataset.source: https://example.org/set.tgz is fetched where it is an"),
        ({"source": URL, "archive": {}}, "dataset.archive: expected sha256"),
        ({"source": "t.csv", "table": {}, "archive": {}}, "found both table and archive"),
        ({"source": "t.csv", "table": {}, "format": "idx"}, "found both table and format: idx"),
        ({"source": "digits", "archive": {}}, "'digits' comes with the project, so archive tells"),
        ({"source": "letters", "format": "idx"}, "so format: idx tells nothing"),
        ({"source": "x", "stored": {"names": "n"}}, "stored.names: tells nothing of format: fold"),
        ({"source": "x", "format": "idx", "stored": {"label": "n"}}, "of which names can be told"),
        ({"source": "x", "format": "cifar10", "stored": {"label": "fine"}}, "stored.label: tells"),
        ({"source": "x", "format": "cifar100", "stored": {"image": "i"}}, "which names, label can"),
        ({"source": "x", "format": "cifar100", "stored": {"label": "all"}}, "fine or coarse of"),
    ],
)
def test_a_source_has_one_form(dataset: dict[str, Any], complaint: str):
    with pytest.raises(ToolError, match=complaint):
        of(**dataset)


def test_that_of_pretraining_is_named_by_its_place():
    train_on = {"dataset": {"name": "other", "source": URL}}
    with pytest.raises(ToolError, match=r"config: pretrained\.train_on\.dataset\.source"):
        plan_of(pretrained={"train_on": train_on})


def test_what_is_not_there_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for dataset, complaint in (
        ({"source": "set.zip", "archive": {}}, "dataset.source: there is no file set.zip"),
        ({"source": "raw", "format": "idx"}, "no folder raw, .* with files of the format idx"),
        ({"source": "set.zip"}, "no folder set.zip, .* of an archive say archive: {} as well"),
    ):
        with pytest.raises(ToolError, match=complaint):
            of(**dataset).require_folders()
    of(source=URL, archive={"sha256": SHA256}).require_folders()
    (tmp_path / "raw").mkdir()
    with pytest.raises(ToolError, match=r"stored.names: there is no file n.txt, .* a class in"):
        of(source="raw", format="idx", stored={"names": "n.txt"}).require_folders()
