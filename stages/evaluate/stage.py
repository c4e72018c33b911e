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
from common.page import render
from locked.classifier import Classifier, calibrate
from locked.labels import LABELS
from locked.manifest import Manifest
from locked.text import URL
from locked.unseen import SCALE_SPREAD, SHIFT_SPREAD
from stages.evaluate.metrics import (
    CALIBRATION_BINS,
    Scores,
    Truth,
    compute,
    intervals,
    reliability,
)
from stages.evaluate.pairs import answer_pairs, judge_pairs
from stages.evaluate.robustness import TWEETS, measure_robustness
from stages.shared import arithmetic, onnx_reference, outputs
from stages.shared.outputs import read_tweets

if TYPE_CHECKING:
    from stages.params import Params

CARD = Path(__file__).with_name("model_card.md.jinja")
MISTAKES = 20  # rows of the table of worst mistakes
COMPARED = ("accuracy", "f1", "roc_auc", "log_loss")  # figures of the test split, for METRICS
# Experiments are chosen by this figure of the validation split: choosing by a figure of the test
# split would make it too optimistic.
CHOSEN_BY = "log_loss"
CALIBRATED = ("log_loss", "calibration_error")  # figures that calibration improves
MIN_SLICE = 10  # tweets; the accuracy of a smaller slice is too uncertain


