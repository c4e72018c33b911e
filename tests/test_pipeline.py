"""The DVC pipeline as its users run it, in a repository of its own."""

import json
from collections.abc import Iterator

import pytest
from ruamel.yaml import YAML

from locked.manifest import verify
from tests.conftest import Project

STAGES = ["prepare", "distill", "train", "export", "lock", "evaluate"]


@pytest.fixture
def edited(pipeline: Project) -> Iterator[Project]:
    """The shared project, whose sources are put back afterwards; no stage may be run."""
    yield pipeline
    pipeline.run("git", "checkout", "--quiet", "HEAD", "--", ".")


def stale(project: Project) -> list[str]:
    """Name the stages that `dvc repro` would run because something they read has changed."""
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    changed = {
        stage: [c for c in changes if "changed deps" in c] for stage, changes in status.items()
    }
    return [stage for stage in STAGES if changed.get(stage)]


def test_second_repro_runs_nothing(pipeline: Project) -> None:
    before = pipeline.lock()
    assert list(before["stages"]) == STAGES
    output = pipeline.run("dvc", "repro").stdout
    assert "Running stage" not in output
    assert pipeline.lock() == before


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("prepare", "test", 0.2, ["prepare"]),
        ("distill", "weight", 0.25, ["distill"]),
        ("train", "lr", 0.001, ["train", "evaluate"]),  # the model card states the recipe
        ("export", "calibration_rows", 40, ["export"]),
        ("lock", "labels", "event.csv", ["lock"]),
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
    assert stale(edited) == expected


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
    assert stale(edited) == expected


def test_plots_and_artifact_are_there(pipeline: Project) -> None:
    shown = json.loads(pipeline.run("dvc", "plots", "show", "--json").stdout)
    assert "errors" not in shown
    assert sorted(shown["data"]) == [
        "Calibration",
        "Confusion",
        "Gradient norm",
        "Learning rate",
        "Precision and recall",
        "ROC",
        "Training loss",
        "Validation accuracy",
    ]
    artifact = YAML(typ="safe").load(pipeline.folder / "dvc.yaml")["artifacts"]["classifier"]
    assert artifact["type"] == "model"
    assert verify(pipeline.folder / artifact["path"]).labels == ("not_disaster", "disaster")


def test_bad_params_stop_the_pipeline_by_name(unchanged: Project) -> None:
    params = unchanged.params()
    params["train"]["lr"] = "fast"
    params["train"]["momentum"] = 0.9
    unchanged.set_params(params)
    done = unchanged.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "train.lr" in done.stderr
    assert "train.momentum" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_source_stops_the_pipeline_by_name(unchanged: Project) -> None:
    params = unchanged.params()
    params["prepare"]["source"] = "data/nowhere.csv"
    unchanged.set_params(params)
    done = unchanged.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "data/nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr
