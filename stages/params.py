"""The schema of params.yaml: every knob with its type and bounds.

Unknown keys and wrong types are errors that name the key (`train.lr: ...`).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reader.errors import InputError
from reader.format import Quotes, fold


def _as_written(value: object) -> object:
    """Take a number or a truth value of YAML as the text that a table has in its place."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Value = Annotated[str, BeforeValidator(_as_written)]  # of a column: 1 and true are text there
Values = Annotated[list[Annotated[Value, AfterValidator(fold)]], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A strict, immutable mapping: a string is no number, and no key goes unread."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Compute(Section):
    """How numbers are computed on a CPU, in every stage."""

    exact: bool
    threads: Positive


class Prepare(Section):
    """Where the tweets come from, what their columns mean and how they are split."""

    source: Name
    files: Name
    train_only: Name | None
    text: Name
    label: Name
    id: Name
    disaster: Values
    not_disaster: Values
    drop_others: bool
    encoding: Name | None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None
    quotes: Quotes | None
    group: Name | None
    held_out: list[Value]
    time: Name | None
    seed: Seed
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1, to leave rows to train on")
        if both := set(self.disaster) & set(self.not_disaster):
            raise ValueError(f"disaster and not_disaster both have {', '.join(sorted(both))}")
        if self.group and self.time:
            raise ValueError("group and time both say how to split; one of them must be null")
        if self.held_out and not self.group:
            raise ValueError("held_out names groups, and group is null")
        return self


class Pins(Section):
    """The SHA-256 that each file of the base model must have."""

    weights: Sha256 | None = None
    config: Sha256 | None = None
    tokenizer: Sha256 | None = None


class Model(Section):
    """The base model: a folder, or a hub name at a pinned revision."""

    name: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    sha256: Pins | None = None
    max_length: Annotated[int, Field(ge=8, le=512, multiple_of=8)]  # whole steps of padding


class Distill(Section):
    """How far the training targets follow other models instead of the labels."""

    weight: Annotated[float, Field(ge=0, lt=1)]
    folds: Annotated[int, Field(ge=2)]
    seed: Seed


class Train(Section):
    """The fine-tuning recipe."""

    seed: Seed
    layers: Positive | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    epochs: Positive
    patience: Positive
    batch_size: Positive
    lr: Annotated[float, Field(gt=0, lt=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    freeze_embeddings: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]


class Export(Section):
    """How the network is quantised."""

    seed: Seed
    calibration_rows: Positive


class Minimum(Section):
    """The least a model must reach on the test split to pass."""

    accuracy: Annotated[float, Field(ge=0, le=1)]
    f1: Annotated[float, Field(ge=0, le=1)]
    roc_auc: Annotated[float, Field(ge=0, le=1)]


class Evaluate(Section):
    """How the locked model is judged."""

    seed: Seed
    bootstrap: Annotated[int, Field(ge=100)]
    minimum: Minimum


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
