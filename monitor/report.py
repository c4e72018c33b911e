"""Builds and writes the report: accuracy, drift and verdict."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.atomic import new_file
from common.page import render
from locked.features import FEATURES
from locked.manifest import MANIFEST, read_manifest
from locked.reference import Reference
from monitor import drift
from monitor.labels import Reviewed
from monitor.log import Log
from monitor.quality import Answers, Figure, estimate
from monitor.records import Lines
from monitor.verdict import decide

Report = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A model whose answers are judged."""

    version: str
    threshold: float
    reference: Reference
    fitted_sha256: str | None  # of the file of labels that the model was fitted to


def load(folder: Path) -> Model:
    """Return the version, threshold and reference of a locked model.

    Raises:
        InputError: the folder has no manifest or no reference.

    """
    manifest = read_manifest(folder / MANIFEST)
    reference = Reference.load(folder)
    fitted_sha256 = manifest.adaptation.labels_sha256 if manifest.adaptation else None
    return Model(manifest.version, manifest.threshold, reference, fitted_sha256)


def build(model: Model, log: Log, lines: Lines, reviewed: Reviewed, prepared: Path) -> Report:
    """Return the report, which compares a log with the reference of its model."""
    path = prepared / "train.parquet"  # the texts to compare live ones with, if the file exists
    training_texts = (
        pd.read_parquet(path, columns=["text"])["text"].tolist() if path.exists() else []
    )
    times, distinct, reference = log.table["time"], log.distinct, model.reference
    answers = Answers(distinct["probability"].to_numpy(), distinct["disaster"].to_numpy())
    figures = estimate(answers, reviewed)
    is_right = (reference.probabilities >= model.threshold) == reference.labels
    accuracy = float(is_right.mean())
    rows = distinct.iloc[drift.sample(np.arange(len(distinct)), drift.MAX_LIVE)]
    effects = drift.compute_effects(
        reference.features.astype(np.float32),  # as the log: equal values stay equal
        rows[[*FEATURES]].to_numpy(),
        reference.probabilities.astype(np.float32),
        rows["probability"].to_numpy(),
    )
    wording, words = drift.compare_words(training_texts, log.texts.tolist())
    moves = effects | ({"their words": wording} if wording else {})
    numbers = 1 / log.table["rate"].astype(np.float64)  # of tweets that each prediction stands for
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "version": model.version,
        "verdict": asdict(decide(accuracy, figures["accuracy"], len(reviewed.rows), moves, words)),
        "first": f"{times.min():%Y-%m-%d %H:%M}",
        "last": f"{times.max():%Y-%m-%d %H:%M}",
        "predictions": len(log),
        "tweets": round(float(numbers.sum())),
        "distinct": len(distinct),
        "disasters": float(numbers[log.table["disaster"]].sum() / numbers.sum()),
        "texts": len(log.texts),
        "reference": {
            "tweets": len(reference.labels),
            "accuracy": accuracy,
            "prevalence": float(np.mean(reference.labels)),
        },
        "estimated": {name: _to_json(figure) for name, figure in figures.items()},
        "labels": {
            "tweets": len(reviewed.rows),
            "right": int((answers.disaster[reviewed.rows] == (reviewed.targets == 1)).sum()),
            "total": reviewed.total,
            "unknown": reviewed.unknown,
        },
        "effects": {name: asdict(effect) for name, effect in effects.items()},
        "wording": asdict(wording) if wording else None,
        "words": [asdict(word) for word in words],
        "lines": asdict(lines),
        "other_versions": log.others,
    }


def write(report: Report, folder: Path) -> None:
    """Write report.json and report.html, which is one page without external files."""
    page = render(
        Path(__file__).with_name("report.html.jinja"),
        **report,
        negligible=drift.NEGLIGIBLE,
        similar=drift.SIMILAR,
    )
    content = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("report.json", content), ("report.html", page)):
        with new_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")


def _to_json(figure: Figure) -> Report:
    """Return a figure as a dictionary, with None instead of NaN."""
    return {name: one if np.isfinite(one) else None for name, one in asdict(figure).items()}
