"""The fields of an answer: serve logs them, monitor reads them, score adds some to a table."""

from typing import NamedTuple

from locked.labels import Label

SCHEMA = 1  # version of the log's line format; raise it when the meaning of a field changes
SCORED = ("label", "probability", "model")  # the fields that score adds to the rows of a table


class Answer(NamedTuple):
    """An answer as a line of the prediction log; the field names are the JSON keys."""

    id: str
    time: str  # ISO 8601, in UTC
    model: str  # the model's version
    label: Label
    probability: float  # P(disaster)
    features: dict[str, float | None]  # by locked.features.FEATURES
    rate: float = 1.0  # share of the tweets that are logged
    ms: float | None = None  # milliseconds from the request's arrival to its answer
    hash: str | None = None  # equal for tweets with the same words; None without a key
    text: str | None = None  # only where the log may hold texts
    schema: int = SCHEMA
