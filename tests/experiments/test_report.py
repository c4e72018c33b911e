"""The report of a run, alone and beside another commit."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Project, copied
from tests.experiments.conftest import Call, commit, dvc, set_lr

PLOTS = 4  # of eight: the learning curves are in DVC's cache, which this clone lacks
PREDICTIONS = Path("models/evaluation/predictions.csv")


@pytest.fixture(scope="module")
def clone(pipeline: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with the run of main and a worse one on a branch, without the data of DVC."""
    project = copied(pipeline, tmp_path_factory.mktemp("two") / "project")
    project.run("git", "checkout", "--quiet", "-b", "other")
    set_lr(project, 0.0005)
    predictions = pd.read_csv(project.folder / PREDICTIONS)
    predictions.loc[:9, "probability"] = 1.0 - predictions.loc[:9, "target"]  # ten wrong answers
    predictions.to_csv(project.folder / PREDICTIONS, index=False)
    figures = project.folder / "models/metrics.json"
    figures.write_text(json.dumps(json.loads(figures.read_text()) | {"log_loss": 0.9}))
    dvc(project, "commit", "--force")  # as if that were the outcome of a run
    commit(project, "other")
    folder = project.folder.with_name("clone")
    project.run("git", "clone", "--quiet", "--branch", "other", str(project.folder), str(folder))
    clone = Project(folder, folder.with_name("clone-site-cache"))
    clone.run("git", "branch", "main", "origin/main")
    return clone


@pytest.fixture
def two(clone: Project) -> Iterator[Project]:
    yield clone
    clone.run("git", "checkout", "--quiet", "--force", "HEAD", "--", ".")
    clone.run("git", "clean", "--quiet", "--force")


def page(project: Project) -> str:
    return (project.folder / "models/report.html").read_text()


def test_the_differences_and_a_paired_interval(two: Project, call: Call) -> None:
    call(two, "report", "main", "--comment", "comment.md")
    comment = (two.folder / "comment.md").read_text()
    before = json.loads(two.run("git", "show", "main:models/metrics.json").stdout)["log_loss"]
    assert f"| log_loss | {before:.4g} | 0.9 | {0.9 - before:.4g} |" in comment
    assert "| train.lr | 0.003 | 0.0005 | -0.0025 |" in comment
    gain = re.search(r"against main: ([+-][\d.]+) points \(95 % (\S+) to (\S+)\)", comment)
    assert gain
    assert float(gain[2]) < float(gain[1]) < 0, "ten answers are wrong now"
    assert float(gain[1]) < float(gain[3])
    assert "stale" not in comment
    assert len(comment) < 65_536, "GitHub takes no longer comment"
    html = page(two)  # needs nothing else
    assert html.count("<svg") == PLOTS
    assert not re.search(r"""(src|href)=["']?http""", html.replace("http://www.w3.org", ""))
    assert "<script" not in html
    for words in ("Model card", "train.lr", "baseline"):
        assert words in html


def test_what_makes_a_comparison_wrong_is_said(two: Project, call: Call) -> None:
    set_lr(two, 0.0007)
    predictions = two.folder / PREDICTIONS
    predictions.write_text("".join(predictions.read_text().splitlines(keepends=True)[:-1]))
    card = two.folder / "models/evaluation/model_card.md"
    card.write_text(f"{card.read_text()}\n<img src=http://example.com>\n")  # as a keyword may be
    call(two, "report", "main", "--comment", "comment.md")
    for text in ((two.folder / "comment.md").read_text(), page(two)):
        assert "dvc.lock is stale" in text
        assert "train: params.yaml: train is modified" in text
        assert "Not committed: " in text
        assert "main lacks answers to these test tweets: metrics are not comparable" in text
    assert "<img" not in page(two)


def test_alone_and_without_a_run(two: Project, call: Call) -> None:
    assert "models/report.html\n" in call(two, "report")
    assert page(two).count("<svg") == PLOTS
    assert "compared with" not in page(two)
    assert call(two, "report", "nowhere", status=1).endswith("git: fatal: bad revision 'nowhere'")
    assert "--comment: name the commit" in call(two, "report", "--comment", "c.md", status=2)
    (two.folder / "models/report.json").unlink()
    assert "models/report.json is missing: run `dvc repro`" in call(two, "report", status=1)
