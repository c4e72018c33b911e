"""Everything that a log, its labels and a model's reference say: one dictionary."""

import unicodedata
from collections import Counter
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
from monitor import drift, prevalence, quality
from monitor.labels import Labelled, join_feedback, join_reviewed
from monitor.logs import Lines
from monitor.verdict import STATUS, Name, decide
from monitor.window import Log

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

    @property
    def accuracy(self) -> float:
        """On the reference's held-out tweets."""
        said = self.reference.probabilities >= self.threshold
        return float((said == self.reference.labels).mean())


def load(folder: Path) -> Model:
    """Read what is needed of a locked model.

    Raises:
        InputError: it has no manifest or no reference.

    """
    try:
        manifest = read_manifest(folder / MANIFEST)
        reference = Reference.load(folder)
    except LockedModelError as error:
        raise InputError(str(error)) from error
    return Model(folder, manifest.version, manifest.threshold, reference)


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
    known = {model.version: model for model in models}
    if not logs.keys() & known.keys():
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
        "in_use": next(version for version in latest if version in known),
        "versions": [
            {"version": version}
            | _traffic(logs[version])
            | _judged(logs[version], known.get(version), feedback, reviewed, texts)
            for version in latest
        ],
    }


def word(report: Report) -> Name:
    """Return the verdict on the model in use."""
    found: Name = top(report)["verdict"]["word"]
    return found


def status(report: Report) -> int:
    """Return the exit status that the verdict stands for."""
    return STATUS[word(report)]


def top(report: Report) -> Report:
    """Return what is said of the model in use."""
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
    scripts = Counter(_script(text) for text in log.texts)
    return {
        "first": str(log.times.min().astype("datetime64[s]")),
        "last": str(log.times.max().astype("datetime64[s]")),
        "predictions": len(log),
        "asked": round(float(all_of.sum())),
        "disasters": float(called.sum() / all_of.sum()),
        "different": len(counts) if len(hashed) else None,
        "most_repeated": int(counts.max()) if len(hashed) else None,
        "took": dict(zip(QUANTILES, np.quantile(took, [*QUANTILES.values()]).tolist(), strict=True))
        if len(took)
        else None,
        "unit": "hour" if unit == "h" else "day",
        "hours": hours,
        "texts": len(log.texts),
        "scripts": {name: n / len(log.texts) for name, n in scripts.most_common(5)},
    }


def _script(text: str) -> str:
    """Name the script of most of a text's letters."""
    letters = Counter(
        unicodedata.name(letter, "?").partition(" ")[0] for letter in text if letter.isalpha()
    )
    return letters.most_common(1)[0][0].lower() if letters else "none"


def _judged(
    log: Log, model: Model | None, feedback: pd.DataFrame, reviewed: pd.DataFrame, known: list[str]
) -> Report:
    """Judge what one model answered; without its reference, say what was measured alone."""
    once = log.once()
    probabilities = log.probabilities[once]
    given = join_feedback(log, feedback)
    labelled = join_reviewed(log, reviewed[reviewed["drawn"] == "random"])
    measured = quality.reviewed(labelled.right(log))
    volunteered = quality.volunteered(
        probabilities, log.probabilities[given.rows], given.right(log)
    )
    found: Report = {
        "reviewed": _plain(measured) | {"given": labelled.given, "unknown": labelled.unknown},
        "volunteered": _plain(volunteered) | _joined(given),
        "verdict": None,
    }
    if model is None:
        return found
    reference, some = model.reference, drift.some(once, drift.LIVE)
    held_out = reference.features.astype(np.float32)  # as the log is read: equal stays equal
    features, scores = log.features[some], log.probabilities[some]
    said = reference.probabilities.astype(np.float32)
    effects = drift.effects(held_out, features, said, scores)
    told = {"features": drift.told_by_features(held_out, features)}
    told["words"], words = drift.told_by_words(known, log.texts)
    cells = prevalence.count(probabilities, log.disaster[once])
    figures = quality.estimate(reference, cells, drift.weights(held_out, features))
    sure = {name: one for name, one in told.items() if one}
    verdict = decide(model.accuracy, len(once), figures, effects, sure, words, measured)
    return found | {
        "verdict": asdict(verdict),
        "reference": {"tweets": len(reference.labels), "accuracy": model.accuracy}
        | {"prevalence": float(np.mean(reference.labels))},
        "judged": len(once),
        "estimated": {name: _plain(figure) for name, figure in figures.items()},
        "effects": {name: asdict(e) | {"moved": e.moved} for name, e in effects.items()},
        "told": {name: asdict(one) | {"drifted": one.drifted} for name, one in sure.items()},
        "words": [asdict(one) for one in words],
        "probabilities": [
            *_histogram("live", probabilities),
            *_histogram("held out", said),
        ],
    }


def _histogram(whose: str, values: npt.NDArray[np.floating]) -> list[Report]:
    counts, edges = np.histogram(values, BINS, (0, 1))
    shares = [*(counts / len(values)), counts[-1] / len(values)]  # a last step to the end
    return [
        {"whose": whose, "probability": float(edge), "share": float(one)}
        for edge, one in zip(edges, shares, strict=True)
    ]


def _joined(given: Labelled) -> Report:
    return {
        "given": given.given,
        "unknown": given.unknown,
        "contradicting": given.contradicting,
    }


def _plain(value: Any) -> Report:  # noqa: ANN401 - a dataclass
    """Return a dataclass as JSON has it, without NaN."""
    found = asdict(value)
    if "accuracy" in found:
        return found | {"accuracy": _finite(found["accuracy"])}
    return _finite(found)


def _finite(figures: Report) -> Report:
    return {name: one if np.isfinite(one) else None for name, one in figures.items()}
