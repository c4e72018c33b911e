"""The two classes of a tweet."""

from typing import Literal

Label = Literal["not_disaster", "disaster"]
LABELS: tuple[Literal["not_disaster"], Literal["disaster"]] = ("not_disaster", "disaster")


def label(probability: float, threshold: float) -> Label:
    """Return the class for P(disaster) and the threshold from which a tweet is a disaster."""
    return LABELS[int(probability >= threshold)]
