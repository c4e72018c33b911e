"""One dictionary of all results: traffic, accuracy, drift and verdict of each model version."""

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
from monitor.labels import FEEDBACK, Labelled, join_feedback, join_reviewed
from monitor.log import Log, Rows
from monitor.quality import Answers, Figure, Labels, estimate, post_stratified
from monitor.records import Lines
from monitor.verdict import decide

HOURS = pd.Timedelta(days=14)  # a longer log is drawn in days
BINS = 20  # of the probabilities
TEXTS = 20_000  # in which words are counted, at most
QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}  # of the time that an answer took

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
        InputError: no prediction is of any of these models.

    """
    by_version = {model.version: model for model in models}
    if not logs.keys() & by_version.keys():
        raise InputError(
            f"the log is of model {', '.join(logs)}, and {models[0].folder} is "
            f"{models[0].version}: name its folder with --model"
        )
    latest = sorted(logs.values(), key=lambda log: log.table["time"].max(), reverse=True)
    path = prepared / "train.parquet"  # the texts that live ones are compared with, if it is here
    texts = pd.read_parquet(path, columns=["text"])["text"].tolist() if path.exists() else []
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "lines": asdict(lines),
        "verdict_lines": asdict(verdict_lines),
        "in_use": next(log.model for log in latest if log.model in by_version),
        "versions": [
            {"version": log.model}
            | _traffic(log)
            | _judged(log, by_version.get(log.model), feedback, reviewed, texts)
            for log in latest
        ],
    }


def top(report: Report) -> Report:
    """Return the part of the report on the model in use."""
    return next(one for one in report["versions"] if one["version"] == report["in_use"])


def _traffic(log: Log) -> Report:
    """Describe the requests and the answers, right or wrong."""
    times = log.table["time"]
    is_short = times.max() - times.min() <= HOURS
    numbers = 1 / log.table["rate"].astype(np.float64)  # of tweets that each stands for
    keys = [times.dt.floor("h" if is_short else "D").rename("time"), log.table["disaster"]]
    hours = numbers.rename("tweets").groupby(keys).sum().round().astype(int).reset_index()
    hours["whose"] = np.where(hours.pop("disaster"), LABELS[1], LABELS[0])
    hours["time"] = hours["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    took = log.table["ms"].dropna()
    counts = log.table["tweet"][log.table["tweet"] != 0].value_counts()
    return {
        "first": f"{times.min():%Y-%m-%dT%H:%M:%S}",
        "last": f"{times.max():%Y-%m-%dT%H:%M:%S}",
        "predictions": len(log),
        "asked": round(float(numbers.sum())),
        "disasters": float(numbers[log.disaster].sum() / numbers.sum()),
        "most_repeated": int(counts.max()) if len(counts) else None,
        "took": {name: float(took.quantile(q)) for name, q in QUANTILES.items()}
        if len(took)
        else None,
        "unit": "hour" if is_short else "day",
        "hours": hours.to_dict("records"),
        "texts": len(log.texts),
    }


def _judged(
    log: Log,
    model: Model | None,
    feedback: pd.DataFrame,
    reviewed: pd.DataFrame,
    training_texts: list[str],
) -> Report:
    """Estimate one model's accuracy; a verdict needs its reference."""
    once = log.once()
    if model:
        reviewed = reviewed[reviewed["sha256"] != model.adapted_to]
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
    reference, rows = model.reference, drift.sample(once, drift.LIVE)
    held_out = reference.features.astype(np.float32)  # as the log is read: equal stays equal
    scores = reference.probabilities.astype(np.float32)
    is_right = (reference.probabilities >= model.threshold) == reference.labels
    accuracy = float(is_right.mean())
    features = log.table[[*FEATURES]].to_numpy()[rows]
    effects = drift.effects(held_out, features, scores, log.probabilities[rows])
    texts = drift.sample(log.texts.to_numpy(), TEXTS).tolist()
    wording, words = drift.compare_words(training_texts, texts)
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


def _labels(log: Log, once: Rows, labelled: Labelled) -> Labels:
    """Return labels by the tweets' places among the different tweets; each tweet's last one."""
    places = pd.Index(log.tweets[once]).get_indexer(pd.Index(log.tweets[labelled.rows]))
    last = ~pd.Series(places).duplicated(keep="last").to_numpy()
    return Labels(places[last], labelled.targets[last], labelled.weights[last])


def _counts(labelled: Labelled, answers: Answers, labels: Labels) -> Report:
    is_right = answers.disaster[labels.rows] == (labels.targets == 1)
    counts = {name: getattr(labelled, name) for name in ("total", "unknown", "contradicting")}
    return {"tweets": len(labels.rows), "right": int(is_right.sum())} | counts


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
