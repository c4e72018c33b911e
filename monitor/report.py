"""Builds the report: traffic, accuracy, drift and verdict of each model version."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.features import FEATURES
from locked.labels import LABELS
from locked.manifest import MANIFEST, LockedModelError, read_manifest
from locked.reference import Reference
from monitor import drift
from monitor.labels import CHOSEN, Labelled, join_feedback, join_reviewed
from monitor.log import Log, Rows
from monitor.quality import Answers, Figure, Labels, estimate, post_stratified
from monitor.records import Lines
from monitor.verdict import decide

MAX_HOURLY = pd.Timedelta(days=14)  # the chart of a longer period has days
BINS = 20  # of the probabilities
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}  # of the answers' times

Report = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A model whose answers are judged."""

    folder: Path
    version: str
    threshold: float
    reference: Reference
    adapted_to: str | None = None  # SHA-256 of the file of labels that it was fitted to


def load(folder: Path) -> Model:
    """Return the version, threshold and reference of a locked model.

    Raises:
        InputError: the folder has no manifest or no reference.

    """
    try:
        manifest = read_manifest(folder / MANIFEST)
        reference = Reference.load(folder)
    except LockedModelError as error:
        raise InputError(str(error)) from error
    adapted_to = manifest.adaptation.labels_sha256 if manifest.adaptation else None
    return Model(folder, manifest.version, manifest.threshold, reference, adapted_to)


def build(
    logs: Mapping[str, Log],
    lines: Lines,
    models: Sequence[Model],
    feedback: pd.DataFrame,
    feedback_lines: Lines,
    reviewed: pd.DataFrame,
    prepared: Path,
) -> Report:
    """Return the report, which compares each log with the reference of its model.

    Raises:
        InputError: none of the logs is of one of the models.

    """
    by_version = {model.version: model for model in models}
    if not logs.keys() & by_version.keys():
        raise InputError(
            f"the log is of model {', '.join(logs)}, and {models[0].folder} is "
            f"{models[0].version}: name its folder with --model"
        )
    latest = sorted(logs.values(), key=lambda log: log.table["time"].max(), reverse=True)
    path = prepared / "train.parquet"  # the texts to compare live ones with, if the file exists
    texts = pd.read_parquet(path, columns=["text"])["text"].tolist() if path.exists() else []
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "lines": asdict(lines),
        "feedback_lines": asdict(feedback_lines),
        "in_use": next(log.model for log in latest if log.model in by_version),
        "versions": [
            {"version": log.model}
            | _describe_traffic(log)
            | _judge(log, by_version.get(log.model), feedback, reviewed, texts)
            for log in latest
        ],
    }


def get_top(report: Report) -> Report:
    """Return the part of the report on the model in use."""
    return next(one for one in report["versions"] if one["version"] == report["in_use"])


