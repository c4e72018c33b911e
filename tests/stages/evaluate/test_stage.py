"""Judging the locked model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from locked.classifier import calibrate
from locked.manifest import verify
from stages.evaluate.metrics import Truth, calibration_error, compute
from stages.evaluate.stage import (
    MISTAKES,
    baseline_scores,
    describe_unseen_event,
    evaluate,
    model_card,
    slice_metrics,
    worst_mistakes,
)
from stages.params import Params
from tests.conftest import Project


@pytest.fixture(scope="module")
def truth(pipeline: Project) -> Truth:
    return pd.read_parquet(pipeline.folder / "data/prepared/test.parquet")["target"].to_numpy()


@pytest.fixture(scope="module")
def report(pipeline: Project) -> dict[str, Any]:
    return dict(json.loads((pipeline.folder / "models/report.json").read_text()))


@pytest.fixture(scope="module")
def card(pipeline: Project) -> str:
    return (pipeline.folder / "models/evaluation/model_card.md").read_text()


def test_the_report_is_of_the_stored_answers(
    pipeline: Project, truth: Truth, report: dict[str, Any]
) -> None:
    predictions = pd.read_csv(pipeline.folder / "models/evaluation/predictions.csv")
    probabilities = predictions["probability"].to_numpy()
    manifest = verify(pipeline.folder / "models/classifier")
    answers = np.load(pipeline.folder / "models/answers.npy")
    assert probabilities == pytest.approx(calibrate(answers, manifest.calibration), abs=1e-6)
    expected = compute(truth, probabilities, report["threshold"])
    assert report["test"] == pytest.approx(expected, abs=1e-6)
    assert report["rows"] == len(truth)
    metrics = json.loads((pipeline.folder / "models/metrics.json").read_text())
    assert metrics == {
        "passed": True,
        **{name: report["test"][name] for name in ("accuracy", "f1", "roc_auc", "log_loss")},
        "validation_log_loss": manifest.metrics["log_loss"],
    }
    assert report["test"].keys() == report["interval_95"].keys() == report["baseline"].keys()
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss"):
        low, high = report["interval_95"][name]
        assert low < report["test"][name] < high


def test_calibration_is_shown_before_and_after(
    pipeline: Project, truth: Truth, report: dict[str, Any], card: str
) -> None:
    error = calibration_error(truth, np.load(pipeline.folder / "models/answers.npy"))
    before, after = report["uncalibrated"]["test"], report["test"]
    assert before["calibration_error"] == pytest.approx(error)
    for name, figures in (("uncalibrated", before), ("calibrated", after)):
        table = pd.read_csv(pipeline.folder / f"models/evaluation/plots/{name}.csv")
        gap = (table["predicted"] - table["observed"]).abs() * table["tweets"]
        assert gap.sum() / len(truth) == pytest.approx(figures["calibration_error"], abs=1e-6)
        row = table.iloc[-1]
        assert f"| {row.tweets:.0f} | {row.predicted:.2f} | {row.observed:.2f} |" in card


def test_the_baseline_learns_words() -> None:
    train = pd.DataFrame(
        {"text": ["flood in town", "cake at home", "flood at night", "cake in bed"] * 5}
    ).assign(target=[1, 0, 1, 0] * 5)
    flood, cake = baseline_scores(train, pd.Series(["the flood", "my cake"]))
    assert flood > 0.8 > 0.2 > cake


def test_a_slice_counts_its_own_rows() -> None:
    test = pd.DataFrame(
        {
            "text": ["see https://t.example/1"] * 10 + ["#tag"] * 20,
            "keyword": [""] * 10 + ["fire"] * 12 + [f"of one tweet {i}" for i in range(8)],
            "target": [1] * 10 + [0] * 20,
        }
    )
    scores = np.array([0.9] * 5 + [0.1] * 25)
    slices = {(s["slice"], s["value"]): s for s in slice_metrics(test, scores, 0.5)}
    figures = {key: (s["rows"], s["accuracy"]) for key, s in slices.items()}
    assert figures == {
        ("link", "with"): (10, 0.5),
        ("link", "without"): (20, 1),
        ("hashtag", "with"): (20, 1),
        ("hashtag", "without"): (10, 0.5),
        ("length", "below 50"): (30, 25 / 30),
        ("keyword", "none"): (10, 0.5),
        ("keyword", "any"): (20, 1),
        ("keyword", "fire"): (12, 1),
    }


def test_the_worst_mistakes_come_first() -> None:
    test = pd.DataFrame({"text": list("abcd"), "target": [1, 1, 0, 0]})
    worst = worst_mistakes(test, np.array([0.4, 0.05, 0.9, 0.2]), 0.5)
    assert worst["text"].tolist() == ["b", "c", "a"]
    many = pd.DataFrame({"text": "a", "target": [1] * 50})
    assert len(worst_mistakes(many, np.zeros(50), 0.5)) == MISTAKES


def test_a_minimum_not_reached_is_not_passed_and_an_altered_model_not_judged(
    pipeline: Project, p: Params, classifier_folder: Path, tmp_path: Path
) -> None:
    minimum = p.evaluate.minimum.model_copy(update={"roc_auc": 1.0})
    p = p.model_copy(update={"evaluate": p.evaluate.model_copy(update={"minimum": minimum})})
    inputs = pipeline.folder / "models/answers.npy", pipeline.folder / "data/prepared"
    assert evaluate(classifier_folder, *inputs, tmp_path / "out", p)["passed"] is False
    card = (tmp_path / "out/model_card.md").read_text()
    assert "**does not reach** the minimums" in card
    assert "roc_auc 1.0." in card
    (classifier_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.json has been altered"):
        evaluate(classifier_folder, *inputs, tmp_path / "none", p)
    assert not (tmp_path / "none").exists()


def test_the_second_line_is_of_an_unseen_event(report: dict[str, Any], card: str) -> None:
    line = card.splitlines()[3]
    assert line == report["unseen_event"]
    assert "between 0.18 and 0.82 in two thirds of events" in line
    by_group = describe_unseen_event(report["test"], {"by": "group", "column": "file"})
    right = f"right in {report['test']['accuracy']:.1%}"
    assert f"On groups (file) that it has not seen it is {right}" in by_group


def test_the_model_card_shows_the_figures_and_an_adaptation(
    pipeline: Project, p: Params, report: dict[str, Any], card: str
) -> None:
    low, high = report["interval_95"]["accuracy"]
    value, baseline = report["test"]["accuracy"], report["baseline"]["accuracy"]
    assert f"| accuracy | {value:.3f} | {low:.3f} to {high:.3f} | {baseline:.3f} |" in card
    robustness = pd.read_csv(pipeline.folder / "models/evaluation/robustness.csv")
    row = robustness.set_index("change").loc["upper case"]
    assert f"| upper case | {row.tweets} | {row.share:.1%} |" in card
    manifest = verify(pipeline.folder / "models/classifier")
    assert card.startswith(f"# Model card: disaster-tweets {manifest.version}\n")
    assert "chosen on the validation split" in card
    assert "## Adapted to an event" not in card
    adaptation = {"labels": "storm.csv", "labels_sha256": "0" * 64, "tweets": 40}
    adapted = manifest.model_validate(manifest.model_dump() | {"adaptation": adaptation})
    names = ("plots/uncalibrated", "plots/calibrated", "slices", "robustness")
    card = model_card(adapted, report, dict.fromkeys(names, pd.DataFrame({"test": []})), p)
    assert "has also learnt 40 labelled tweets of `storm.csv`" in card
    assert "chosen on the validation split" in card


def test_the_model_card_says_whether_unseen_groups_are_allowed_for(
    pipeline: Project, p: Params, report: dict[str, Any]
) -> None:
    frames = dict.fromkeys(
        ("plots/uncalibrated", "plots/calibrated", "slices", "robustness"),
        pd.DataFrame({"test": []}),
    )
    grouped = report | {
        "data": report["data"] | {"split": report["data"]["split"] | {"by": "group"}}
    }
    manifest = verify(pipeline.folder / "models/classifier")
    card = model_card(manifest, grouped, frames, p)
    assert "calibration is corrected for unseen groups" in card
    assert "fixed for unseen groups" in card
    adaptation = {"labels": "storm.csv", "labels_sha256": "0" * 64, "tweets": 40}
    adapted = manifest.model_validate(manifest.model_dump() | {"adaptation": adaptation})
    card = model_card(adapted, grouped, frames, p)
    assert "is not corrected for unseen groups" in card
    assert "chosen on the validation split" in card
