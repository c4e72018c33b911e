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
from stages.evaluate.metrics import calibration_error
from stages.evaluate.stage import MISTAKES, baseline_scores, evaluate, slice_metrics, worst_mistakes
from stages.shared import onnx_reference
from stages.shared.params import Compute
from tests.conftest import Project

EXACT = Compute(exact=True, threads=2)


@pytest.fixture(scope="module")
def test_split(pipeline: Project) -> pd.DataFrame:
    return pd.read_parquet(pipeline.folder / "data/prepared/test.parquet")


@pytest.fixture(scope="module")
def report(pipeline: Project) -> dict[str, Any]:
    return dict(json.loads((pipeline.folder / "models/report.json").read_text()))


def test_the_report_is_of_the_answers_that_define_the_model(
    pipeline: Project, test_split: pd.DataFrame, report: dict[str, Any]
) -> None:
    classifier = onnx_reference.classifier(pipeline.folder / "models/classifier", EXACT)
    said = classifier.probabilities(test_split["text"].tolist()) >= classifier.manifest.threshold
    assert report["test"]["accuracy"] == (said == test_split["target"]).mean()
    assert report["rows"] == len(test_split)
    metrics = json.loads((pipeline.folder / "models/metrics.json").read_text())
    assert metrics == {
        "passed": True,
        **{name: report["test"][name] for name in ("accuracy", "f1", "roc_auc", "log_loss")},
        "validation_log_loss": classifier.manifest.metrics["log_loss"],
    }


def test_the_predictions_are_kept(pipeline: Project, test_split: pd.DataFrame) -> None:
    kept = pd.read_csv(pipeline.folder / "models/evaluation/predictions.csv", dtype={"id": str})
    pd.testing.assert_frame_equal(
        kept[["id", "target"]], test_split[["id", "target"]], check_dtype=False
    )
    classifier = onnx_reference.classifier(pipeline.folder / "models/classifier", EXACT)
    said = classifier.probabilities(test_split["text"].tolist())
    assert np.abs(kept["probability"] - said).max() < 1e-6
    # each engine is held to them elsewhere; here the one that serves
    texts = test_split["text"].tolist()
    served = Classifier(pipeline.folder / "models/classifier").uncalibrated(texts)
    assert np.abs(classifier.uncalibrated(texts) - served).max() < TOLERANCE


def test_every_figure_has_an_interval_and_a_baseline(report: dict[str, Any]) -> None:
    assert len(report["test"]) == 8
    for name, value in report["test"].items():
        low, high = report["interval_95"][name]
        assert low < high
        assert low - 0.1 < value < high + 0.1
        assert name in report["baseline"]


def test_calibration_is_shown_before_and_after(
    pipeline: Project, test_split: pd.DataFrame, report: dict[str, Any]
) -> None:
    classifier = onnx_reference.classifier(pipeline.folder / "models/classifier", EXACT)
    bare = classifier.uncalibrated(test_split["text"].tolist())
    plots = pipeline.folder / "models/evaluation/plots"
    for name, scores in (("uncalibrated", bare), ("calibrated", None)):
        table = pd.read_csv(plots / f"{name}.csv")
        assert table["tweets"].sum() == len(test_split)
        gap = (table["predicted"] - table["observed"]).abs() * table["tweets"]
        figures = report["uncalibrated" if scores is not None else "test"]
        figures = figures["test"] if scores is not None else figures
        assert gap.sum() / len(test_split) == pytest.approx(figures["calibration_error"], abs=1e-6)
    error = calibration_error(test_split["target"].to_numpy(), bare)
    assert report["uncalibrated"]["test"]["calibration_error"] == pytest.approx(error)
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    last = pd.read_csv(plots / "calibrated.csv").iloc[-1]
    row = next(line for line in card.splitlines() if line.startswith("| 0.9 to 1.0 |"))
    assert last["bin"] != 9 or row.endswith(
        f"| {last.tweets:.0f} | {last.predicted:.2f} | {last.observed:.2f} |"
    )


