"""Estimates the accuracy of live answers, with an interval that holds for unseen events too.

On an event that the training data did not have, the true log-odds of a tweet are the model's times
an unknown scale plus an unknown shift (`locked.unseen` has their spread). Each draw takes a scale
and a shift, together a world, and labels all live tweets by them. Reviewed tweets make some worlds
more likely than others; their own labels are known in every draw.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_expit, logit

from locked.classifier import SURE, log_odds
from locked.unseen import SCALE_SPREAD, SHIFT_SPREAD

DRAWS = 1000
SEED = 0
BINS = 400  # of the log-odds, so that a draw takes no longer with millions of tweets
# The weight of a label; below 1, because real tweets scatter around any scale and shift. With 1,
# 95 % intervals contain the truth in 93 % of windows with 100 labels, on an unseen event in 85 %.
LABEL_WEIGHT = 0.6
GRID = 61  # scales and as many shifts, at which the likelihood is computed
GRID_END = 3.0  # standard deviations from the middle of the grid

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]
Targets = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Figure:
    """A 95 % interval, and a value, which is NaN without labels."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answers:
    """Answered tweets: two arrays of equal length."""

    probabilities: npt.NDArray[np.floating]
    disaster: Masks  # the label that was answered


@dataclass(frozen=True)
class Labels:
    """A random sample of the answered tweets, reviewed: arrays of equal length."""

    rows: npt.NDArray[np.intp]  # of the answers
    targets: Targets


def estimate(answers: Answers, labels: Labels) -> dict[str, Figure]:
    """Return prevalence, accuracy, precision and recall of the answers, with 95 % intervals."""
    odds, rng = log_odds(answers.probabilities), np.random.default_rng(SEED)
    scales, shifts = _draw_worlds(odds[labels.rows], labels.targets, rng)
    unlabelled = np.ones(len(odds), dtype=bool)
    unlabelled[labels.rows] = False
    counts, means, disaster = _count_cells(odds[unlabelled], answers.disaster[unlabelled])
    expected = expit(scales[:, None] * means + shifts[:, None])
    sampled = rng.binomial(counts, expected).astype(np.float64)
    answered = answers.disaster[labels.rows]
    hits = sampled[:, disaster].sum(axis=1) + (answered & (labels.targets == 1)).sum()
    disasters = sampled.sum(axis=1) + labels.targets.sum()
    answered_count = float(answers.disaster.sum())
    right_count = len(odds) - answered_count - disasters + 2 * hits
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = {
            "accuracy": right_count / len(odds),
            "prevalence": disasters / len(odds),
            "precision": hits / answered_count,
            "recall": hits / disasters,
        }
    return {name: _summarise(values, len(labels.rows) > 0) for name, values in figures.items()}


def _draw_worlds(odds: Floats, targets: Targets, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw scales and shifts, (DRAWS,) each, by their prior and the labels' likelihood."""
    ends = np.linspace(-GRID_END, GRID_END, GRID)
    scale, shift = (axis.ravel() for axis in np.meshgrid(ends, ends))
    log_density = -(scale**2 + shift**2) / 2
    if len(odds):
        counts, means, is_disaster = _count_cells(odds, targets == 1)
        scaled = np.exp(SCALE_SPREAD * scale)[:, None] * means + SHIFT_SPREAD * shift[:, None]
        log_likelihood = log_expit(np.where(is_disaster, scaled, -scaled)) @ counts
        log_density += LABEL_WEIGHT * log_likelihood
    density = np.exp(log_density - log_density.max())
    points = rng.choice(len(density), DRAWS, p=density / density.sum())
    within = (ends[1] - ends[0]) * (rng.random((2, DRAWS)) - 0.5)  # between points of the grid
    return (
        np.exp(SCALE_SPREAD * (scale[points] + within[0])),
        SHIFT_SPREAD * (shift[points] + within[1]),
    )


def _count_cells(odds: Floats, is_disaster: Masks) -> tuple[npt.NDArray[np.intp], Floats, Masks]:
    """Return number of tweets, mean log-odds and class of the cells that hold tweets."""
    end = float(logit(1 - SURE))
    bins = np.minimum(((odds + end) / (2 * end) * BINS).astype(np.int64), BINS - 1)
    bins = 2 * bins + is_disaster
    totals = np.bincount(bins, minlength=2 * BINS)
    sums = np.bincount(bins, odds, minlength=2 * BINS)
    used = np.flatnonzero(totals)
    return totals[used], sums[used] / totals[used], np.asarray(used % 2 == 1)


def _summarise(draws: Floats, has_value: bool) -> Figure:
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return Figure(np.nan, 0.0, 1.0)
    low, middle, high = np.percentile(finite, [2.5, 50, 97.5])
    return Figure(float(middle) if has_value else np.nan, float(low), float(high))
