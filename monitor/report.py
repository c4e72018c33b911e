"""One dictionary of all results: traffic, accuracy, drift and verdict of each model version."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from common.errors import InputError
from locked.labels import LABELS
from locked.manifest import MANIFEST, LockedModelError, read_manifest
from locked.reference import Reference
from monitor import drift
from monitor.labels import FEEDBACK, Labelled, join_feedback, join_reviewed
from monitor.logs import Lines
from monitor.quality import Answers, Figure, Labels, estimate, post_stratified
from monitor.verdict import STATUS, decide
from monitor.window import Log, Rows

HOURS = 14 * 24  # drawn at most; days where there are more
BINS = 20  # of the probabilities
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}  # of the time that an answer took
KNOWN = "train.parquet"  # of the prepared data: what words are compared with

Report = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A model whose answers are judged."""

    folder: Path
    version: str
    threshold: float
    reference: Reference
    adapted_to: str | None = None  # SHA-256 of the file of labels that it was fitted to

    @property
    def accuracy(self) -> float:
        """On the reference's held-out tweets."""
        answered = self.reference.probabilities >= self.threshold
        return float((answered == self.reference.labels).mean())


def load(folder: Path) -> Model:
    """Return version, threshold and reference of a locked model.

    Raises:
        InputError: it has no manifest or no reference.

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
    verdict_lines: Lines,
    reviewed: pd.DataFrame,
    prepared: Path,
) -> Report:
    """Compare the predictions of some days with the references of the models that made them.

    Raises:
        InputError: none of the models made any.

    """
    by_version = {model.version: model for model in models}
    if not logs.keys() & by_version.keys():
        raise InputError(
            f"the log is of model {', '.join(logs)}, and {models[0].folder} is "
            f"{models[0].version}: name its folder with --model"
        )
    latest = sorted(logs, key=lambda version: logs[version].times.max(), reverse=True)
    texts = _texts(prepared / KNOWN)
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "lines": asdict(lines),
        "verdict_lines": asdict(verdict_lines),
        "in_use": next(version for version in latest if version in by_version),
        "versions": [
            {"version": version}
            | _traffic(logs[version])
            | _judged(logs[version], by_version.get(version), feedback, reviewed, texts)
            for version in latest
        ],
    }


def status(report: Report) -> int:
    """Return the exit status of the verdict on the model in use."""
    return STATUS[top(report)["verdict"]["word"]]


def top(report: Report) -> Report:
    """Return the part of the report on the model in use."""
    return next(one for one in report["versions"] if one["version"] == report["in_use"])


def _texts(path: Path) -> list[str]:
    """Return the texts that the model learnt from, or none where they are not at hand."""
    return pq.read_table(path, columns=["text"])["text"].to_pylist() if path.exists() else []


def _traffic(log: Log) -> Report:
    """Describe what was asked, whatever the answers are worth."""
    unit: Literal["h", "D"] = "h" if np.ptp(log.times) <= np.timedelta64(HOURS, "h") else "D"
    step = np.timedelta64(1, unit)
    first = log.times.min().astype(f"datetime64[{unit}]").astype(log.times.dtype)
    edges = first + step * np.arange((log.times.max() - first) // step + 2)
    stands_for = 1 / log.rates  # tweets, logged or not
    all_of, called = (
        np.histogram(log.times.view(np.int64), edges.view(np.int64), weights=weights)[0]
        for weights in (stands_for, stands_for * log.disaster)
    )
    hours = [
        {"time": f"{start.astype('datetime64[s]')}Z", "whose": label, "tweets": round(float(one))}
        for label, counts in zip(LABELS, (all_of - called, called), strict=True)
        for start, one in zip(edges, counts, strict=False)
        if one
    ]
    took = log.took[np.isfinite(log.took)]
    hashed = log.tweets[log.tweets != 0]
    counts = np.unique_counts(hashed).counts
    return {
        "first": str(log.times.min().astype("datetime64[s]")),
        "last": str(log.times.max().astype("datetime64[s]")),
        "predictions": len(log),
        "asked": round(float(all_of.sum())),
        "disasters": float(called.sum() / all_of.sum()),
        "most_repeated": int(counts.max()) if len(hashed) else None,
        "took": dict(zip(QUANTILES, np.quantile(took, [*QUANTILES.values()]).tolist(), strict=True))
        if len(took)
        else None,
        "unit": "hour" if unit == "h" else "day",
        "hours": hours,
        "texts": len(log.texts),
    }


def _judged(
    log: Log,
    model: Model | None,
    feedback: pd.DataFrame,
    reviewed: pd.DataFrame,
    training_texts: list[str],
) -> Report:
    """Judge what one model answered; without its reference there is no verdict."""
    once = log.once()
    if model:
        reviewed = reviewed[reviewed["file_sha256"] != model.adapted_to]
    answers = Answers(log.probabilities[once], log.disaster[once])
    sample = join_reviewed(log, reviewed[reviewed["drawn"] != FEEDBACK])
    volunteered = join_feedback(log, feedback)
    labels, verdicts = (_labels(log, once, part) for part in (sample, volunteered))
    figures = estimate(answers, labels)
    judged: Report = {
        "different": len(once),
        "estimated": {name: _plain(figure) for name, figure in figures.items()},
        "labels": _counts(sample, answers, labels),
        "volunteered": _counts(volunteered, answers, verdicts)
        | {"accuracy": _plain(post_stratified(answers, verdicts))},
        "verdict": None,
    }
    if model is None:
        return judged
    reference, some = model.reference, drift.some(once, drift.LIVE)
    held_out = reference.features.astype(np.float32)  # as the log is read: equal stays equal
    scores = reference.probabilities.astype(np.float32)
    features = log.features[some]
    effects = drift.effects(held_out, features, scores, log.probabilities[some])
    by_words, words = drift.told_by_words(training_texts, log.texts)
    known = {"words": by_words} if by_words else {}
    verdict = decide(model.accuracy, figures["accuracy"], len(labels.rows), effects, known, words)
    return judged | {
        "verdict": asdict(verdict),
        "reference": {
            "tweets": len(reference.labels),
            "accuracy": model.accuracy,
            "prevalence": float(np.mean(reference.labels)),
        },
        "effects": {name: asdict(e) | {"moved": e.moved} for name, e in effects.items()},
        "told": {name: asdict(one) | {"drifted": one.drifted} for name, one in known.items()},
        "words": [asdict(word) for word in words],
        "probabilities": [
            *_histogram("live", answers.probabilities),
            *_histogram("held out", scores),
        ],
    }


def _labels(log: Log, once: Rows, labelled: Labelled) -> Labels:
    """Return labels of tweets by their place among the different tweets, the last of each."""
    tweets = np.where(log.tweets == 0, np.arange(len(log), dtype=np.uint64), log.tweets)
    places = pd.Index(tweets[once]).get_indexer(pd.Index(tweets[labelled.rows]))
    last = ~pd.Series(places).duplicated(keep="last").to_numpy()
    return Labels(places[last], labelled.targets[last], labelled.weights[last])


def _counts(labelled: Labelled, answers: Answers, labels: Labels) -> Report:
    is_right = answers.disaster[labels.rows] == (labels.targets == 1)
    return {
        "tweets": len(labels.rows),
        "right": int(is_right.sum()),
        "given": labelled.given,
        "unknown": labelled.unknown,
        "contradicting": labelled.contradicting,
    }


def _histogram(whose: str, values: npt.NDArray[np.floating]) -> list[Report]:
    counts, edges = np.histogram(values, BINS, (0, 1))
    shares = [*(counts / len(values)), counts[-1] / len(values)]  # a last step to the end
    return [
        {"whose": whose, "probability": float(edge), "share": float(share)}
        for edge, share in zip(edges, shares, strict=True)
    ]


def _plain(figure: Figure) -> Report:
    """Return a figure for JSON, which has no NaN."""
    return {name: one if np.isfinite(one) else None for name, one in asdict(figure).items()}