def test_the_baseline_learns_words() -> None:
    train = pd.DataFrame(
        {"text": ["flood in town", "cake at home", "flood at night", "cake in bed"] * 5}
    ).assign(target=[1, 0, 1, 0] * 5)
    flood, cake = baseline_scores(train, pd.Series(["the flood", "my cake"]))
    assert flood > 0.8 > 0.2 > cake


def test_slices_divide_the_test_split(pipeline: Project, test_split: pd.DataFrame) -> None:
    slices = pd.read_csv(pipeline.folder / "models/evaluation/slices.csv")
    for name in ("link", "hashtag", "length"):
        assert slices.loc[slices["slice"] == name, "rows"].sum() == pytest.approx(
            len(test_split), abs=10
        )
    assert slices["accuracy"].between(0, 1).all()


def test_a_slice_counts_its_own_rows() -> None:
    test = pd.DataFrame(
        {
            "text": ["see https://t.example/1"] * 10 + ["#tag"] * 20,
            "keyword": [""] * 10 + ["fire"] * 12 + [""] * 8,
            "target": [1] * 10 + [0] * 20,
        }
    )
    scores = np.array([0.9] * 5 + [0.1] * 25)
    found = {(s["slice"], s["value"]): s for s in slice_metrics(test, scores, 0.5)}
    assert found["link", "with"]["accuracy"] == 0.5
    assert found["link", "without"]["accuracy"] == 1
    assert found["hashtag", "with"]["rows"] == 20
    assert found["keyword", "fire"]["rows"] == 12
    assert found["keyword", "fire"]["accuracy"] == 1
    assert found["keyword", "any"] == found["keyword", "fire"] | {"value": "any"}


def test_keywords_of_one_tweet_each_are_no_slices() -> None:
    count = 100_000
    test = pd.DataFrame({"text": "a", "keyword": [f"tag {i}" for i in range(count)], "target": 1})
    found = [(s["slice"], s["value"]) for s in slice_metrics(test, np.ones(count), 0.5)]
    assert [value for name, value in found if name == "keyword"] == ["any"]


def test_the_worst_mistakes_come_first() -> None:
    test = pd.DataFrame({"text": list("abcd"), "target": [1, 1, 0, 0]})
    worst = worst_mistakes(test, np.array([0.4, 0.05, 0.9, 0.2]), 0.5)
    assert worst["text"].tolist() == ["b", "c", "a"]
    assert len(worst) <= MISTAKES


def test_a_minimum_not_reached_is_not_passed(pipeline: Project, tmp_path: Path) -> None:
    p = params.load(pipeline.folder / "params.yaml")
    minimum = p.evaluate.minimum.model_copy(update={"roc_auc": 1.0})
    p = p.model_copy(update={"evaluate": p.evaluate.model_copy(update={"minimum": minimum})})
    folders = pipeline.folder / "models/classifier", pipeline.folder / "data/prepared"
    assert evaluate(*folders, tmp_path / "out", p)["passed"] is False
    assert "**does not reach** the minimums" in (tmp_path / "out/model_card.md").read_text()


def test_the_model_card_shows_the_figures(pipeline: Project, report: dict[str, Any]) -> None:
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    assert f"| accuracy | {report['test']['accuracy']:.3f} |" in card
    assert Classifier(pipeline.folder / "models/classifier").manifest.version in card


def test_an_altered_model_is_not_judged(
    classifier_folder: Path, pipeline: Project, tmp_path: Path
) -> None:
    (classifier_folder / "tokenizer.json").write_text("{}")
    p = params.load(pipeline.folder / "params.yaml")
    with pytest.raises(InputError, match=r"tokenizer.json has been altered"):
        evaluate(classifier_folder, pipeline.folder / "data/prepared", tmp_path / "out", p)
    assert not (tmp_path / "out").exists()
