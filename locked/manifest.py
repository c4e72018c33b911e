"""The locked model: a folder whose every file is held to the hash in its manifest.json."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.hashing import sha256_of

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
NETWORK = "network.onnx"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LockedModelError(Exception):
    """The folder is not the model of its manifest; the message names the file."""


class BaseWeights(BaseModel):
    """The weights that the training started from."""

    model_config = ConfigDict(extra="forbid")

    name: str
    revision: str | None
    sha256: Sha256


class Calibration(BaseModel):
    """Turns a network's answer into the probability that it stands for.

    Platt scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599): the log-odds, times a scale,
    plus a shift.
    """

    model_config = ConfigDict(extra="forbid")

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Golden(BaseModel):
    """A text and the model's answer to it when the model was locked."""

    model_config = ConfigDict(extra="forbid")

    text: str
    probability: Annotated[float, Field(ge=0, le=1)]


class Change(BaseModel):
    """A figure before and after an adaptation, each with its 95 % interval."""

    model_config = ConfigDict(extra="forbid")

    before: float
    before_95: tuple[float, float]
    after: float
    after_95: tuple[float, float]
    difference_95: tuple[float, float]


class Adaptation(BaseModel):
    """How the model was adapted to an event, by labelled tweets of that event."""

    model_config = ConfigDict(extra="forbid")

    labels: str  # the file's name
    labels_sha256: Sha256
    tweets: int
    step: Literal["none", "calibration", "last layer"]
    reason: str  # for the step
    auc: float  # of the original model on the labels
    on_labels: dict[str, Change]  # cross-fitted
    on_test: dict[str, Change]  # on the test split, which is of the old events


class Manifest(BaseModel):
    """The content of manifest.json, which describes the model beside it."""

    model_config = ConfigDict(extra="forbid")

    labels: tuple[Literal["not_disaster"], Literal["disaster"]]
    calibration: Calibration
    threshold: Annotated[float, Field(ge=0, le=1)]  # P(disaster) from which the label is disaster
    max_length: Annotated[int, Field(ge=1)]  # tokens
    base_model: BaseWeights
    training_data_sha256: Sha256
    metrics: dict[str, float]  # on the validation split
    files: dict[str, Sha256]
    golden: list[Golden] = []  # texts and answers that a server compares before it answers
    adaptation: Adaptation | None = None

    @property
    def version(self) -> str:
        """A hash of everything that decides an answer, and of nothing else: 12 hex digits."""
        decisive = {"labels", "calibration", "threshold", "max_length"}
        files = [self.files[name] for name in (NETWORK, TOKENIZER)]
        text = json.dumps([self.model_dump(include=decisive), files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_manifest(path: Path, called: str | None = None) -> Manifest:
    """Return a checked manifest; errors name it by `called`, or by its path.

    Raises:
        LockedModelError: it is missing or malformed.

    """
    called = called or str(path)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise LockedModelError(f"{called} is missing: no locked model here") from error
    except OSError as error:
        raise LockedModelError(f"{called}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LockedModelError(f"{called}: {where}: {first['msg']}") from error
    for name in (TOKENIZER, NETWORK):
        if name not in manifest.files:
            raise LockedModelError(f"{called}: files: {name} is not listed")
    for name in manifest.files:
        if Path(name).name != name:
            raise LockedModelError(f"{called}: files: {name} is not in the model's folder")
    return manifest


def verify(folder: Path, called: str | None = None) -> Manifest:
    """Return the manifest of a locked model, having checked every file against it.

    Errors name the folder by `called`, or by its path.

    Raises:
        LockedModelError: a file is missing or altered.

    """
    called = called or str(folder)
    manifest = read_manifest(folder / MANIFEST, f"{called}/{MANIFEST}")
    try:
        _compare(folder, manifest, called)
    except OSError as error:
        raise LockedModelError(
            f"{called}/{Path(error.filename or '').name}: {error.strerror}"
        ) from error
    return manifest


def _compare(folder: Path, manifest: Manifest, called: str) -> None:
    # Other files are left alone: a volume has its own, such as lost+found.
    if missing := sorted(name for name in manifest.files if not (folder / name).exists()):
        raise LockedModelError(f"{called}: missing: {', '.join(missing)}")
    for name, digest in manifest.files.items():
        if (actual := sha256_of(folder / name)) != digest:
            raise LockedModelError(
                f"{called}/{name} has been altered: SHA-256 is {actual}, {MANIFEST} says {digest}. "
                "In a clone, `python -m experiments.restore` brings the committed model back"
            )
