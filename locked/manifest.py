"""The manifest of a locked model: its settings, and a hash of each file in its folder."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import InputError
from common.hashing import sha256_of

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
NETWORK = "network.onnx"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[^/\\]+$")]  # of a file in the model's folder
Probability = Annotated[float, Field(ge=0, le=1)]


class LockedModelError(InputError):
    """A locked model is missing, damaged or altered; the message names the file."""


class _Part(BaseModel):
    """A part of the manifest; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class BaseWeights(_Part):
    """The base model's weights, from which the training started."""

    name: str
    revision: str | None
    sha256: Sha256


class Calibration(_Part):
    """Platt scaling of a network's P(disaster): the log-odds, times a scale, plus a shift.

    As in Guo et al. 2017, https://arxiv.org/abs/1706.04599.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Golden(_Part):
    """A text, and the model's answer when it was locked to it."""

    text: str
    probability: Probability  # calibrated


class Adaptation(_Part):
    """The labelled tweets of an event that the network has learnt beside the training data."""

    labels: str  # name of the file
    labels_sha256: Sha256
    tweets: int  # labelled ones


class Manifest(_Part):
    """The content of manifest.json."""

    labels: tuple[Literal["not_disaster"], Literal["disaster"]]
    calibration: Calibration
    threshold: Probability  # P(disaster) from which the label is disaster
    max_length: Annotated[int, Field(ge=1)]  # tokens
    base_model: BaseWeights
    training_data_sha256: Sha256
    metrics: dict[str, float]  # on the validation split
    files: dict[Name, Sha256]
    golden: list[Golden] = []  # a server compares its answers with these before it starts
    adaptation: Adaptation | None = None

    @property
    def version(self) -> str:
        """12 hex digits of a hash of everything that determines an answer, and of nothing else."""
        decisive = {"labels", "calibration", "threshold", "max_length"}
        files = [self.files[name] for name in (NETWORK, TOKENIZER)]
        text = json.dumps([self.model_dump(include=decisive), files], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_manifest(path: Path, name: str | None = None) -> Manifest:
    """Return the checked manifest at `path`; errors call it `name`, by default its path.

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
    """Return the checked manifest in `content`; errors call it `name`.

    Raises LockedModelError if it is malformed, or does not list the network or the tokenizer.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise LockedModelError(f"{name}: {key}: {first['msg']}") from error
    if missing := {TOKENIZER, NETWORK} - manifest.files.keys():
        raise LockedModelError(f"{name}: files: {', '.join(missing)} is not listed")
    return manifest


def verify(folder: Path, name: str | None = None) -> Manifest:
    """Return the manifest of a locked model after comparing the hash of each file with it.

    Files that the manifest does not list are ignored: a volume has its own, such as lost+found.
    Errors call the folder `name`, by default its path.

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
                "In a clone, `python -m experiments.restore` brings the model back; if the "
                "cache is damaged too, see docs/experiments.md"
            )
    return manifest
