"""Both reports in Debian's chromium: every figure is drawn, links lead on, nothing is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from miniature import Miniature

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]
# What Snakemake's page says of how its own style sheet was made.
EXPECTED_IN_THE_LOG = "cdn.tailwindcss.com should not be used in production"


@pytest.fixture(scope="module")
def folder(finished: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workflow of two experiments, run to its end, with Snakemake's own report."""
    miniature = finished.copy(tmp_path_factory.mktemp("browser") / "run")
    miniature.run("--report", "overview.html")
    return miniature.folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A page that notes what it asks for and complains of."""

    def __init__(self, browser: Any, file: Path, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.fetched: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.address = file.as_uri()
        self.page.goto(self.address, wait_until="load")

    def from_outside(self) -> list[str]:
        """What was asked for beside the page itself and what it carries within."""
        own = (self.address, "data:", "blob:")
        return [url for url in self.fetched if not url.startswith(own)]

    def told(self) -> list[str]:
        return [text for text in self.complaints if EXPECTED_IN_THE_LOG not in text]


def images(page: Any) -> list[tuple[str, int]]:
    """The name and the width of every image that is shown, 0 where it was not decoded."""
    script = "all => all.map(one => [one.alt, one.complete ? one.naturalWidth : 0])"
    return [tuple(pair) for pair in page.eval_on_selector_all("img", script)]


def test_our_page_draws_every_figure_and_fetches_nothing(browser: Any, folder: Path) -> None:
    tab = Tab(browser, folder / "results" / "bars" / "report.html")
    drawn = images(tab.page)
    figures = len(list((folder / "results" / "bars" / "plots").glob("*.png")))
    assert len(drawn) == figures > 10
    assert all(name and width > 100 for name, width in drawn), drawn
    assert tab.from_outside() == []
    assert tab.told() == []


def test_links_of_our_page_lead_to_their_sections(browser: Any, folder: Path) -> None:
    tab = Tab(browser, folder / "results" / "bars" / "report.html")
    links = tab.page.locator("nav a")
    names = links.all_inner_texts()
    assert names == ["Data", "Comparison", "Deploy", "tuned", "scratch"]
    for index, name in enumerate(names):
        tab.page.evaluate("window.scrollTo(0, 0)")
        links.nth(index).click()
        target = tab.page.locator(tab.page.evaluate("location.hash"))
        assert target.locator("h2").inner_text() == name
        assert tab.page.evaluate("window.scrollY") > 0
    hidden = tab.page.locator("details:not([open]) > summary")
    count = hidden.count()
    assert count
    hidden.first.click()
    assert tab.page.locator("details:not([open]) > summary").count() == count - 1


@pytest.mark.parametrize("width", [360, 1280])
def test_our_page_is_not_wider_than_the_window(browser: Any, folder: Path, width: int) -> None:
    tab = Tab(browser, folder / "results" / "bars" / "report.html", width)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width


class Overview(Tab):
    """Snakemake's report, whose menu leads to categories, their rows, and what these show."""

    CATEGORIES = ("Comparison", "Evaluation", "Inside the net", "Overview", "Training")

    def open(self, category: str) -> None:
        self.page.goto(self.address, wait_until="load")
        self.page.locator("nav").get_by_text(category, exact=True).click()

    def rows(self, category: str) -> Iterator[tuple[Any, Any]]:
        """Open a category; for each of its results what shows it and what tells of it."""
        self.open(category)
        choices = self.page.locator("fieldset label").count()
        for choice in range(max(1, choices)):
            for row in range(self.page.locator("table tbody tr").count()):
                self.open(category)
                if choices:
                    self.page.locator("fieldset label").nth(choice).click()
                links = self.page.locator("table tbody tr").nth(row).locator("a")
                yield links.first, links.last


def test_snakemakes_report_shows_every_figure_offline(browser: Any, folder: Path) -> None:
    tab = Overview(browser, folder / "overview.html")
    shown: set[str] = set()
    for category in Overview.CATEGORIES:
        for eye, _ in tab.rows(category):
            if eye.get_attribute("download"):
                continue  # a table, which a browser hands on
            eye.click()
            content = tab.page.locator("div.grow img, div.grow iframe").last
            content.wait_for()
            if category != "Overview":
                content.evaluate("one => one.decode()")
                assert content.evaluate("one => one.naturalWidth") > 100
            shown.add(content.get_attribute("src"))
    figures = len(list((folder / "results" / "bars" / "plots").glob("*.png")))
    assert len(shown) == figures + 1  # and our own page
    assert tab.from_outside() == []
    assert tab.told() == []


def test_snakemakes_report_toggles_between_two_experiments(browser: Any, folder: Path) -> None:
    tab = Overview(browser, folder / "overview.html")
    for category in ("Training", "Evaluation", "Inside the net"):
        tab.open(category)
        told = tab.page.locator("fieldset").inner_text().split()
        assert told == ["EXPERIMENT", "scratch", "tuned"]


def test_snakemakes_report_has_a_caption_for_every_result(browser: Any, folder: Path) -> None:
    tab = Overview(browser, folder / "overview.html")
    for category in Overview.CATEGORIES:
        for _, information in tab.rows(category):
            information.click()
            tab.page.get_by_text("Description", exact=True).wait_for()
            told = tab.page.locator("#app").inner_text()
            caption = told.partition("DESCRIPTION")[2].partition("SIZE")[0].strip()
            assert len(caption) > 40, told
