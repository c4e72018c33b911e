"""Compares the accuracy of two classifiers on the same tweets."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

Labels = npt.NDArray[np.bool_]


class Difference(NamedTuple):
    """How much more accurate one classifier is than another, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the difference and its interval, in percentage points."""
        return "{:+.2f} points (95 % {:+.2f} to {:+.2f})".format(*(100 * part for part in self))


def compare_accuracy(truth: Labels, answers: Labels, other_answers: Labels) -> Difference:
    """Return the difference of two classifiers in accuracy on the same tweets: (rows,) each.

    The interval is a paired percentile bootstrap (Efron & Tibshirani 1993). Mistakes that both
    make do not widen it, as they would widen the intervals of two separate accuracies.
    """
    gain = (answers == truth).astype(float) - (other_answers == truth)
    if not gain.any():
        return Difference(0, 0, 0)
    result = bootstrap((gain,), np.mean, method="percentile", batch=100, rng=0)
    return Difference(float(gain.mean()), *map(float, result.confidence_interval))
