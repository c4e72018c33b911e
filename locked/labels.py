"""The two labels of a tweet."""

from typing import Literal

Label = Literal["not_disaster", "disaster"]
LABELS: tuple[Literal["not_disaster"], Literal["disaster"]] = ("not_disaster", "disaster")


def label(probability: float, threshold: float) -> Label:
    """Return the label for P(disaster): disaster if it is `threshold` or more."""
    return LABELS[int(probability >= threshold)]
