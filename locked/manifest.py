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
Name = Annotated[str, Field(pattern=r"^[^/\\]+$")]  # of a file in the model's folder
Probability = Annotated[float, Field(ge=0, le=1)]


class LockedModelError(Exception):
    """The folder is not the model of its manifest; the message names the file."""


class _Part(BaseModel):
    """A part of the manifest; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class BaseWeights(_Part):
    """The weights that the training started from."""

    name: str
    revision: str | None
    sha256: Sha256


class Calibration(_Part):
    """Turns a network's answer into the probability that it stands for.

    Platt scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599): the log-odds, times a scale,
    plus a shift.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Golden(_Part):
    """A text and the model's answer to it when the model was locked."""

    text: str
    probability: Probability


class Change(_Part):
    """A figure before and after an adaptation, each with its 95 % interval."""

    before: float
    before_95: tuple[float, float]
    after: float
    after_95: tuple[float, float]
    difference_95: tuple[float, float]


class Adaptation(_Part):
    """How the model was adapted to an event, by labelled tweets of that event."""

    labels: str  # the file's name
    labels_sha256: Sha256
    tweets: int
    step: Literal["none", "calibration", "last layer", "training"]
    reason: str  # for the step
    auc: float | None = None  # of the original model on the labels
    on_labels: dict[str, Change] = {}  # cross-fitted; of a training there are none
    on_test: dict[str, Change] = {}  # on the test split, which is of the old events; likewise


class Manifest(_Part):
    """The content of manifest.json, which describes the model beside it."""

    labels: tuple[Literal["not_disaster"], Literal["disaster"]]
    calibration: Calibration
    threshold: Probability  # P(disaster) from which the label is disaster
    max_length: Annotated[int, Field(ge=1)]  # tokens
    base_model: BaseWeights
    training_data_sha256: Sha256
    metrics: dict[str, float]  # on the validation split
    files: dict[Name, Sha256]
    golden: list[Golden] = []  # texts and answers that a server compares before it answers
    adaptation: Adaptation | None = None

    @property
    def version(self) -> str:
        """A hash of everything that decides an answer, and of nothing else: 12 hex digits."""
        decisive = {"labels", "calibration", "threshold", "max_length"}
        files = [self.files[name] for name in (NETWORK, TOKENIZER)]
        text = json.dumps([self.model_dump(include=decisive), files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_manifest(path: Path, name: str | None = None) -> Manifest:
    """Return a checked manifest; errors call it `name`, or by its path.

    Raises LockedModelError if it is missing or malformed.
    """
    name = name or str(path)
    try:
        return parse_manifest(path.read_bytes(), name)
    except FileNotFoundError as error:
        raise LockedModelError(f"{name} is missing: no locked model here") from error
    except OSError as error:
        raise LockedModelError(f"{name}: {error.strerror}") from error


def parse_manifest(content: bytes, name: str) -> Manifest:
    """Return the manifest in `content`, or raise LockedModelError with its `name`."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LockedModelError(f"{name}: {where}: {first['msg']}") from error
    if missing := {TOKENIZER, NETWORK} - manifest.files.keys():
        raise LockedModelError(f"{name}: files: {', '.join(missing)} is not listed")
    return manifest


def verify(folder: Path, name: str | None = None) -> Manifest:
    """Return the manifest of a locked model after comparing every file with it.

    Files that the manifest does not list are ignored: a volume has its own, such as lost+found.
    Errors call the folder `name`, or by its path.

    Raises LockedModelError if a file is missing or altered.
    """
    name = name or str(folder)
    manifest = read_manifest(folder / MANIFEST, f"{name}/{MANIFEST}")
    for file, digest in manifest.files.items():
        try:
            actual = sha256_of(folder / file)
        except FileNotFoundError as error:
            raise LockedModelError(f"{name}: missing: {file}") from error
        except OSError as error:
            raise LockedModelError(f"{name}/{file}: {error.strerror}") from error
        if actual != digest:
            raise LockedModelError(
                f"{name}/{file} has been altered: SHA-256 is {actual}, {MANIFEST} says {digest}. "
                "In a clone, `python -m experiments.restore` brings the committed model back"
            )
    return manifest
