"""The schema of params.yaml: every param with its type and bounds.

An unknown key or a wrong type is an error that names the key (`train.lr: ...`). The section
of a stage lies in that stage's folder; the sections here decide no output.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from common.errors import InputError
from stages.distill.params import Distill
from stages.evaluate.params import Evaluate
from stages.export.params import Export
from stages.lock.params import Lock
from stages.prepare.params import Prepare
from stages.shared.params import Compute, Model, Positive, Section
from stages.train.params import Train


class Promote(Section):
    """When a model may replace another."""

    margin: Annotated[float, Field(ge=0, lt=1)]


class Runtime(Section):
    """How a training run is started, saved and watched; none of it is part of the result."""

    launch: Annotated[str, Field(min_length=1)]
    checkpoint_steps: Positive
    wandb: str | None
    profile: bool


class Params(Section):
    """The whole of params.yaml."""

    compute: Compute
    prepare: Prepare
    model: Model
    distill: Distill
    train: Train
    runtime: Runtime
    export: Export
    lock: Lock
    evaluate: Evaluate
    promote: Promote


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check a params file, as YAML 1.2 (where `2e-5` is a number).

    Raises:
        InputError: the file is missing, is no YAML, or a key is missing, unknown or ill-typed.

    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    return parse(values, path)


def parse(values: object, path: Path) -> Params:
    """Check what a params file holds.

    Raises:
        InputError: a key is missing, unknown or ill-typed.

    """
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections ({', '.join(Params.model_fields)})")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})"
            if e["type"] != "missing"
            else f"{path}: {'.'.join(map(str, e['loc']))}: this key is missing"
            for e in error.errors()
        ]
        raise InputError("\n".join(problems)) from error