def evaluate(
    classifier: Path,
    answers: Path,
    data: Path,
    output: Path,
    p: "Params",
    pairs: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a locked model on the test split; return the report.

    Args:
        classifier: folder of the locked model.
        answers: its uncalibrated answers to the test split (.npy).
        data: folder of {train,test}.parquet and report.json.
        output: folder to make, with plots/, model_card.md and
            {predictions,mistakes,robustness,slices}.csv, and pairs.csv if there are pairs.
        p: all params; `compute` and `evaluate` are read, and the model card shows others.
        pairs: CSV of contrast pairs (see stages.evaluate.pairs), or None.

    Raises:
        InputError: the model is altered, the answers are to other tweets, or the pairs are invalid.

    """
    arithmetic.use_threads(p.compute)
    model = Classifier(classifier, p.compute.threads, onnx_reference.engine(p.compute))
    test, uncalibrated = read_tweets(data / "test.parquet"), np.load(answers)
    if len(uncalibrated) != len(test):
        raise InputError(f"{answers} has answers to other tweets than {data}: run `dvc repro`")
    answered_pairs = answer_pairs(pairs, model) if pairs else None
    truth, threshold = test["target"].to_numpy(), model.manifest.threshold
    scores = calibrate(uncalibrated, model.manifest.calibration)
    baseline = baseline_scores(read_tweets(data / "train.parquet"), test["text"])
    figures = judge(truth, scores, threshold, p)
    uncalibrated_figures = judge(truth, uncalibrated, 0.5, p)
    adaptation = model.manifest.adaptation
    prepared = json.loads((data / "report.json").read_text())
    report = {
        "passed": all(figures["test"][name] >= minimum for name, minimum in p.evaluate.minimum),
        "unseen_event": describe_unseen_event(figures["test"], prepared["split"]),
        "threshold": threshold,
        "rows": len(test),
        "validation": model.manifest.metrics,
        "data": prepared,
        **figures,
        "baseline": compute(truth, baseline, 0.5),
        "uncalibrated": {
            part: {name: values[name] for name in CALIBRATED}
            for part, values in uncalibrated_figures.items()
        },
        "adaptation": adaptation and adaptation.model_dump(),
        "pairs": None if answered_pairs is None else judge_pairs(answered_pairs, threshold),
    }
    predicted = (scores >= threshold).astype(int)
    fpr, tpr, _ = roc_curve(truth, scores)
    precision, recall, _ = precision_recall_curve(truth, scores)
    names = np.array(LABELS)
    tables: dict[str, Any] = {
        "plots/confusion": {"actual": names[truth], "predicted": names[predicted]},
        "plots/roc": {"false_positive_rate": fpr, "true_positive_rate": tpr},
        "plots/precision_recall": {"recall": recall, "precision": precision},
        "plots/uncalibrated": reliability(truth, uncalibrated),
        "plots/calibrated": reliability(truth, scores),
        "robustness": measure_robustness(model, test["text"], scores),
        "predictions": test[["id", "target"]].assign(probability=scores),
        "slices": list(slice_metrics(test, scores, threshold)),
        "mistakes": worst_mistakes(test, scores, threshold),
    }
    if answered_pairs is not None:
        tables["pairs"] = answered_pairs.round({"probability": 4})
    with new_folder(output) as folder:
        (folder / "plots").mkdir()
        frames = {name: pd.DataFrame(table) for name, table in tables.items()}
        for name, frame in frames.items():
            frame.to_csv(folder / f"{name}.csv", index=False)
        card = model_card(model.manifest, report, frames, p)
        (folder / "model_card.md").write_text(card, encoding="utf-8")
    return report


def judge(truth: Truth, scores: Scores, threshold: float, p: "Params") -> dict[str, Any]:
    """Return all figures ("test") and their 95 % intervals ("interval_95")."""
    resamples, seed = p.evaluate.bootstrap, p.evaluate.seed
    return {
        "test": compute(truth, scores, threshold),
        "interval_95": intervals(truth, scores, threshold, resamples, seed),
    }


def describe_unseen_event(figures: dict[str, float], split: dict[str, Any]) -> str:
    """Return a sentence or two about the model's answers on events that it has not learnt.

    `figures` are of the test split; `split` is the entry about the split in prepare's report.
    """
    if split["by"] == "group":
        return (
            f"On groups ({split['column']}) that it has not seen it is right in "
            f"{figures['accuracy']:.1%} of tweets, with a calibration error of "
            f"{figures['calibration_error']:.3f}: the test split has no other groups."
        )
    low, high = (1 / (1 + np.exp(-shift)) for shift in (-SHIFT_SPREAD, SHIFT_SPREAD))
    return (
        "On an event that it has not seen, its probabilities are wrong: where it says 0.5, the "
        f"true share of disasters is between {low:.2f} and {high:.2f} in two thirds of events. "
        "Train it on 10 or more labelled tweets of the event too (docs/event.md)."
    )


def model_card(
    manifest: Manifest, report: dict[str, Any], frames: dict[str, pd.DataFrame], p: "Params"
) -> str:
    """Return the model card as Markdown; `frames` has the tables of `evaluate` by name."""
    bins = (frames["plots/uncalibrated"], frames["plots/calibrated"])
    return render(
        CARD,
        manifest=manifest,
        report=report,
        slices=[*frames["slices"].itertuples()],
        reliability=[{row.bin: row for row in frame.itertuples()} for frame in bins],
        bins=CALIBRATION_BINS,
        robustness_results=[*frames["robustness"].itertuples()],
        max_tweets=TWEETS,
        scale_spread=SCALE_SPREAD,
        shift_spread=SHIFT_SPREAD,
        by_group=report["data"]["split"]["by"] == "group",
        p=p,
    )


def baseline_scores(train: pd.DataFrame, texts: pd.Series) -> Scores:
    """Return P(disaster) of each text by logistic regression on TF-IDF of words and word pairs."""
    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=1000),
    )
    baseline.fit(train["text"], train["target"])
    return np.asarray(baseline.predict_proba(texts)[:, 1])


def slice_metrics(test: pd.DataFrame, scores: Scores, threshold: float) -> Iterator[dict[str, Any]]:
    """Yield size, share of disasters and accuracy of each slice with MIN_SLICE tweets or more."""
    table = test.assign(accuracy=(scores >= threshold) == test["target"])
    text, keyword = test["text"], test["keyword"]
    links, tags = text.str.contains(URL, regex=True), text.str.contains(r"#\w", regex=True)
    length = text.str.len()
    counts = keyword[keyword != ""].value_counts()
    keywords = counts[counts >= MIN_SLICE].sort_index().sort_values(ascending=False, kind="stable")
    slices = {
        ("link", "with"): links,
        ("link", "without"): ~links,
        ("hashtag", "with"): tags,
        ("hashtag", "without"): ~tags,
        ("length", "below 50"): length < 50,
        ("length", "50 to 99"): length.between(50, 99),
        ("length", "100 and more"): length >= 100,
        ("keyword", "none"): keyword == "",
        ("keyword", "any"): keyword != "",
        **{("keyword", value): keyword == value for value in keywords.index},
    }
    for (name, value), is_in_slice in slices.items():
        part = table[is_in_slice]
        if len(part) >= MIN_SLICE:
            yield {
                "slice": name,
                "value": value,
                "rows": len(part),
                "positive_share": float(part["target"].mean()),
                "accuracy": float(part["accuracy"].mean()),
            }


def worst_mistakes(test: pd.DataFrame, scores: Scores, threshold: float) -> pd.DataFrame:
    """Return the MISTAKES wrong answers that are farthest from the threshold, farthest first."""
    table = test.assign(probability=scores.round(4))
    table = table[(scores >= threshold) != test["target"].to_numpy()]
    order = (table["probability"] - threshold).abs().sort_values(ascending=False, kind="stable")
    return pd.DataFrame(table.loc[order.index].head(MISTAKES))


def main(p: "Params") -> None:
    """Run the stage with the paths of stages.shared.outputs; print the figures."""
    inputs = outputs.CLASSIFIER, outputs.ANSWERS, outputs.PREPARED
    pairs = outputs.get_csv_path(p.evaluate.pairs, outputs.PAIRS)
    report = evaluate(*inputs, outputs.EVALUATION, p, pairs)
    outputs.write_json(outputs.REPORT, report)
    compared = {name: report["test"][name] for name in COMPARED}
    validation = {f"validation_{CHOSEN_BY}": report["validation"][CHOSEN_BY]}
    outputs.write_json(outputs.METRICS, {"passed": report["passed"], **compared, **validation})
    for name, value in report["test"].items():
        low, high = report["interval_95"][name]
        print(
            f"{name:>18} {value:.4f}  95 % {low:.4f} to {high:.4f}"
            f"  baseline {report['baseline'][name]:.4f}"
        )
    print(f"{'passed':>18} {report['passed']}")
