"""Experiments in the ways that DVC runs and shows them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Project, copied
from tests.experiments.conftest import commit, queue_is_empty
from tests.serve.running import wait_until

SECTIONS = [
    "prepare.source=data/other.csv",
    "distill.weight=0.25",
    "train.epochs=1",
    "runtime.checkpoint_steps=7",
    "export.calibration_rows=40",
    "evaluate.bootstrap=150",
    "promote.margin=0.02",
]
PLOTS = 8


def experiments(project: Project) -> dict[str, dict[str, Any]]:
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    return {
        experiment["name"]: experiment["revs"][0]["data"] for experiment in shown[1]["experiments"]
    }


def state(project: Project) -> tuple[str, str]:
    """What a failed experiment must leave as it was."""
    status = project.run("git", "status", "--porcelain").stdout
    return status, project.run("dvc", "status").stdout


@pytest.fixture(scope="module")
def lab(pipeline: Project, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with experiments that two workers ran from the queue."""
    project = copied(pipeline, tmp_path_factory.mktemp("lab") / "project")
    lines = source.read_text().splitlines(keepends=True)
    other = project.folder.parent / "other.csv"
    other.write_text("".join(lines[:800]))
    project.run("dvc", "import-url", str(other), "data/other.csv")
    commit(project, "other tweets")
    sets = [f"--set-param={override}" for override in SECTIONS]
    project.run("dvc", "exp", "run", "--queue", "--name", "all", *sets)
    project.run(
        *("dvc", "exp", "run", "--queue", "--name", "train"),
        *("-S", "train.lr=4e-3", "-S", "train.epochs=1"),
    )
    project.run("dvc", "exp", "run", "--queue", "--name", "bad", "-S", "train.lr=2")
    before = state(project)
    log = project.folder.parent / "queue.log"
    project.run("bash", "-c", f"dvc queue start --jobs 2 > {log} 2>&1")
    done = wait_until(lambda: queue_is_empty(project))
    assert done, project.run("dvc", "queue", "status").stdout
    assert state(project) == before
    return project


def test_every_section_can_be_varied(lab: Project) -> None:
    found = experiments(lab)
    assert found.keys() >= {"all", "train"}
    for override in SECTIONS:
        key, _, value = override.partition("=")
        section, _, last = key.partition(".")
        assert str(found["all"]["params"]["params.yaml"]["data"][section][last]) == value
    for name in ("all", "train"):
        assert 0 <= found[name]["metrics"]["models/metrics.json"]["data"]["accuracy"] <= 1
    assert found["all"]["deps"]["data/other.csv"]["hash"]
    models = {name: found[name]["outs"]["models/classifier"]["hash"] for name in found}
    assert len(set(models.values())) == len(models)


def test_one_that_fails_says_why(lab: Project) -> None:
    status = lab.run("dvc", "queue", "status").stdout
    assert [line.split()[-1] for line in status.splitlines() if " bad " in line] == ["Failed"]
    assert "train.lr: Input should be less than 1" in lab.run("dvc", "queue", "logs", "bad").stdout


def test_the_table_fits_a_terminal(lab: Project) -> None:
    here = r"|(distill|export|runtime|prepare|evaluate|promote)\..*"  # few vary them all at once
    (command,) = re.findall(
        r"^dvc exp show .*(?=')", (ROOT / "docs/experiments.md").read_text(), re.M
    )
    table = lab.run("bash", "-c", f"COLUMNS=100 {command}{here}'").stdout
    assert "…" not in table, table
    lines = table.splitlines()
    assert max(map(len, lines)) <= 100
    for column in ("accuracy", "validation_log_loss", "train.lr", "train.epochs"):
        assert any(column in line for line in lines), table


def test_two_are_told_apart(lab: Project) -> None:
    differing = json.loads(lab.run("dvc", "exp", "diff", "HEAD", "train", "--json").stdout)
    assert differing["params"]["params.yaml"] == {
        "train.lr": {"old": 0.003, "new": 0.004, "diff": pytest.approx(0.001)},
        "train.epochs": {"old": 4, "new": 1, "diff": -3},
    }
    assert "validation_log_loss" in differing["metrics"]["models/metrics.json"]
    plots = json.loads(lab.run("dvc", "plots", "diff", "HEAD", "train", "--json").stdout)
    assert "errors" not in plots
    assert len(plots["data"]) == PLOTS
    for title, (plot,) in plots["data"].items():
        drawn = {row["rev"] for row in plot["content"]["data"]["values"]}
        assert drawn == {"HEAD", "train"}, title


def test_one_becomes_the_workspace_or_a_branch(lab: Project) -> None:
    figures = experiments(lab)["train"]["metrics"]["models/metrics.json"]["data"]
    lab.run("dvc", "exp", "apply", "train")
    assert lab.params()["train"]["lr"] == 0.004
    assert json.loads((lab.folder / "models/metrics.json").read_text()) == figures
    assert "Data and pipelines are up to date" in lab.run("dvc", "status").stdout
    params = lab.params()
    params["evaluate"]["minimum"]["f1"] = 0.01
    lab.set_params(params)
    lab.run("dvc", "exp", "save", "--name", "saved")
    kept = experiments(lab)["saved"]["params"]["params.yaml"]["data"]
    assert (kept["train"]["lr"], kept["evaluate"]["minimum"]["f1"]) == (0.004, 0.01)
    lab.run("git", "checkout", "--quiet", "--force", "HEAD", "--", ".")
    lab.run("dvc", "checkout", "--quiet")
    lab.run("dvc", "exp", "branch", "train", "fast")
    assert "lr: 0.004" in lab.run("git", "show", "fast:params.yaml").stdout


def test_an_experiment_apart_leaves_the_workspace(lab: Project) -> None:
    before = state(lab)
    done = lab.run("dvc", "exp", "run", "--temp", "--set-param=train.lr=fast", check=False)
    assert done.returncode != 0
    assert "train.lr" in done.stdout + done.stderr
    assert state(lab) == before
    lab.run("dvc", "exp", "run", "--temp", "--name", "apart", "-S", "evaluate.bootstrap=120")
    assert state(lab) == before
    assert "apart" in experiments(lab)


def test_an_earlier_version_of_the_data_comes_back_by_git(project: Project) -> None:
    lock = project.lock()
    tweets = project.folder / "data/tweets.csv"
    tweets.write_text("".join(tweets.read_text().splitlines(keepends=True)[:900]))
    project.run("dvc", "repro", "prepare")
    assert project.lock()["stages"]["prepare"] != lock["stages"]["prepare"]
    commit(project, "fewer tweets")
    project.run("git", "checkout", "--quiet", "HEAD~1", "--", "data/tweets.csv")
    output = project.run("dvc", "repro").stdout
    assert "Running stage" not in output  # all of it was kept
    assert project.lock() == lock
