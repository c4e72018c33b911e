"""Chooses how far a locked model follows the labels of an event.

On an event that the training data does not show, the ranking of tweets carries over better than the
probabilities do. Each step changes more of the model than the one before it:

- calibration: another scale and shift of the log-odds;
- last layer: another last layer, on the network's own vectors.

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
from locked.manifest import Change
from locked.unseen import SHIFT_SPREAD
from stages.evaluate.metrics import Truth, calibration_error

Step = Literal["none", "calibration", "last layer"]
STEPS: tuple[Step, ...] = ("none", "calibration", "last layer")
Floats = npt.NDArray[np.float64]

SCALE_SPREAD = 0.4  # prior standard deviation of the scale, around the locked one
WEIGHT_SPREAD = 2.0  # prior standard deviation of a weight of the last layer, likewise
FOLDS = 10
HARM = 0.05  # nats: where the gain's interval holds a larger loss, the model is kept
RANDOM = 0.6  # AUC up to which labels and answers are unrelated
REVERSED = 0.4  # AUC below which labels contradict the answers
RESAMPLES = 1000
ADAPTED_THRESHOLD = 0.5
FIGURES = ("accuracy", "log_loss", "calibration_error")
SURE = 1e-6


@dataclass(frozen=True)
class Tweets:
    """Tweets as the locked model sees them."""

    log_odds: Floats  # (tweets,), calibrated
    layer_log_odds: Floats  # likewise, by the last layer in full precision
    vectors: Floats  # (tweets, units)

    def rows(self, rows: npt.NDArray[np.int64]) -> "Tweets":
        """Return some of the tweets."""
        return Tweets(self.log_odds[rows], self.layer_log_odds[rows], self.vectors[rows])


@dataclass(frozen=True)
class Choice:
    """The chosen step, and what it is worth on the labels."""

    step: Step
    reason: str
    change: Floats  # the parameters' difference to the locked model: see `answers`
    auc: float  # of the locked model
    figures: dict[str, Change]  # on the labels, cross-fitted


def change_of(step: Step, tweets: Tweets, truth: Truth, weights: Floats) -> Floats:
    """Return the most probable change of a step's parameters, given labelled tweets."""
    if step == "none":
        return np.zeros(0)
    offset, features, spread = _terms(step, tweets)
    sign = np.where(truth == 1, 1.0, -1.0)

    def loss(change: Floats) -> tuple[float, Floats]:
        margin = sign * (offset + features @ change)
        pull = weights * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = (weights * np.logaddexp(0, -margin)).sum() + 0.5 * np.square(change / spread).sum()
        return float(value), change / spread**2 - features.T @ pull

    optimum = minimize(loss, np.zeros(len(spread)), jac=True, method="L-BFGS-B")
    return np.asarray(optimum.x, dtype=np.float64)


def answers(step: Step, change: Floats, tweets: Tweets) -> Floats:
    """Return P(disaster) of each tweet after a step: (tweets,)."""
    odds = tweets.log_odds
    if step != "none":
        offset, features, _ = _terms(step, tweets)
        odds = offset + features @ change
    probabilities: Floats = np.clip(1 / (1 + np.exp(-np.clip(odds, -500, 500))), SURE, 1 - SURE)
    return probabilities


def _terms(step: Step, tweets: Tweets) -> tuple[Floats, Floats, Floats]:
    """Return the log-odds without a change, the parameters' factors and their prior spreads."""
    ones = np.ones((len(tweets.log_odds), 1))
    if step == "calibration":
        factors = np.hstack([tweets.log_odds[:, None], ones])
        return tweets.log_odds, factors, np.array([SCALE_SPREAD, SHIFT_SPREAD])
    spreads = np.array([WEIGHT_SPREAD] * tweets.vectors.shape[1] + [SHIFT_SPREAD])
    return tweets.layer_log_odds, np.hstack([tweets.vectors, ones]), spreads


