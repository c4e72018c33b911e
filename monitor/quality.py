"""How often the answers are right: estimated without labels, and measured with them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, binomtest, norm

from locked.classifier import log_odds
from locked.reference import Reference
from monitor.prevalence import Cells, recalibrate, share, shifted

RESAMPLES = 400
SEED = 0
STRATA = 10  # of readers' verdicts, at most
ENOUGH = 10  # verdicts a stratum
Z = float(norm.ppf(0.975))
BLIND = (
    "It is computed from the probabilities: a changed meaning of the words, which the model does "
    "not know of, cannot be seen in it."
)

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; NaN where nothing could be told."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """How many of so many labelled tweets were answered rightly, and the accuracy from that."""

    tweets: int
    right: int
    accuracy: Figure
    covered: float = 1.0  # the share of the traffic that the labelled tweets are like


def estimate(reference: Reference, cells: Cells, alike: Floats) -> dict[str, Figure]:
    """Estimate prevalence, accuracy, precision and recall on live tweets without a label.

    The reference's held-out answers recalibrate the probabilities; the live ones give the share of
    disasters, and with it what each probability stands for now. Each resample draws both anew, and
    a label for each live tweet: so an interval holds the calibration's uncertainty, that of the
    share, and chance.

    Args:
        reference: of the model.
        cells: live answers.
        alike: (held-out tweets,) their weights, larger for those that live tweets are like; the
            fewer they are in effect (Kish 1965), the wider the intervals.

    """
    chance = np.random.default_rng(SEED)
    labels = reference.labels.astype(np.float64)
    live, size = int(cells.counts.sum()), int(alike.sum() ** 2 / (alike**2).sum())
    shares = alike / alike.sum()
    drawn = chance.multinomial(size, shares, RESAMPLES)
    counts = chance.multinomial(live, cells.counts / live, RESAMPLES)
    # the first row is what was seen itself
    weights = np.vstack([size * shares, drawn]).astype(np.float64)
    counts = np.vstack([cells.counts, counts])
    scales, shifts = recalibrate(log_odds(reference.probabilities), labels, weights)
    before = np.clip(weights @ labels, 0.5, size - 0.5) / size
    odds = scales[:, None] * cells.odds + shifts[:, None]
    now = share(odds, counts.astype(np.float64), before)
    expected = shifted(odds, before, now)
    true = chance.binomial(counts, expected).astype(np.float64)
    true[0] = counts[0] * expected[0]
    figures = _figures(true, counts.astype(np.float64), cells.disaster)
    return {name: _interval(values) for name, values in figures.items()}


def _figures(true: Floats, counts: Floats, disaster: Masks) -> dict[str, Floats]:
    """Return figures, (resamples,) each, of cells with so many disasters and tweets."""
    caught, said = true[:, disaster].sum(axis=1), counts[:, disaster].sum(axis=1)
    spared = (counts - true)[:, ~disaster].sum(axis=1)
    total, of_them = counts.sum(axis=1), true.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {
            "prevalence": of_them / total,
            "accuracy": (caught + spared) / total,
            "precision": caught / said,
            "recall": caught / of_them,
        }


def _interval(values: Floats) -> Figure:
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    value = values[0]
    return Figure(float(value), float(min(low, value)), float(max(high, value)))


def reviewed(right: Masks) -> Measured:
    """Measure accuracy on tweets drawn at random: Wilson's interval (1927)."""
    count, total = int(right.sum()), len(right)
    if not total:
        return Measured(0, 0, Figure(np.nan, 0.0, 1.0))
    low, high = binomtest(count, total).proportion_ci(method="wilson")
    return Measured(total, count, Figure(count / total, float(low), float(high)))


def volunteered(
    traffic: npt.NDArray[np.floating], probabilities: npt.NDArray[np.floating], right: Masks
) -> Measured:
    """Measure accuracy on tweets that readers chose, weighted as the traffic has their like.

    Post-stratified by probability. People click on what is wrong, within each stratum too: so the
    accuracy is rather too low than too high.

    Args:
        traffic: (n,) probabilities of all tweets.
        probabilities: (verdicts,) of those that readers judged.
        right: (verdicts,) what they said.

    """
    if not len(right):
        return Measured(0, 0, Figure(np.nan, 0.0, 1.0), 0.0)
    strata = int(np.clip(len(right) // ENOUGH, 1, STRATA))
    edges = np.quantile(traffic, np.linspace(0, 1, strata + 1)[1:-1])
    weights = np.bincount(np.searchsorted(edges, traffic), minlength=strata)
    of_verdict = np.searchsorted(edges, probabilities)
    totals = np.bincount(of_verdict, minlength=strata)
    counts = np.bincount(of_verdict, right, minlength=strata)
    seen = totals > 0
    shares = weights[seen] / weights[seen].sum()
    # A success and a failure more keep the variance honest near 0 and 1 (Agresti & Caffo 2000).
    softened = (counts[seen] + 1) / (totals[seen] + 2)
    error = np.sqrt((shares**2 * softened * (1 - softened) / (totals[seen] + 2)).sum())
    value, reach = float((shares * counts[seen] / totals[seen]).sum()), float(Z * error)
    figure = Figure(value, max(0.0, value - reach), min(1.0, value + reach))
    covered = float(weights[seen].sum() / weights.sum())
    return Measured(len(right), int(right.sum()), figure, covered)


def labels_needed(accuracy: float, floor: float) -> int:
    """Return how many reviewed tweets show, four times in five, an accuracy to be below `floor`."""
    for size in range(10, 20_000, 10):
        counts = np.arange(size + 1)
        found = counts / size
        reach = Z * np.sqrt(found * (1 - found) / size + Z**2 / (4 * size**2))  # Wilson's again
        high = (found + Z**2 / (2 * size) + reach) / (1 + Z**2 / size)
        if float(binom.pmf(counts, size, accuracy)[high < floor].sum()) >= 0.8:
            return size
    return 20_000
