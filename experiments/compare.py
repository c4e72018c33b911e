"""Two classifiers on the same tweets."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

Said = npt.NDArray[np.bool_]


class Difference(NamedTuple):
    """How much more accurate one classifier is than another, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it in points of a percent."""
        return "{:+.2f} points (95 % {:+.2f} to {:+.2f})".format(*(100 * part for part in self))


def difference(truth: Said, said: Said, other: Said) -> Difference:
    """Compare answers to the same tweets, (rows,) each, tweet by tweet.

    The interval is a paired percentile bootstrap (Efron & Tibshirani 1993): what both get wrong
    widens it by nothing, as it would widen the intervals of two accuracies.
    """
    gained = (said == truth).astype(float) - (other == truth)
    if not gained.any():
        return Difference(0, 0, 0)
    drawn = bootstrap((gained,), np.mean, method="percentile", batch=100, rng=0)
    return Difference(float(gained.mean()), *map(float, drawn.confidence_interval))
