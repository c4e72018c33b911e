"""Chooses how far a locked model follows the labels of an event.

On an event that the training data does not contain, the ranking of tweets is better than the
probabilities. Each step changes more of the model than the step before:

- calibration: another scale and shift of the log-odds;
- last layer: another last layer on the network's vectors.

Both are fitted by maximum a posteriori: a logistic regression whose prior is the locked model.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from common.errors import InputError
from locked.classifier import SURE
from locked.manifest import Change
from locked.unseen import SHIFT_SPREAD
from stages.evaluate.metrics import Truth, calibration_error

Step = Literal["none", "calibration", "last layer"]
STEPS: tuple[Step, ...] = ("none", "calibration", "last layer")
Floats = npt.NDArray[np.float64]

SCALE_PRIOR = 0.4  # prior standard deviation of the scale, around the locked model's
WEIGHT_PRIOR = 2.0  # prior standard deviation of a weight of the last layer, likewise
FOLDS = 10
# The model is not adapted if the log loss may rise by more than this, in nats (95 % interval).
HARM = 0.05
RANDOM = 0.6  # AUC below which labels and answers are unrelated
REVERSED = 0.4  # AUC below which labels contradict the answers
RESAMPLES = 1000
ADAPTED_THRESHOLD = 0.5
FIGURES = ("accuracy", "log_loss", "calibration_error")


@dataclass(frozen=True)
class Activations:
    """What the locked model computes for tweets."""

    log_odds: Floats  # (tweets,), calibrated
    layer_log_odds: Floats  # (tweets,), calibrated, by the last layer in full precision
    vectors: Floats  # (tweets, units)

    def rows(self, rows: npt.NDArray[np.int64]) -> "Activations":
        """Return the activations of some of the tweets, by index."""
        return Activations(self.log_odds[rows], self.layer_log_odds[rows], self.vectors[rows])


@dataclass(frozen=True)
class Choice:
    """The chosen step, and its figures on the labels."""

    step: Step
    reason: str
    change: Floats  # difference of the step's parameters to the locked model's, see `fit_change`
    auc: float  # of the locked model on the labels
    figures: dict[str, Change]  # on the labels, cross-fitted


def fit_change(step: Step, tweets: Activations, truth: Truth, weights: Floats) -> Floats:
    """Return the most probable change of a step's parameters, given labelled tweets.

    The shape is (0,) for no step, (2,) for scale and shift, (units + 1,) for weights and bias.
    """
    if step == "none":
        return np.zeros(0)
    offset, features, spread = _terms(step, tweets)
    sign = np.where(truth == 1, 1.0, -1.0)

    def loss(change: Floats) -> tuple[float, Floats]:
        margin = sign * (offset + features @ change)
        residuals = weights * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = (weights * np.logaddexp(0, -margin)).sum() + 0.5 * np.square(change / spread).sum()
        return float(value), change / spread**2 - features.T @ residuals

    optimum = minimize(loss, np.zeros(len(spread)), jac=True, method="L-BFGS-B")
    return np.asarray(optimum.x, dtype=np.float64)


def predict(step: Step, change: Floats, tweets: Activations) -> Floats:
    """Return P(disaster) of each tweet after a step with this change: (tweets,)."""
    odds = tweets.log_odds
    if step != "none":
        offset, features, _ = _terms(step, tweets)
        odds = offset + features @ change
    probabilities: Floats = np.clip(1 / (1 + np.exp(-np.clip(odds, -500, 500))), SURE, 1 - SURE)
    return probabilities


def _terms(step: Step, tweets: Activations) -> tuple[Floats, Floats, Floats]:
    """Return the terms of a step's logistic regression.

    Offset: the log-odds without a change, (tweets,); factors of the parameters: (tweets,
    parameters); prior standard deviations: (parameters,).
    """
    ones = np.ones((len(tweets.log_odds), 1))
    if step == "calibration":
        factors = np.hstack([tweets.log_odds[:, None], ones])
        return tweets.log_odds, factors, np.array([SCALE_PRIOR, SHIFT_SPREAD])
    spreads = np.array([WEIGHT_PRIOR] * tweets.vectors.shape[1] + [SHIFT_SPREAD])
    return tweets.layer_log_odds, np.hstack([tweets.vectors, ones]), spreads


def choose(tweets: Activations, truth: Truth, weights: Floats, threshold: float) -> Choice:
    """Return the step with the least cross-fitted log loss on labelled tweets.

    A simpler step is preferred if its log loss is within one standard error of the difference. No
    step is taken if the labels do not follow the model's ranking, or the log loss may rise by more
    than HARM.

    Args:
        tweets: of the labelled tweets.
        truth: their labels, (tweets,): 1 is a disaster.
        weights: (tweets,), with a mean of 1.
        threshold: of the locked model; an adapted model has ADAPTED_THRESHOLD.

    Raises:
        InputError: the labels contradict the model's ranking, for instance if they are swapped.

    """
    auc = float(roc_auc_score(truth, tweets.log_odds, sample_weight=weights))
    if auc < REVERSED:
        raise InputError(
            f"the labels contradict the model's ranking of the tweets (AUC {auc:.2f}). Are "
            "disaster and not_disaster swapped, or do the labels answer another question?"
        )
    by_step = _cross_fit(tweets, truth, weights)
    losses = {step: _losses(truth, by_step[step]) for step in STEPS}
    best = min(STEPS, key=lambda step: np.average(losses[step], weights=weights))
    step = next(s for s in STEPS if _excess(losses[s] - losses[best], weights) <= 0)
    thresholds = threshold, threshold if step == "none" else ADAPTED_THRESHOLD
    figures = compare(truth, (by_step["none"], by_step[step]), thresholds, weights)
    high = figures["log_loss"].difference_95[1]
    adapted_auc = roc_auc_score(truth, by_step[step], sample_weight=weights)
    reason = f"{step} has the least log loss that these labels can tell apart"
    refusal = ""
    if step == "none":
        reason = "no step is better than the locked model on these labels"
    elif adapted_auc < RANDOM:
        refusal = (
            f"the labels do not follow the model's ranking of the tweets (AUC {adapted_auc:.2f})"
        )
    elif high > HARM:
        refusal = f"{step} may raise the log loss by {high:.2f} (95 % interval); label more tweets"
    if refusal:
        step, reason = "none", refusal
        figures = compare(truth, (by_step["none"],) * 2, (threshold,) * 2, weights)
    return Choice(step, reason, fit_change(step, tweets, truth, weights), auc, figures)


def _cross_fit(tweets: Activations, truth: Truth, weights: Floats) -> dict[Step, Floats]:
    """Return each step's P(disaster) of each tweet, fitted to the tweets of the other folds."""
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    by_step = {step: np.zeros(len(truth)) for step in STEPS}
    for fitted, held_out in folds.split(truth):
        for step in STEPS:
            change = fit_change(step, tweets.rows(fitted), truth[fitted], weights[fitted])
            by_step[step][held_out] = predict(step, change, tweets.rows(held_out))
    return by_step


