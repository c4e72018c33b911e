"""The DVC pipeline as its users run it, in a repository of its own."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from serve.locked import verify
from tests.conftest import Project, make_project

STAGES = ["prepare", "train", "export", "evaluate"]


def stale(project: Project) -> list[str]:
    """Name the stages that `dvc repro` would run because something they read has changed."""
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    changed = {
        stage: [c for c in changes if "changed deps" in c] for stage, changes in status.items()
    }
    return [stage for stage in STAGES if changed.get(stage)]


def test_second_repro_runs_nothing(pipeline: Project) -> None:
    before = pipeline.lock()
    output = pipeline.run("dvc", "repro").stdout
    assert "Running stage" not in output
    assert pipeline.lock() == before


def test_two_clean_clones_give_the_same_bytes(
    pipeline: Project, tmp_path: Path, source: Path, base_model: Path
) -> None:
    other = make_project(tmp_path / "other", source, base_model)
    other.run("dvc", "repro")
    assert list(pipeline.lock()["stages"]) == STAGES
    assert other.lock() == pipeline.lock()


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("prepare", "test", 0.2, ["prepare"]),
        ("train", "lr", 0.001, ["train", "evaluate"]),  # the model card states the recipe
        ("export", "calibration_rows", 40, ["export"]),
        ("evaluate", "bootstrap", 200, ["evaluate"]),
    ],
)
def test_a_changed_param_reruns_its_stages(
    unchanged: Project, section: str, key: str, value: float, expected: list[str]
) -> None:
    params = unchanged.params()
    params[section][key] = value
    unchanged.set_params(params)
    assert stale(unchanged) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("stages/text.py", ["prepare", "train", "evaluate"]),
        ("stages/batches.py", ["train"]),
        ("stages/metrics.py", ["export", "evaluate"]),
        ("serve/classifier.py", ["export", "evaluate"]),
        ("stages/model_card.py", ["evaluate"]),
        ("serve/api.py", []),
    ],
)
def test_a_changed_module_reruns_its_stages(
    unchanged: Project, module: str, expected: list[str]
) -> None:
    with (unchanged.folder / module).open("a") as file:
        file.write("# changed\n")
    assert stale(unchanged) == expected


def test_experiment_with_another_learning_rate(unchanged: Project) -> None:
    unchanged.run("dvc", "exp", "run", "-S", "train.lr=2e-3", "-S", "train.epochs=1", "--name", "x")
    shown = json.loads(unchanged.run("dvc", "exp", "show", "--json").stdout)
    (experiment,) = shown[1]["experiments"]
    data = experiment["revs"][0]["data"]
    assert experiment["name"] == "x"
    assert data["params"]["params.yaml"]["data"]["train"]["lr"] == pytest.approx(0.002)
    metrics = data["metrics"]["models/metrics.json"]["data"]
    assert 0 < metrics["accuracy"] < 1
    unchanged.run("git", "checkout", "--quiet", "--force", "HEAD", "--", ".")
    unchanged.run("dvc", "checkout", "--quiet")


def test_plots_and_artifact_are_there(pipeline: Project) -> None:
    shown = json.loads(pipeline.run("dvc", "plots", "show", "--json").stdout)
    assert "errors" not in shown
    assert sorted(shown["data"]) == [
        "Calibration",
        "Confusion",
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
