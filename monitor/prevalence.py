"""How many of the live tweets report a disaster, from probabilities alone.

Where only the share of disasters has moved, tweets of each class look as they did, and what a
probability stands for moves with the share: Saerens, Latinne, Decaestecker 2002
(https://doi.org/10.1162/089976602753284446), on calibrated probabilities as Alexandari, Kundaje,
Shrikumar 2020 (https://arxiv.org/abs/1901.06852) advise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from locked.classifier import SURE, log_odds

BINS = 400  # of the log-odds: live tweets by the million are counted in them once
PRIOR = 1.0  # pulls a recalibration to none at all, as strongly as about one tweet
STEPS = 25  # of Newton's method, or halvings of an interval

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Live tweets, counted by their log-odds and by what was answered."""

    counts: npt.NDArray[np.int64]  # (cells,)
    odds: Floats  # (cells,), the mean
    disaster: npt.NDArray[np.bool_]  # (cells,)


def count(probabilities: npt.NDArray[np.floating], disaster: npt.NDArray[np.bool_]) -> Cells:
    """Count answers, both (n,), in cells; empty ones are left out."""
    odds = log_odds(probabilities)
    end = float(logit(1 - SURE))
    bins = np.minimum(((odds + end) / (2 * end) * BINS).astype(np.int64), BINS - 1)
    bins = 2 * bins + disaster
    counts = np.bincount(bins, minlength=2 * BINS)
    sums = np.bincount(bins, odds, minlength=2 * BINS)
    used = np.flatnonzero(counts)
    return Cells(counts[used], sums[used] / counts[used], used % 2 == 1)


def recalibrate(odds: Floats, labels: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Fit scale and shift of the log-odds (Platt 1999) to labels, for many weightings at once.

    Args:
        odds: (n,) log-odds as they were answered.
        labels: (n,) 0 or 1.
        weights: (resamples, n), how often each tweet counts.

    Returns:
        scales and shifts, (resamples,) each.

    """
    given = np.stack([odds, np.ones_like(odds)], axis=1)
    expected = np.array([1.0, 0.0])
    found = np.zeros((len(weights), 2))  # where the loss curves most, so that no step is too long
    for _ in range(STEPS):
        said = expit(found @ given.T)
        slope = (weights * (labels - said)) @ given - PRIOR * (found - expected)
        curve = np.einsum("bn,ni,nj->bij", weights * said * (1 - said), given, given)
        curve += PRIOR * np.eye(2)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        found += step
    return found[:, 0], found[:, 1]


def share(odds: Floats, counts: Floats, before: Floats) -> Floats:
    """Return the share of disasters that live tweets have most likely: (resamples,).

    It is where the EM of Saerens et al. ends, found as the root of its likelihood's slope, which
    falls steadily.

    Args:
        odds: (resamples, cells), calibrated where the share was `before`.
        counts: (resamples, cells) or (cells,), of tweets.
        before: (resamples,).

    """
    said = expit(odds)
    one, other = said / before[:, None], (1 - said) / (1 - before[:, None])
    low, high = np.full_like(before, SURE), np.full_like(before, 1 - SURE)
    for _ in range(STEPS):
        middle = (low + high) / 2
        mixed = middle[:, None] * one + (1 - middle[:, None]) * other
        rising = (counts * (one - other) / mixed).sum(axis=1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2)


def shifted(odds: Floats, before: Floats, now: Floats) -> Floats:
    """Return P(disaster) where the share is `now`, (resamples, cells), of odds where it was not."""
    return np.asarray(expit(odds + (logit(now) - logit(before))[:, None]))
