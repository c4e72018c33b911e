"""Locked model + test split -> metrics, plots, worst mistakes and a model card."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve, roc_curve
from sklearn.pipeline import make_pipeline

from common.atomic import new_folder
from common.errors import InputError
from locked.classifier import Classifier, calibrate
from locked.labels import LABELS
from locked.manifest import LockedModelError
from locked.text import URL
from stages.evaluate.metrics import Scores, Truth, compute, intervals, reliability
from stages.evaluate.model_card import model_card
from stages.evaluate.robustness import robustness
from stages.shared import exact, onnx_reference
from stages.shared.outputs import (
    ANSWERS,
    CLASSIFIER,
    EVALUATION,
    METRICS,
    PREPARED,
    REPORT,
    write_json,
)
from stages.shared.tweets import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

MISTAKES = 20  # rows of the table of worst mistakes
COMPARED = ("accuracy", "f1", "roc_auc", "log_loss")  # between experiments, on the test split
CHOSEN_BY = "log_loss"  # of the validation split: what chooses is no longer a fair judge
CALIBRATED = ("log_loss", "calibration_error")  # what calibration is for
MIN_SLICE = 10  # tweets; a smaller slice's accuracy says little


def evaluate(
    classifier: Path, answers: Path, data: Path, output: Path, p: "Params"
) -> dict[str, Any]:
    """Judge the locked model on the test split; return the report.

    Args:
        classifier: folder of the locked model.
        answers: file of its uncalibrated answers to the test split.
        data: folder of {train,test}.parquet and report.json.
        output: folder to make of plots/, {predictions,mistakes,robustness,slices}.csv and
            model_card.md.
        p: all params; `compute` and `evaluate` are read, the rest is for the model card.

    Raises:
        InputError: the locked model is not the one of its manifest, or the answers are others'.

    """
    exact.use_threads(p.compute)
    try:
        model = Classifier(classifier, p.compute.threads, onnx_reference.engine(p.compute))
    except LockedModelError as error:
        raise InputError(str(error)) from error
    test = read_tweets(data / "test.parquet")
    truth = test["target"].to_numpy()
    bare = np.load(answers)
    if len(bare) != len(test):
        raise InputError(f"{answers} has answers to other tweets than {data}: run `dvc repro`")
    scores = calibrate(bare, model.manifest.calibration)
    threshold = model.manifest.threshold
    baseline = baseline_scores(read_tweets(data / "train.parquet"), test["text"])
    figures = compute(truth, scores, threshold)
    report = {
        "passed": all(figures[name] >= least for name, least in p.evaluate.minimum),
        "threshold": threshold,
        "rows": len(test),
        "validation": model.manifest.metrics,
        "data": json.loads((data / "report.json").read_text()),
        "test": figures,
        "interval_95": intervals(truth, scores, threshold, p.evaluate.bootstrap, p.evaluate.seed),
        "baseline": compute(truth, baseline, 0.5),
        "uncalibrated": uncalibrated(truth, bare, p),
        "adaptation": model.manifest.adaptation and model.manifest.adaptation.model_dump(),
    }
    before_after = reliability(truth, bare), reliability(truth, scores)
    steadiness = robustness(model, test["text"], scores)
    slices = pd.DataFrame(slice_metrics(test, scores, threshold))
    with new_folder(output) as folder:
        _write_plots(folder / "plots", truth, scores, threshold)
        for name, table in zip(("uncalibrated", "calibrated"), before_after, strict=True):
            table.to_csv(folder / "plots" / f"{name}.csv", index=False)
        steadiness.to_csv(folder / "robustness.csv", index=False)
        predictions = test[["id", "target"]].assign(probability=scores)
        predictions.to_csv(folder / "predictions.csv", index=False)
        slices.to_csv(folder / "slices.csv", index=False)
        worst = worst_mistakes(test, scores, threshold)
        worst.to_csv(folder / "mistakes.csv", index=False)
        card = model_card(model.manifest, report, slices, before_after, steadiness, p)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
    return report


def uncalibrated(truth: Truth, scores: Scores, p: "Params") -> dict[str, Any]:
    """Return what calibration changes, as it was before: figures and their 95 % intervals."""
    figures = compute(truth, scores, 0.5)
    spread = intervals(truth, scores, 0.5, p.evaluate.bootstrap, p.evaluate.seed)
    return {
        "test": {name: figures[name] for name in CALIBRATED},
        "interval_95": {name: spread[name] for name in CALIBRATED},
    }


def baseline_scores(train: pd.DataFrame, texts: pd.Series) -> Scores:
    """P(disaster) of each text by TF-IDF of words and word pairs with logistic regression."""
    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=1000),
    )
    baseline.fit(train["text"], train["target"])
    return np.asarray(baseline.predict_proba(texts)[:, 1])


def slice_metrics(test: pd.DataFrame, scores: Scores, threshold: float) -> Iterator[dict[str, Any]]:
    """Yield the size and accuracy of each part of the test split that is large enough."""
    right = (scores >= threshold) == test["target"].to_numpy()
    links = test["text"].str.contains(URL, regex=True)
    tags = test["text"].str.contains(r"#\w", regex=True)
    length = test["text"].str.len()
    parts = {
        ("link", "with"): links,
        ("link", "without"): ~links,
        ("hashtag", "with"): tags,
        ("hashtag", "without"): ~tags,
        ("length", "below 50"): length < 50,
        ("length", "50 to 99"): length.between(50, 99),
        ("length", "100 and more"): length >= 100,
        ("keyword", "none"): test["keyword"] == "",
        ("keyword", "any"): test["keyword"] != "",
    }
    rows_of = {part: np.flatnonzero(rows) for part, rows in parts.items()}
    words = {str(w): np.asarray(rows) for w, rows in test.groupby("keyword").indices.items() if w}
    by_size = sorted(words, key=lambda word: (-len(words[word]), word))
    rows_of |= {("keyword", word): words[word] for word in by_size}
    for (name, value), chosen in rows_of.items():
        if len(chosen) >= MIN_SLICE:
            yield {
                "slice": name,
                "value": value,
                "rows": len(chosen),
                "positive_share": float(test["target"].to_numpy()[chosen].mean()),
                "accuracy": float(right[chosen].mean()),
            }


def worst_mistakes(test: pd.DataFrame, scores: Scores, threshold: float) -> pd.DataFrame:
    """Return the wrong answers given with the most confidence, the most confident first."""
    table = test.assign(probability=scores.round(4))
    table = table[(scores >= threshold) != test["target"].to_numpy()]
    order = (table["probability"] - threshold).abs().sort_values(ascending=False, kind="stable")
    return pd.DataFrame(table.loc[order.index].head(MISTAKES))


def _write_plots(folder: Path, truth: Truth, scores: Scores, threshold: float) -> None:
    """Write the points behind each DVC plot as CSV."""
    folder.mkdir()
    names = np.array(LABELS)
    confusion = {"actual": names[truth], "predicted": names[(scores >= threshold).astype(int)]}
    fpr, tpr, _ = roc_curve(truth, scores)
    precision, recall, _ = precision_recall_curve(truth, scores)
    tables = {
        "confusion": pd.DataFrame(confusion),
        "roc": pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr}),
        "precision_recall": pd.DataFrame({"recall": recall, "precision": precision}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it."""
    report = evaluate(CLASSIFIER, ANSWERS, PREPARED, EVALUATION, p)
    write_json(REPORT, report)
    compared = {name: report["test"][name] for name in COMPARED}
    validation = {f"validation_{CHOSEN_BY}": report["validation"][CHOSEN_BY]}
    write_json(METRICS, {"passed": report["passed"], **compared, **validation})
    for name, value in report["test"].items():
        low, high = report["interval_95"][name]
        print(
            f"{name:>18} {value:.4f}  95 % {low:.4f} to {high:.4f}"
            f"  baseline {report['baseline'][name]:.4f}"
        )
    print(f"{'passed':>18} {report['passed']}")
