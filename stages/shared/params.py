"""What the sections of params.yaml have in common, and the sections that several stages read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A strict, immutable mapping: a string is no number, and no key goes unread."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Compute(Section):
    """How numbers are computed on a CPU, in every stage."""

    exact: bool
    threads: Positive


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
