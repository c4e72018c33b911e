"""The report of a run, alone and beside another commit."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.conftest import Project, copied
from tests.experiments.conftest import commit

PLOTS = 4  # of eight: the learning curves are in the DVC cache, which this clone has not


def report(project: Project, *arguments: str) -> tuple[int, str]:
    done = project.run("python", "-m", "experiments.report", *arguments, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def page(project: Project) -> str:
    return (project.folder / "models/report.html").read_text()


@pytest.fixture(scope="module")
def two(pipeline: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with the run of main and another on a branch, and without DVC's data."""
    project = copied(pipeline, tmp_path_factory.mktemp("two") / "project")
    project.run("git", "checkout", "--quiet", "-b", "other")
    project.run("dvc", "exp", "run", "-S", "train.lr=5e-4", "-S", "train.epochs=2")
    commit(project, "slower")
    clone = project.folder.with_name("clone")
    project.run("git", "clone", "--quiet", "--branch", "other", str(project.folder), str(clone))
    other = Project(clone, clone.with_name("clone-site-cache"))
    other.run("git", "branch", "main", "origin/main")
    return other


def test_what_a_reviewer_wants_to_know(two: Project) -> None:
    code, said = report(two, "main", "--comment", "comment.md")
    assert code == 0, said
    comment = (two.folder / "comment.md").read_text()
    mine = json.loads((two.folder / "models/report.json").read_text())["test"]
    main = json.loads(two.run("git", "show", "main:models/report.json").stdout)["test"]
    change = f"{mine['log_loss'] - main['log_loss']:+.4f}"
    assert f"| {mine['log_loss']:.4f} |" in comment
    assert f"| {main['log_loss']:.4f} | {change} |\n" in comment
    assert "| `train.lr` | 0.0005 | 0.003 |" in comment
    said_points = re.search(r"against main: ([+-][\d.]+) points \(95 %", comment)
    assert said_points
    assert float(said_points[1]) == pytest.approx(
        100 * (mine["accuracy"] - main["accuracy"]), abs=0.01
    )
    assert "stale" not in comment
    assert comment.count("```mermaid") == 1
    lines = re.findall(r"line \[(.*)\]", comment)
    assert len(lines) == 2
    assert lines[0].split(", ")[-1] == "1.0000"  # ROC ends at (1, 1)
    assert len(comment) < 65_536  # of GitHub
    (two.folder / "comment.md").unlink()


def test_the_page_needs_nothing_else(two: Project, browser: Browser) -> None:
    assert report(two, "main")[0] == 0
    html = page(two)
    assert html.count("<svg") == PLOTS
    assert not re.search(r"""(src|href)=["']?http""", html.replace("http://www.w3.org", ""))
    assert "<script" not in html
    lock = two.lock()["stages"]["lock"]["outs"][1]["md5"]
    for words in ("Slices", "Worst mistakes", "Model card", lock, "train.lr", "TF-IDF", "merged"):
        assert words in html
    sheet = browser.new_page(viewport={"width": 1000, "height": 800})
    sheet.goto(f"file://{two.folder}/models/report.html")
    assert sheet.locator("h2").count() >= 8
    assert sheet.locator("figure svg").first.bounding_box()
    assert sheet.evaluate("document.documentElement.scrollWidth") <= 1000
    sheet.emulate_media(media="print")
    sheet.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins
    cut = "tables => tables.filter(table => table.scrollWidth > table.clientWidth).length"
    assert sheet.locator(".wide").evaluate_all(cut) == 0
    sheet.close()


def test_a_stale_lock_is_said(two: Project) -> None:
    params = two.folder / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("lr: 0.0005", "lr: 0.0007"))
    try:
        assert report(two, "main", "--comment", "comment.md")[0] == 0
        comment = (two.folder / "comment.md").read_text()
        assert "**dvc.lock is stale**" in comment
        assert "train: params.yaml: train is modified" in comment
        assert "dvc.lock is stale" in page(two)
        assert "Not committed: params.yaml" in page(two)
    finally:
        params.write_text(text)
        (two.folder / "comment.md").unlink()


def test_another_test_split_is_no_like_for_like(two: Project) -> None:
    predictions = two.folder / "models/evaluation/predictions.csv"
    text = predictions.read_text()
    predictions.write_text("".join(text.splitlines(keepends=True)[:-1]))
    card = two.folder / "models/evaluation/model_card.md"
    card_text = card.read_text()
    card.write_text(f"{card_text}\n<img src=http://example.com>\n")  # as a keyword may be
    try:
        assert report(two, "main", "--comment", "comment.md")[0] == 0
        assert "no like-for-like" in (two.folder / "comment.md").read_text()
        assert "no like-for-like" in page(two)
        assert "<img" not in page(two)
    finally:
        card.write_text(card_text)
        predictions.write_text(text)
        (two.folder / "comment.md").unlink()


def test_alone_and_without_a_run(two: Project, tmp_path: Path) -> None:
    code, said = report(two)
    assert (code, said.startswith("models/report.html\n")) == (0, True), said
    assert page(two).count("<svg") == PLOTS
    assert "Before" not in page(two)
    assert report(two, "nowhere") == (1, "error: git: fatal: bad revision 'nowhere'\n")
    assert "--comment" in report(two, "--comment", str(tmp_path / "c.md"))[1]
    figures = two.folder / "models/report.json"
    text = figures.read_text()
    figures.unlink()
    try:
        code, said = report(two)
        assert (code, "models/report.json is missing: run `dvc repro`" in said) == (1, True)
    finally:
        figures.write_text(text)
