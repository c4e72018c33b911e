"""The settings with which a table is read."""

from dataclasses import dataclass
from typing import Literal

Quotes = Literal["double", "backslash", "none"]


@dataclass(frozen=True)
class Format:
    """The columns to look for, and the file's format; None detects it."""

    text: str = "text"  # name of the column of tweets
    label: str | None = None  # name of the column of labels
    labels: frozenset[str] = frozenset()  # values of that column, folded
    encoding: str | None = None
    separator: str | None = None
    quotes: Quotes | None = None
    prefix: str = "--"  # before a setting's name in errors: --quotes, prepare.quotes


def fold(name: str) -> str:
    """Return a name or value in lower case, without quotes and white space around it."""
    return name.strip().strip("'\"").strip().casefold()
