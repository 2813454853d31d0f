"""``make report`` of a small experiment, read in a real browser as a reviewer would.

Screenshots are left in results/report-screenshots/.
"""

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import matplotlib.image
import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.debian import Unavailable
from tests.project import ROOT, TINY, copy_project, drawable, plan, snakemake, unactivated
from tests.report.browser import browser, errors, one, requests, wait

from hebae.claims.verdicts import Finding, counts, read_findings
from hebae.config.parse import parse
from hebae.config.registry import FIGURES
from hebae.report.names import CLAIMS, categories, report_file
from hebae.report.summary import summary_sentence

SCREENSHOTS = ROOT / "results/report-screenshots"
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
CONFIG = json.loads(json.dumps(TINY))
# rst, HTML and Snakemake would take these for something else
TITLE = "Digits <8×8> *of* `UCI`_ & co| {word}"
CONFIG["datasets"]["digits"] |= {"title": TITLE, "bounds": {"samples": [1, 10], "images": 50}}
del CONFIG["datasets"]["digits"]["fid"]
CONFIG["figures"] = dict.fromkeys(drawable(CONFIG), "digits")
REPORT = report_file(CONFIG["experiment"])
CATEGORIES = categories(parse(CONFIG, SCHEMA).experiment)


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints in a folder, whatever the user has set."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A checkout in which everything is made that a report shows, and the report."""
    folder = tmp_path_factory.mktemp("report")
    copy_project(folder)
    (folder / "requirements.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    (folder / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=tiny")
    snakemake(folder, "pages")
    report(folder)
    return folder


def report(folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Make the report where nothing can be downloaded."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    command = [
        sys.executable, "-m", "snakemake", "--report", REPORT, "--configfile", "tiny.yaml"
    ]  # fmt: skip
    environment = unactivated() | nowhere | {"no_proxy": ""}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for all tests, or the reason why there is none."""
    with contextlib.ExitStack() as stack:
        try:
            driver = stack.enter_context(browser())
        except Unavailable as reason:
            if os.environ.get("CI"):
                pytest.fail(f"no browser, which CI must have: {reason}")
            pytest.skip(str(reason))
        yield driver


class Report:
    """The report, as one finds one's way in it."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.path = driver, path
        self.open()

    def open(self) -> None:
        """The first page; nothing moves by itself, so that clicks are where things are."""
        self.driver.get(self.path.as_uri())
        wait(self.driver, lambda: self.find("//nav//a[span='Workflow']"), "the report's menu")
        self.driver.execute_script(
            "const style = document.createElement('style');"
            "style.textContent = '* { transition: none !important }';"
            "document.head.append(style);"
        )

    def find(self, xpath: str) -> list[WebElement]:
        return self.driver.find_elements(By.XPATH, xpath)

    def text(self) -> str:
        """What can be read."""
        return one(self.driver, "//body").text

    def menu(self) -> list[str]:
        """The categories of results in the order they are shown."""
        items = [item.text for item in self.find("//nav//li")]
        return items[items.index("RESULTS") + 1 :]

    def click(self, xpath: str) -> None:
        """Click on the first of a path, once it is there."""
        wait(self.driver, lambda: self.find(xpath), xpath)[0].click()

    def choose(self, name: str) -> None:
        """An item of the menu, from wherever one is."""
        self.click("//nav//nav//a")
        self.click(f"//nav//a[span='{name}']")

    def category(self, name: str) -> None:
        """What a category lists."""
        self.choose(name)
        self.wait_for_results()

    def wait_for_results(self) -> None:
        wait(self.driver, lambda: self.find("//nav//tbody/tr"), "a list of results")

    def entries(self) -> list[str]:
        """What a category lists."""
        return [row.text for row in self.find("//nav//tbody/tr")]

    def buttons(self, entry: str) -> list[WebElement]:
        """The eye and the ⓘ of what begins so, or has a cell that is this."""
        return self.find(f"//nav//tbody/tr[td[.='{entry}']]/td[last()]//a")

    def image(self, entry: str) -> WebElement:
        """Look at a figure."""
        self.buttons(entry)[0].click()
        self.wait_for_content()
        return one(self.driver, "//body//div/img[not(ancestor::nav)]")

    def wait_for_content(self) -> None:
        """Until a figure or a page is there, and moves what is beside it no more."""
        content = "//body//div/img[not(ancestor::nav)] | //iframe"
        wait(self.driver, lambda: self.find(content), "a figure or a page")
        loaded = "return [...document.images].every(image => image.complete)"
        wait(self.driver, lambda: self.driver.execute_script(loaded), "all of a figure")

    def caption(self, entry: str) -> str:
        """Read what is said of a result."""
        self.buttons(entry)[1].click()
        caption = "//nav//li[contains(@class, 'prose')]"
        return wait(self.driver, lambda: self.find(caption), entry)[0].text

    def rule(self) -> list[WebElement]:
        """Where it is said what made a result."""
        return self.find("//nav//li[.='Snakemake rule']")

    @contextlib.contextmanager
    def page(self, entry: str) -> Iterator[WebElement]:
        """Read a page, which is in a frame."""
        self.buttons(entry)[0].click()
        frame = wait(self.driver, lambda: self.find("//iframe"), entry)[0]
        self.driver.switch_to.frame(frame)
        try:
            wait(self.driver, lambda: self.find("//h1"), entry)
            yield one(self.driver, "//body")
        finally:
            self.driver.switch_to.default_content()

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


