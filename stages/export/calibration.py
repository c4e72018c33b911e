"""Probabilities that are what they say: fitted on tweets that took no part in the training."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from locked.classifier import log_odds
from locked.manifest import Calibration
from stages.evaluate.metrics import Scores, Truth

SCALES = (0.1, 10.0)  # where a few tweets that are all right would have it infinite
DIGITS = 3  # fewer than the tweets can tell, and none that an optimiser's last step decides


def fit(truth: Truth, scores: Scores) -> Calibration:
    """Fit Platt scaling to labels and a network's answers, both (rows,), by their log loss.

    Platt 1999, in the form of Guo et al. 2017 (https://arxiv.org/abs/1706.04599). Softened training
    targets leave a network timid; a scale above 1 takes that back. The ranking does not change.
    """
    odds = log_odds(scores)
    sign = np.where(truth == 1, 1.0, -1.0)

    def loss(values: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, -sign * (values[0] * odds + values[1])).mean())

    bounds = [SCALES, (-SCALES[1], SCALES[1])]
    found = minimize(loss, x0=(1.0, 0.0), bounds=bounds, method="L-BFGS-B")
    scale, shift = (round(float(value), DIGITS) for value in found.x)
    return Calibration(scale=scale, shift=shift)
