"""The DVC pipeline as its users run it, in a repository of its own."""

import json
from collections.abc import Iterator

import pytest
from dvc.repo import Repo

from tests.conftest import Project

STAGES = ["prepare", "distill", "train", "export", "evaluate"]


@pytest.fixture
def edited(pipeline: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The shared project, whose sources are put back afterwards; no stage may be run."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(pipeline.site_cache))
    monkeypatch.chdir(pipeline.folder)
    yield pipeline
    pipeline.run("git", "checkout", "--quiet", "HEAD", "--", ".")


def stale_stages() -> list[str]:
    """Name the stages that `dvc repro` would run because something they read has changed."""
    with Repo() as repo:
        status = repo.status()
    assert not status.keys() - {*STAGES}
    return [s for s in STAGES if any("changed deps" in change for change in status.get(s, []))]


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("prepare", "test", 0.2, ["prepare"]),
        ("distill", "weight", 0.25, ["distill"]),
        ("train", "lr", 0.001, ["train", "evaluate"]),  # the model card states the recipe
        ("export", "calibration_rows", 40, ["export"]),
        ("evaluate", "bootstrap", 200, ["evaluate"]),
        ("runtime", "checkpoint_steps", 7, []),
        ("runtime", "wandb", "tweets", []),
    ],
)
def test_a_changed_param_reruns_its_stages(
    edited: Project, section: str, key: str, value: object, expected: list[str]
) -> None:
    params = edited.params()
    params[section][key] = value
    edited.set_params(params)
    assert stale_stages() == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("locked/text.py", STAGES),
        ("stages/shared/arithmetic.py", STAGES),
        ("stages/train/trainer.py", ["train"]),
        ("stages/evaluate/robustness.py", ["evaluate"]),
        ("stages/params.py", []),  # types; the values are params of the stages
        ("common/progress.py", []),
        ("serve/routes.py", []),
    ],
)
def test_a_changed_module_reruns_its_stages(
    edited: Project, module: str, expected: list[str]
) -> None:
    path = edited.folder / module
    path.write_text(path.read_text() + "# changed\n")
    assert stale_stages() == expected


def test_a_second_repro_runs_nothing_and_all_plots_are_there(edited: Project) -> None:
    with Repo() as repo:
        assert repo.reproduce() == []
    shown = json.loads(edited.run("dvc", "plots", "show", "--json").stdout)
    assert "errors" not in shown
    assert len(shown["data"]) == 8


def test_bad_params_stop_the_pipeline_by_name(unchanged: Project) -> None:
    params = unchanged.params()
    params["train"] |= {"lr": "fast", "momentum": 0.9}
    unchanged.set_params(params)
    process = unchanged.run("dvc", "repro", check=False)
    assert process.returncode != 0
    assert "train.lr" in process.stderr
    assert "train.momentum" in process.stderr
    assert "Traceback" not in process.stderr