def _describe_traffic(log: Log) -> Report:
    """Return figures of the requests and the answers."""
    times = log.table["time"]
    is_short = times.max() - times.min() <= MAX_HOURLY
    numbers = 1 / log.table["rate"].astype(np.float64)  # of tweets that each prediction stands for
    keys = [times.dt.floor("h" if is_short else "D").rename("time"), log.table["disaster"]]
    hours = numbers.rename("tweets").groupby(keys).sum().round().astype(int).reset_index()
    hours["series"] = np.where(hours.pop("disaster"), LABELS[1], LABELS[0])
    hours["time"] = hours["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    milliseconds = log.table["ms"].dropna()
    counts = log.table["tweet"][log.table["tweet"] != 0].value_counts()
    return {
        "first": f"{times.min():%Y-%m-%dT%H:%M:%S}",
        "last": f"{times.max():%Y-%m-%dT%H:%M:%S}",
        "predictions": len(log),
        "tweets": round(float(numbers.sum())),
        "disasters": float(numbers[log.disaster].sum() / numbers.sum()),
        "most_repeated": int(counts.max()) if len(counts) else None,
        "milliseconds": {name: float(milliseconds.quantile(q)) for name, q in QUANTILES.items()}
        if len(milliseconds)
        else None,
        "unit": "hour" if is_short else "day",
        "hours": hours.to_dict("records"),
        "texts": len(log.texts),
    }


def _judge(
    log: Log,
    model: Model | None,
    feedback: pd.DataFrame,
    reviewed: pd.DataFrame,
    training_texts: list[str],
) -> Report:
    """Return the estimated accuracy and, if the model is known, drift and verdict."""
    distinct_rows = log.distinct_rows()
    if model:
        reviewed = reviewed[reviewed["sha256"] != model.adapted_to]
    answers = Answers(log.probabilities[distinct_rows], log.disaster[distinct_rows])
    sample = join_reviewed(log, reviewed[reviewed["drawn"] != CHOSEN])
    user_labels = join_feedback(log, feedback)
    labels, feedback_labels = (
        _select_labels(log, distinct_rows, part) for part in (sample, user_labels)
    )
    figures = estimate(answers, labels)
    judged: Report = {
        "distinct": len(distinct_rows),
        "estimated": {name: _to_json(figure) for name, figure in figures.items()},
        "labels": _count(sample, answers, labels),
        "feedback": _count(user_labels, answers, feedback_labels)
        | {"accuracy": _to_json(post_stratified(answers, feedback_labels))},
        "verdict": None,
    }
    if model is None:
        return judged
    reference, rows = model.reference, drift.sample(distinct_rows, drift.MAX_LIVE)
    held_out = reference.features.astype(np.float32)  # as the log: equal values stay equal
    scores = reference.probabilities.astype(np.float32)
    is_right = (reference.probabilities >= model.threshold) == reference.labels
    accuracy = float(is_right.mean())
    features = log.table[[*FEATURES]].to_numpy()[rows]
    effects = drift.compute_effects(held_out, features, scores, log.probabilities[rows])
    wording, words = drift.compare_words(training_texts, log.texts.tolist())
    moves = effects | ({"their words": wording} if wording else {})
    verdict = decide(accuracy, figures["accuracy"], len(labels.rows), moves, words)
    return judged | {
        "verdict": asdict(verdict),
        "reference": {
            "tweets": len(reference.labels),
            "accuracy": accuracy,
            "prevalence": float(np.mean(reference.labels)),
        },
        "effects": {name: asdict(effect) for name, effect in effects.items()},
        "wording": asdict(wording) if wording else None,
        "words": [asdict(word) for word in words],
        "probabilities": [
            *_histogram("live", answers.probabilities),
            *_histogram("held out", scores),
        ],
    }


def _select_labels(log: Log, distinct_rows: Rows, labelled: Labelled) -> Labels:
    """Return the last label of each tweet, by its position among the distinct tweets."""
    positions = pd.Index(log.tweets[distinct_rows]).get_indexer(pd.Index(log.tweets[labelled.rows]))
    is_last = ~pd.Series(positions).duplicated(keep="last").to_numpy()
    return Labels(positions[is_last], labelled.targets[is_last], labelled.weights[is_last])


def _count(labelled: Labelled, answers: Answers, labels: Labels) -> Report:
    is_right = answers.disaster[labels.rows] == (labels.targets == 1)
    counts = {name: getattr(labelled, name) for name in ("total", "unknown", "contradicting")}
    return {"tweets": len(labels.rows), "right": int(is_right.sum())} | counts


def _histogram(series: str, values: npt.NDArray[np.floating]) -> list[Report]:
    counts, edges = np.histogram(values, BINS, (0, 1))
    shares = [*(counts / len(values)), counts[-1] / len(values)]  # the last step needs an end
    return [
        {"series": series, "probability": float(edge), "share": float(share)}
        for edge, share in zip(edges, shares, strict=True)
    ]


def _to_json(figure: Figure) -> Report:
    """Return a figure as a dictionary, with None instead of NaN."""
    return {name: one if np.isfinite(one) else None for name, one in asdict(figure).items()}
