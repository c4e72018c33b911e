"""The params of `prepare`."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from reader.format import Quotes, fold
from stages.shared.params import Name, Section, Seed, Share


def _as_written(value: object) -> object:
    """Return a number or a truth value of YAML as the text that a table has for it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Value = Annotated[str, BeforeValidator(_as_written)]  # of a column, in which 1 and true are texts
Values = Annotated[list[Annotated[Value, AfterValidator(fold)]], Field(min_length=1)]


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
    def _is_sound(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1, to leave rows to train on")
        if both := set(self.disaster) & set(self.not_disaster):
            raise ValueError(f"disaster and not_disaster both have {', '.join(sorted(both))}")
        if self.group and self.time:
            raise ValueError("group and time exclude each other; set one of them to null")
        if self.time_format and not self.time:
            raise ValueError("time_format is of the column time, which is null")
        if self.held_out and not self.group:
            raise ValueError("held_out names groups, but group is null")
        return self
