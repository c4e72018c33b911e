"""Calibration and threshold, fitted to tweets that took no part in the training."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from locked.classifier import log_odds
from locked.manifest import Calibration
from stages.evaluate.metrics import Scores, Truth

SCALES = (0.1, 10.0)  # without bounds, a small and perfectly separated set has an infinite optimum
DIGITS = 3  # more digits would depend on the optimiser's last step


def fit(truth: Truth, scores: Scores) -> Calibration:
    """Return the Platt scaling of a network's answers with the least log loss on labels: (rows,).

    Platt 1999, in the form of Guo et al. 2017 (https://arxiv.org/abs/1706.04599). Softened training
    targets make a network underconfident, so the scale is usually above 1.
    """
    odds = log_odds(scores)
    sign = np.where(truth == 1, 1.0, -1.0)

    def loss(values: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sign * (values[0] * odds + values[1])).mean())

    bounds = [SCALES, (-SCALES[1], SCALES[1])]
    optimum = minimize(loss, x0=(1.0, 0.0), bounds=bounds, method="L-BFGS-B")
    scale, shift = (round(float(value), DIGITS) for value in optimum.x)
    return Calibration(scale=scale, shift=shift)


def for_unseen_groups(calibration: Calibration, answers: pd.DataFrame) -> Calibration:
    """Return the calibration of a network for groups that it has not learnt.

    A teacher needs another scale and shift for unseen groups than for the validation split. The
    network's are changed by the same factor and difference.

    Args:
        calibration: the network's, fitted on the validation split.
        answers: the teacher's, as the stage `distill` writes them (data/groups.parquet).

    """
    validation, unseen = (
        fit(part["target"].to_numpy(), part["probability"].to_numpy())
        for part in (answers[answers["judged"] == by] for by in ("validation", "unseen"))
    )
    factor = unseen.scale / validation.scale
    return Calibration(
        scale=round(factor * calibration.scale, DIGITS),
        shift=round(factor * (calibration.shift - validation.shift) + unseen.shift, DIGITS),
    )


def choose_threshold(probabilities: Scores, truth: Truth) -> float:
    """Return the probability from which a tweet is labelled a disaster.

    Of the thresholds whose accuracy is within one standard error of the best (the one-standard-
    error rule of Breiman et al., Classification and Regression Trees, 1984), the one nearest to
    0.5: a few hundred tweets cannot tell these thresholds apart.
    """
    grid = np.linspace(0.01, 0.99, 99).round(2)
    accuracy = ((probabilities[:, None] >= grid) == truth[:, None].astype(bool)).mean(axis=0)
    best = accuracy.max()
    good = grid[accuracy >= best - np.sqrt(best * (1 - best) / len(truth))]
    return float(good[np.abs(good - 0.5).argmin()])
