"""The reference pages are what the registry and the schema say today."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from recipes import REPOSITORY

from caffetools.pretrained.registry import load as load_models
from caffetools.records.__main__ import parser
from recaffe.layers import layer_types

FOLDER = REPOSITORY / "docs" / "reference"


def load():
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load()


@pytest.mark.parametrize("name", GENERATE.PAGES)
def test_pages_are_what_would_be_written(name):
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == GENERATE.PAGES[name](), "run python docs/reference/generate.py"


TOOLS = sorted(GENERATE.TOOLS.glob("*.md"))


@pytest.mark.parametrize("page", TOOLS, ids=lambda page: page.stem)
def test_pages_of_tools_say_what_they_take_today(page):
    written = page.read_text(encoding="utf-8")
    assert written == GENERATE.tool_page(written), "run python docs/reference/generate.py"


def test_every_installed_tool_has_a_page():
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    pages = "".join(page.read_text(encoding="utf-8") for page in TOOLS)
    assert set(re.findall(r"<!-- takes: (\w+) -->\n\|", pages)) == set(scripts)


def test_every_command_for_records_has_a_table():
    page = (GENERATE.TOOLS / "records.md").read_text(encoding="utf-8")
    commands = parser()._subparsers._group_actions[0].choices
    tables = re.findall(r"<!-- takes: caffetools.records (\w+) -->\n\|", page)
    assert tables == list(commands) == ["info", "ls", "cat", "verify"]


def test_every_layer_has_its_settings_with_defaults():
    page = (FOLDER / "layers.md").read_text(encoding="utf-8")
    for name in layer_types():
        assert f"\n## {name}\n" in page
    pooling = page.split("\n## Pooling\n")[1].split("\n## ")[0]
    assert "| `kernel_size` | uint32 |  |" in pooling
    assert "| `pool` | MAX, AVE, STOCHASTIC | MAX |" in pooling
    assert "| `stride` | uint32 | 1 |" in pooling
    loss = page.split("\n## SoftmaxWithLoss\n")[1].split("\n## ")[0]
    assert "`softmax_param`" in loss
    assert "`loss_param`" in loss
    assert Path(FOLDER / "messages.md").stat().st_size > 10_000


def test_every_published_model_has_its_figures():
    page = (FOLDER / "pretrained.md").read_text(encoding="utf-8")
    for name, model in load_models().items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert section.count("| not known |") == sum(
            value is None
            for value in (
                *(model.sha1, model.sha256, model.bytes, model.mean, model.accuracy),
                *(model.license, model.solver, model.prototxt, model.channel_order),
            )
        )
        for source in model.sources.values():
            assert f"[source]({source})" in section
