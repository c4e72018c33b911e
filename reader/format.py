"""How a table of tweets is written, as far as it is known beforehand."""

from dataclasses import dataclass
from typing import Literal

Quotes = Literal["double", "backslash", "none"]


@dataclass(frozen=True)
class Format:
    """What the table is to hold and how it is written; what is None is found out."""

    text: str = "text"  # the column
    label: str | None = None
    labels: frozenset[str] = frozenset()  # its values, folded
    encoding: str | None = None
    separator: str | None = None
    quotes: Quotes | None = None
    prefix: str = "--"  # of these settings, where an error names one


def fold(name: str) -> str:
    """Return a name or value without case, quotes and white space around it."""
    return name.strip().strip("'\"").strip().casefold()
