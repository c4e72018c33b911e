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
    """The folder is not the model that its manifest describes; the message names the file."""


class BaseWeights(BaseModel):
    """The weights that the training started from."""

    model_config = ConfigDict(extra="forbid")

    name: str
    revision: str | None
    sha256: Sha256


class Calibration(BaseModel):
    """What makes of a network's answer the probability that it stands for.

    Platt scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599): the log-odds, times a scale,
    plus a shift.
    """

    model_config = ConfigDict(extra="forbid")

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Golden(BaseModel):
    """A text and what the model said of it when it was locked."""

    model_config = ConfigDict(extra="forbid")

    text: str
    probability: Annotated[float, Field(ge=0, le=1)]


class Manifest(BaseModel):
    """What manifest.json says of the model beside it."""

    model_config = ConfigDict(extra="forbid")

    labels: tuple[Literal["not_disaster"], Literal["disaster"]]
    calibration: Calibration
    threshold: Annotated[float, Field(ge=0, le=1)]  # P(disaster) from which the label is disaster
    max_length: Annotated[int, Field(ge=1)]  # tokens
    base_model: BaseWeights
    training_data_sha256: Sha256
    metrics: dict[str, float]  # on the validation split
    files: dict[str, Sha256]
    golden: list[Golden] = []  # what a server asks before it trusts the model

    @property
    def version(self) -> str:
        """A name for the model: a hash of all that is said here, 12 hexadecimal digits."""
        said = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def read_manifest(path: Path, called: str | None = None) -> Manifest:
    """Read a manifest; `called` is its name in errors, where that is not its path.

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
    """Read the manifest of a locked model and check every file against it.

    `called` is the folder's name in errors, where that is not its path.

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
        if (found := sha256_of(folder / name)) != digest:
            raise LockedModelError(
                f"{called}/{name} has been altered: SHA-256 is {found}, {MANIFEST} says {digest}. "
                "In a clone, `python -m experiments.restore` brings the committed model back"
            )
