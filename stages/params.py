"""The schema of params.yaml: each param's type and bounds.

An unknown key or a wrong type is an error that names the key (`train.lr: ...`). No stage depends on
this file: the values are params of the stages in dvc.yaml.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from common.errors import InputError
from reader.format import Quotes, fold

Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
CsvName = Annotated[str, Field(pattern=r"^[^/\\]+\.csv$")]  # in data/labels/ or data/pairs/
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _as_in_table(value: object) -> object:
    """Return a YAML number or boolean as the text that a table has for it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Value = Annotated[str, BeforeValidator(_as_in_table)]  # of a column, where 1 and true are texts
Values = Annotated[list[Value], Field(min_length=1)]


class Section(BaseModel):
    """A section of params.yaml; an unknown key, or a string instead of a number, is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Compute(Section):
    """How all stages compute on a CPU."""

    exact: bool
    threads: Positive


class Prepare(Section):
    """Where the tweets come from, what their columns mean, and how they are split."""

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
    time_format: Annotated[str, Field(pattern="%")] | None
    seed: Seed
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1, to leave rows to train on")
        if both := {*map(fold, self.disaster)} & {*map(fold, self.not_disaster)}:
            raise ValueError(f"disaster and not_disaster both have {', '.join(sorted(both))}")
        if self.group and self.time:
            raise ValueError("group and time exclude each other; set one of them to null")
        if self.time_format and not self.time:
            raise ValueError("time_format is set, but time is null")
        if self.held_out and not self.group:
            raise ValueError("held_out names groups, but group is null")
        return self


class Pins(Section):
    """The SHA-256 that each file of the base model must have."""

    weights: Sha256 | None = None
    config: Sha256 | None = None
    tokenizer: Sha256 | None = None


class Model(Section):
    """The base model: a folder, or a Hugging Face name with a revision."""

    name: Name
    revision: str | None = None
    sha256: Pins | None = None
    max_length: Annotated[int, Field(ge=8, le=512, multiple_of=8)]  # tokens


class Distill(Section):
    """How the labels are mixed with the teachers' predictions."""

    weight: BelowOne
    folds: Annotated[int, Field(ge=2)]
    seed: Seed


class Train(Section):
    """The fine-tuning recipe."""

    event: CsvName
    seed: Seed
    layers: Positive | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    epochs: Positive
    patience: Positive
    batch_size: Positive
    lr: Share
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    freeze_embeddings: bool
    dropout: BelowOne
    warmup: BelowOne
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]


class Runtime(Section):
    """How a training is started, saved and logged, without an effect on the result."""

    launch: Name
    checkpoint_steps: Positive
    wandb: str | None


class Export(Section):
    """How the network is quantised."""

    seed: Seed
    calibration_rows: Positive


class Minimum(Section):
    """The least a model must reach on the test split to pass."""

    accuracy: Fraction
    f1: Fraction
    roc_auc: Fraction


class Evaluate(Section):
    """How the locked model is judged."""

    seed: Seed
    bootstrap: Annotated[int, Field(ge=100)]
    pairs: CsvName
    minimum: Minimum


class Promote(Section):
    """When a model may replace another."""

    margin: BelowOne


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
    """Return the checked content of a params file in YAML 1.2 (where `2e-5` is a number).

    Raises InputError if the file is missing or not YAML, or a key is missing, unknown or invalid.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(values, path)


def parse(values: Any, path: Path) -> Params:  # noqa: ANN401 - checked here
    """Return the params in the content of a params file.

    Raises InputError if a key is missing, unknown or invalid; the message names `path` and key.
    """
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections ({', '.join(Params.model_fields)})")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            is_missing = problem["type"] == "missing"
            text = "this key is missing" if is_missing else problem["msg"]
            got = "" if is_missing else f" (got {problem['input']!r})"
            key = ".".join(map(str, problem["loc"]))
            problems.append(f"{path}: {key}: {text}{got}" if key else f"{path}: {text}")
        raise InputError("\n".join(problems)) from error