@pytest.fixture
def opened(chromium, project) -> Iterator[Report]:
    """The report, which asks for nothing and complains of nothing, whatever a test does."""
    errors(chromium), requests(chromium)
    yield Report(chromium, project / REPORT)
    assert errors(chromium) == []
    assert requests(chromium) == []


def claims(project: Path) -> list[Finding]:
    return read_findings(project / "results/tiny/tables/claims.csv")


def test_the_first_page_says_what_the_report_was_made_with(opened, project):
    text = opened.text()
    opened.screenshot("front")
    assert "HEBAE, redrawn: tiny" in text
    assert f"{TITLE} (1,297 training and 500 test images): HEBAE, VAE and WAE-MMD" in text
    assert "2 seeds (0 and 1)" in text
    commit = git(project, "rev-parse", "HEAD")
    assert text.count(commit) == 2  # of the report, and of the runs
    assert "not committed" not in text
    lock = subprocess.check_output(["sha256sum", project / "requirements.lock"], text=True)
    for expected in (
        lock.split()[0],
        f"Python {platform.python_version()}",
        *(f"{name} {metadata.version(name)}" for name in ("torch", "snakemake", "numpy")),
        " core",
    ):
        assert expected in text
    assert summary_sentence(claims(project)) in text


def test_claims_come_first_with_the_verdicts_of_the_table(opened, project):
    assert opened.menu() == list(CATEGORIES.values())
    opened.category(CATEGORIES[CLAIMS])
    assert opened.entries()[0].startswith("All claims and their verdicts")
    found = claims(project)
    figures = list(dict.fromkeys(finding.figure for finding in found))
    found.sort(key=lambda finding: figures.index(finding.figure))
    with opened.page("All claims and their verdicts") as page:
        opened.screenshot("claims")
        rows = page.find_elements(By.XPATH, ".//tr[@data-claim]")
        shown = [
            (
                row.get_attribute("data-claim"),
                row.get_attribute("data-figure"),
                one(row, ".//td[@data-verdict]").text,
            )
            for row in rows
        ]
        assert [(claim, figure, " ".join(text.split())) for claim, figure, text in shown] == [
            (
                finding.claim,
                finding.figure,
                f"{finding.shown.sign} {finding.shown} {finding.remark}".rstrip(),
            )
            for finding in found
        ]
        text = page.text
        for finding in found:
            assert finding.statement in text and finding.withdrawn in text
        assert counts(found) == {
            cell.get_attribute("data-count"): int(cell.text)
            for cell in page.find_elements(By.XPATH, ".//td[@data-count]")
        }


@pytest.mark.parametrize("figure", CONFIG["figures"])
def test_a_figure_is_shown_with_a_caption_of_this_experiment(opened, project, figure):
    registered = FIGURES[figure]
    entry = registered.title
    opened.category(CATEGORIES[registered.group])
    image = opened.image(entry)
    drawn = matplotlib.image.imread(project / f"figures/tiny/{figure}.png")
    size = [int(image.get_property(f"natural{side}")) for side in ("Width", "Height")]
    assert size == [drawn.shape[1], drawn.shape[0]]
    assert image.is_displayed() and image.size["width"] > 200
    opened.screenshot(figure)
    caption = opened.caption(entry)
    opened.screenshot(f"{figure}-caption")
    provenance = json.loads((project / f"figures/tiny/{figure}.json").read_text())
    assert " ".join(provenance["caption"].split()) in " ".join(caption.split())
    for finding in claims(project):
        if finding.figure == figure:
            assert finding.statement in caption and finding.withdrawn in caption
            said = f"{finding.shown} · {finding.measured}"
            assert said in caption and finding.remark in caption


def test_everything_that_is_listed_can_be_opened(opened):
    for category in opened.menu():
        opened.category(category)
        for entry in range(len(opened.entries())):
            opened.category(category)
            eye, about = opened.find("//nav//tbody/tr")[entry].find_elements(By.XPATH, ".//a")
            if not eye.get_attribute("download"):
                eye.click()
                opened.wait_for_content()
            about.click()
            wait(opened.driver, opened.rule, "what is said of a result")
    for name in ("Workflow", "Statistics", "About"):
        opened.choose(name)


def test_the_first_page_leads_to_the_categories(opened):
    for category in CATEGORIES.values():
        opened.open()
        opened.click(f"//*[contains(@class, 'prose')]//a[.='{category}']")
        opened.wait_for_results()


def test_the_report_makes_nothing_anew(project):
    assert plan(project) == {}
    assert plan(project, "pages") == {}


def test_the_text_of_the_report_was_understood(project):
    """Where docutils does not understand a caption, it says so in its place."""
    text = (project / REPORT).read_text()
    results = text.partition('<script id="results">')[2].partition("</script>")[0]
    assert '"caption"' in results
    assert "system-message" not in results and "problematic" not in results


def test_without_results_it_says_what_to_do(project, tmp_path):
    copy_project(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    done = report(tmp_path, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "snakemake --cores 2 pages" in done.stderr
    assert not (tmp_path / REPORT).exists()
