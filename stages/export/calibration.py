"""Fits calibration and threshold to tweets that were not trained on."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from locked.classifier import log_odds
from locked.manifest import Calibration
from stages.evaluate.metrics import Scores, Truth

SCALES = (0.1, 10.0)  # bounds, because a small, perfectly separated set has an infinite optimum
DIGITS = 3  # decimals of scale and shift; more would depend on the optimiser's last step


def fit(truth: Truth, scores: Scores) -> Calibration:
    """Return the Platt scaling of a network's P(disaster) with the least log loss on `truth`.

    Platt 1999, in the form of Guo et al. 2017 (https://arxiv.org/abs/1706.04599). Soft training
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
    """Return a network's calibration for groups that it has not learnt.

    A teacher has one calibration on the validation split and another on unseen groups. The change
    from one to the other is applied to the network's calibration.

    Args:
        calibration: of the network, fitted to the validation split.
        answers: the teacher's answers in data/groups.parquet, which `distill` writes.

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
    """Return the threshold of P(disaster) from which the label is disaster.

    It is the threshold nearest to 0.5 whose accuracy is within one standard error of the best,
    because a few hundred tweets cannot tell such thresholds apart (the one-standard-error rule of
    Breiman et al., Classification and Regression Trees, 1984).
    """
    grid = np.linspace(0.01, 0.99, 99).round(2)
    accuracy = ((probabilities[:, None] >= grid) == truth[:, None].astype(bool)).mean(axis=0)
    best = accuracy.max()
    candidates = grid[accuracy >= best - np.sqrt(best * (1 - best) / len(truth))]
    return float(candidates[np.abs(candidates - 0.5).argmin()])
