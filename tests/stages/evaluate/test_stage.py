"""Judging the locked model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from locked.classifier import TOLERANCE, Classifier
from stages import params
from stages.evaluate.metrics import calibration_error, compute
from stages.evaluate.stage import (
    MISTAKES,
    baseline_scores,
    evaluate,
    model_card,
    slice_metrics,
    unseen_event,
    worst_mistakes,
)
from tests.conftest import Project


@pytest.fixture(scope="module")
def test_split(pipeline: Project) -> pd.DataFrame:
    return pd.read_parquet(pipeline.folder / "data/prepared/test.parquet")


@pytest.fixture(scope="module")
def report(pipeline: Project) -> dict[str, Any]:
    return dict(json.loads((pipeline.folder / "models/report.json").read_text()))


def test_the_report_is_of_the_stored_answers(
    pipeline: Project, test_split: pd.DataFrame, report: dict[str, Any]
) -> None:
    predictions = pd.read_csv(pipeline.folder / "models/evaluation/predictions.csv")
    probabilities = predictions["probability"]
    classifier = Classifier(pipeline.folder / "models/classifier")
    served = classifier.probabilities(test_split["text"].tolist())
    by = classifier.manifest.calibration.scale
    assert np.abs(probabilities - served).max() < TOLERANCE * by
    truth = test_split["target"].to_numpy()
    expected = compute(truth, probabilities.to_numpy(), report["threshold"])
    assert report["test"] == pytest.approx(expected, abs=1e-6)
    assert report["rows"] == len(truth)
    metrics = json.loads((pipeline.folder / "models/metrics.json").read_text())
    assert metrics == {
        "passed": True,
        **{name: report["test"][name] for name in ("accuracy", "f1", "roc_auc", "log_loss")},
        "validation_log_loss": classifier.manifest.metrics["log_loss"],
    }


def test_every_figure_has_an_interval_and_a_baseline(report: dict[str, Any]) -> None:
    assert report["test"].keys() == report["interval_95"].keys() == report["baseline"].keys()
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss"):
        low, high = report["interval_95"][name]
        assert low < report["test"][name] < high


def test_calibration_is_shown_before_and_after(
    pipeline: Project, test_split: pd.DataFrame, report: dict[str, Any]
) -> None:
    truth = test_split["target"].to_numpy()
    error = calibration_error(truth, np.load(pipeline.folder / "models/answers.npy"))
    before, after = report["uncalibrated"]["test"], report["test"]
    assert before["calibration_error"] == pytest.approx(error)
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
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
            "keyword": [""] * 10 + ["fire"] * 12 + [""] * 8,
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
        ("keyword", "none"): (18, 13 / 18),
        ("keyword", "any"): (12, 1),
        ("keyword", "fire"): (12, 1),
    }


def test_keywords_of_one_tweet_each_are_no_slices() -> None:
    count = 10_000
    test = pd.DataFrame({"text": "a", "keyword": [f"tag {i}" for i in range(count)], "target": 1})
    slices = [(s["slice"], s["value"]) for s in slice_metrics(test, np.ones(count), 0.5)]
    assert [value for name, value in slices if name == "keyword"] == ["any"]


def test_the_worst_mistakes_come_first() -> None:
    test = pd.DataFrame({"text": list("abcd"), "target": [1, 1, 0, 0]})
    worst = worst_mistakes(test, np.array([0.4, 0.05, 0.9, 0.2]), 0.5)
    assert worst["text"].tolist() == ["b", "c", "a"]
    many = pd.DataFrame({"text": "a", "target": [1] * 50})
    assert len(worst_mistakes(many, np.zeros(50), 0.5)) == MISTAKES


def judge(pipeline: Project, classifier: Path, output: Path, **minimum: float) -> dict[str, Any]:
    folder = pipeline.folder
    values = params.load(folder / "params.yaml").model_dump()
    values["evaluate"]["minimum"] |= minimum
    p = params.parse(values, folder)
    return evaluate(classifier, folder / "models/answers.npy", folder / "data/prepared", output, p)


def test_a_minimum_not_reached_is_not_passed(pipeline: Project, tmp_path: Path) -> None:
    report = judge(pipeline, pipeline.folder / "models/classifier", tmp_path / "out", roc_auc=1.0)
    assert report["passed"] is False
    card = (tmp_path / "out/model_card.md").read_text()
    assert "**does not reach** the minimums" in card
    assert "roc_auc 1.0." in card


def test_the_second_line_is_of_an_unseen_event(pipeline: Project, report: dict[str, Any]) -> None:
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    line = card.splitlines()[3]
    assert line == report["unseen_event"]
    assert "its probabilities do not hold" in line
    assert "0.5 means something from 0.18 to 0.82" in line
    by_group = unseen_event(report["test"], {"by": "group", "column": "file"})
    right = f"right in {report['test']['accuracy']:.1%}"
    assert f"On groups (file) that it has not seen it is {right}" in by_group


def test_an_altered_model_is_not_judged(
    classifier_folder: Path, pipeline: Project, tmp_path: Path
) -> None:
    (classifier_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.json has been altered"):
        judge(pipeline, classifier_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_model_card_shows_the_figures_and_an_adaptation(
    pipeline: Project, report: dict[str, Any]
) -> None:
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    low, high = report["interval_95"]["accuracy"]
    value, baseline = report["test"]["accuracy"], report["baseline"]["accuracy"]
    assert f"| accuracy | {value:.3f} | {low:.3f} to {high:.3f} | {baseline:.3f} |" in card
    manifest = Classifier(pipeline.folder / "models/classifier").manifest
    assert card.startswith(f"# Model card: disaster-tweets {manifest.version}\n")
    assert "chosen on the validation split" in card
    assert "## Adapted to an event" not in card
    spans = {"before_95": (0.4, 0.6), "after_95": (0.7, 0.8), "difference_95": (0.1, 0.3)}
    change = {"before": 0.5, "after": 0.75, **spans}
    labels = {"labels": "storm.csv", "labels_sha256": "0" * 64, "tweets": 40, "auc": 0.875}
    step = {"step": "calibration", "reason": "it is the best"}
    adaptation = {**labels, **step, "on_labels": {"log_loss": change}, "on_test": {}}
    adapted = manifest.model_validate(manifest.model_dump() | {"adaptation": adaptation})
    names = ("plots/uncalibrated", "plots/calibrated", "slices", "robustness")
    p = params.load(pipeline.folder / "params.yaml")
    card = model_card(adapted, report, dict.fromkeys(names, pd.DataFrame({"test": []})), p)
    row = "| log loss | 0.500 | 0.400 to 0.600 | 0.750 | 0.700 to 0.800 | +0.100 to +0.300 |"
    for words in ("`storm.csv` (40 labelled", "**calibration**", "0.875", row, "event's labels"):
        assert words in card
