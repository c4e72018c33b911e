"""What a caller knows of a table before it is read."""

from dataclasses import dataclass
from typing import Literal

Quotes = Literal["double", "backslash", "none"]


@dataclass(frozen=True)
class Format:
    """The columns to look for, and how the file is written; None is detected."""

    text: str = "text"  # the column
    label: str | None = None
    labels: frozenset[str] = frozenset()  # the label's values, folded
    encoding: str | None = None
    separator: str | None = None
    quotes: Quotes | None = None
    prefix: str = "--"  # of these settings, where an error names one


def fold(name: str) -> str:
    """Return a name or value in lower case, without quotes and white space around it."""
    return name.strip().strip("'\"").strip().casefold()