def choose(tweets: Tweets, truth: Truth, weights: Floats, threshold: float) -> Choice:
    """Return the step with the least cross-fitted log loss on labelled tweets.

    Of two steps that the labels cannot tell apart (within one standard error of the difference)
    the simpler one is taken.

    Args:
        tweets: labelled ones.
        truth: their labels, (tweets,): 1 is a disaster.
        weights: (tweets,), of mean 1.
        threshold: of the locked model; that of an adapted one is 0.5.

    Raises:
        InputError: the labels contradict the model's ranking, as where they are swapped.

    """
    auc = float(roc_auc_score(truth, tweets.log_odds, sample_weight=weights))
    if auc < REVERSED:
        raise InputError(
            f"the labels contradict the model's ranking of the tweets (AUC {auc:.2f}). Are "
            "disaster and not_disaster swapped, or do the labels answer another question?"
        )
    by_step = _cross_fitted(tweets, truth, weights)
    losses = {step: _losses(truth, by_step[step]) for step in STEPS}
    best = min(STEPS, key=lambda step: np.average(losses[step], weights=weights))
    step = next(s for s in STEPS if _excess(losses[s] - losses[best], weights) <= 0)
    thresholds = threshold, threshold if step == "none" else ADAPTED_THRESHOLD
    figures = compare(truth, (by_step["none"], by_step[step]), thresholds, weights)
    high = figures["log_loss"].difference_95[1]
    ranking = roc_auc_score(truth, by_step[step], sample_weight=weights)
    reason = f"{step} has the least log loss that these labels can tell apart"
    refusal = ""
    if step == "none":
        reason = "no step is better than the locked model on these labels"
    elif ranking < RANDOM:
        refusal = f"the labels do not follow the model's ranking of the tweets (AUC {ranking:.2f})"
    elif high > HARM:
        refusal = f"{step} may raise the log loss by {high:.2f} (95 % interval); label more tweets"
    if refusal:
        step, reason = "none", refusal
        figures = compare(truth, (by_step["none"],) * 2, (threshold,) * 2, weights)
    return Choice(step, reason, change_of(step, tweets, truth, weights), auc, figures)


def _cross_fitted(tweets: Tweets, truth: Truth, weights: Floats) -> dict[Step, Floats]:
    """Return each step's answer to each tweet, fitted to the tweets of the other folds."""
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    by_step = {step: np.zeros(len(truth)) for step in STEPS}
    for fitted, held_out in folds.split(truth):
        for step in STEPS:
            change = change_of(step, tweets.rows(fitted), truth[fitted], weights[fitted])
            by_step[step][held_out] = answers(step, change, tweets.rows(held_out))
    return by_step


def _losses(truth: Truth, probabilities: Floats) -> Floats:
    losses: Floats = -np.log(np.where(truth == 1, probabilities, 1 - probabilities))
    return losses


def _excess(difference: Floats, weights: Floats) -> float:
    """Return by how much a mean difference exceeds its standard error."""
    mean = np.average(difference, weights=weights)
    error = np.sqrt(np.square(weights * (difference - mean)).sum()) / weights.sum()
    return float(mean - error)


def compare(
    truth: Truth, answers: tuple[Floats, Floats], thresholds: tuple[float, float], weights: Floats
) -> dict[str, Change]:
    """Return three figures of the answers before and after, with paired bootstrap intervals."""
    right = [(p >= least) == truth for p, least in zip(answers, thresholds, strict=True)]
    losses = [_losses(truth, scores) for scores in answers]

    def figures(rows: npt.NDArray[np.int64]) -> list[list[float]]:
        return [
            [float(np.average(values[rows], weights=weights[rows])) for values in right],
            [float(np.average(values[rows], weights=weights[rows])) for values in losses],
            [calibration_error(truth[rows], scores[rows], weights[rows]) for scores in answers],
        ]

    chance = np.random.default_rng(0)
    drawn = [figures(chance.integers(0, len(truth), len(truth))) for _ in range(RESAMPLES)]
    before, after = np.moveaxis(np.array(drawn), 2, 0)  # (resamples, figures) each
    spreads = np.percentile([before, after, after - before], [2.5, 97.5], axis=1)
    changes = {}
    for number, values in enumerate(figures(np.arange(len(truth)))):
        bounds = [(float(low), float(high)) for low, high in spreads[:, :, number].T]
        changes[FIGURES[number]] = Change(
            before=values[0],
            before_95=bounds[0],
            after=values[1],
            after_95=bounds[1],
            difference_95=bounds[2],
        )
    return changes
