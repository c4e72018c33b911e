"""A world whose truth is known: tweets with labels, a model that answers them, its reference."""

import contextlib
import hashlib
import io
import json
import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit, logit

from locked.features import FEATURES
from locked.labels import LABELS
from locked.manifest import MANIFEST, NETWORK, TOKENIZER, BaseWeights, Calibration, Manifest
from locked.reference import REFERENCE, Reference
from monitor.__main__ import call
from tests.conftest import exit_status

SHARE = 0.44  # of disasters where the model learnt
SPREAD = 0.72  # of a score within a class, at -1 and 1: the model is right on 92 %
HELD_OUT = 571
START = datetime(2025, 11, 20, 6, tzinfo=UTC)
Line = dict[str, Any]


@dataclass
class Tweets:
    """Tweets, what is true of them and what the model says."""

    labels: npt.NDArray[np.int8]
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    @property
    def disaster(self) -> npt.NDArray[np.bool_]:
        return self.probabilities >= 0.5

    @property
    def accuracy(self) -> float:
        return float((self.disaster == self.labels).mean())


def tweets(seed: int, number: int, share: float = SHARE, longer: float = 0.0) -> Tweets:
    """Draw tweets: nothing but the share of disasters, and the characters, ever moves."""
    chance = np.random.default_rng(seed)
    labels = (chance.random(number) < share).astype(np.int8)
    scores = np.where(labels == 1, 1, -1) + SPREAD * chance.standard_normal(number)
    odds = 2 * scores / SPREAD**2 + logit(SHARE)
    features = chance.random((number, len(FEATURES))).astype(np.float32)
    features[:, FEATURES.index("characters")] += longer
    return Tweets(labels, expit(odds).astype(np.float32), features)


def reference() -> Reference:
    held_out = tweets(0, HELD_OUT)
    return Reference(
        vocabulary=np.arange(10, dtype=np.uint32),
        probabilities=held_out.probabilities.astype(np.float64),
        labels=held_out.labels,
        features=held_out.features.astype(np.float64),
        positive_share=SHARE,
    )


def make_model(folder: Path, note: float = 0.0) -> str:
    """Write what is read of a locked model; return its version."""
    manifest = Manifest(
        labels=LABELS,
        calibration=Calibration(),
        threshold=0.5,
        max_length=128,
        base_model=BaseWeights(name="base", revision=None, sha256="0" * 64),
        training_data_sha256="0" * 64,
        metrics={},
        files={TOKENIZER: "0" * 64, NETWORK: hashlib.sha256(str(note).encode()).hexdigest()},
    )
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    (folder / REFERENCE).write_text(json.dumps(reference().as_dict()))
    return manifest.version


def lines_of(
    live: Tweets,
    version: str,
    *,
    start: datetime = START,
    texts: list[str] | None = None,
    prefix: str = "r",
) -> list[Line]:
    """Return the log's lines: a tweet every ten minutes."""
    return [
        {
            "schema": 1,
            "id": f"{prefix}-{i}",
            "time": (start + timedelta(minutes=10 * i)).isoformat().replace("+00:00", "Z"),
            "model": version,
            "probability": float(live.probabilities[i]),
            "label": LABELS[int(live.disaster[i])],
            "features": dict(zip(FEATURES, map(float, live.features[i]), strict=True)),
            "rate": 1.0,
            "hash": f"{zlib.crc32(prefix.encode()):08x}{i:08x}",
        }
        | ({"text": texts[i]} if texts else {})
        for i in range(len(live.labels))
    ]


def write(path: Path, lines: list[Line]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


class Place:
    """A folder with a model and room for its log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model, self.logs = folder, folder / "model", folder / "logs"
        self.version = make_model(self.model)

    def log(self, live: Tweets, **other: Any) -> list[Line]:  # noqa: ANN401
        lines = lines_of(live, self.version, **other)
        write(self.logs / "predictions-1.jsonl", lines)
        return lines


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def command(*arguments: object, status: int = 0) -> str:
    """Run `python -m monitor` in this process, check its status; return its error or output."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code, message = exit_status(lambda: sys.exit(call([*map(str, arguments)])))
    output = message or printed.getvalue()
    assert code == status, output
    return output