def _losses(truth: Truth, probabilities: Floats) -> Floats:
    """Return the log loss of each tweet, in nats: (tweets,)."""
    losses: Floats = -np.log(np.where(truth == 1, probabilities, 1 - probabilities))
    return losses


def _excess(difference: Floats, weights: Floats) -> float:
    """Return the weighted mean of a difference minus the standard error of this mean."""
    mean = np.average(difference, weights=weights)
    error = np.sqrt(np.square(weights * (difference - mean)).sum()) / weights.sum()
    return float(mean - error)


def compare(
    truth: Truth, answers: tuple[Floats, Floats], thresholds: tuple[float, float], weights: Floats
) -> dict[str, Change]:
    """Return FIGURES before and after an adaptation, with paired bootstrap intervals.

    `answers` has P(disaster) before and after, (tweets,) each, `thresholds` likewise.
    """
    is_right = [(p >= threshold) == truth for p, threshold in zip(answers, thresholds, strict=True)]
    losses = [_losses(truth, scores) for scores in answers]

    def figures(rows: npt.NDArray[np.int64]) -> list[list[float]]:
        return [
            [float(np.average(values[rows], weights=weights[rows])) for values in is_right],
            [float(np.average(values[rows], weights=weights[rows])) for values in losses],
            [calibration_error(truth[rows], scores[rows], weights[rows]) for scores in answers],
        ]

    chance = np.random.default_rng(0)
    samples = [figures(chance.integers(0, len(truth), len(truth))) for _ in range(RESAMPLES)]
    before, after = np.moveaxis(np.array(samples), 2, 0)  # (resamples, figures) each
    intervals = np.percentile([before, after, after - before], [2.5, 97.5], axis=1)
    changes = {}
    for number, values in enumerate(figures(np.arange(len(truth)))):
        bounds = [(float(low), float(high)) for low, high in intervals[:, :, number].T]
        changes[FIGURES[number]] = Change(
            before=values[0],
            before_95=bounds[0],
            after=values[1],
            after_95=bounds[1],
            difference_95=bounds[2],
        )
    return changes
