"""How far a model follows labels, in worlds whose truth is known."""

import numpy as np
import pytest

from common.errors import InputError
from stages.evaluate.metrics import Truth
from stages.lock import adapt
from stages.lock.adapt import STEPS, Activations, Choice, choose, fit_change, predict

UNITS = 20


def world(number: int, shift: float = 0.0, turn: float = 0.0) -> tuple[Activations, Truth]:
    """Tweets whose labels follow the model's log-odds, plus a shift, plus another direction."""
    chance = np.random.default_rng(0)
    vectors = chance.normal(0, 1, (number, UNITS))
    log_odds = 2 * vectors[:, 0]
    truth = chance.random(number) < 1 / (1 + np.exp(-(log_odds + shift + turn * vectors[:, 1])))
    return Activations(log_odds, log_odds, vectors), truth.astype(np.int8)


def chosen(tweets: Activations, truth: Truth) -> Choice:
    return choose(tweets, truth, np.ones(len(truth)), 0.5)


@pytest.mark.parametrize(
    ("number", "shift", "turn", "step"),
    [(100, 0, 0, "none"), (60, 2.5, 0, "calibration"), (200, 0, 8, "last layer")],
)
def test_the_simplest_step_that_mends_the_model_is_taken(
    number: int, shift: float, turn: float, step: str
) -> None:
    choice = chosen(*world(number, shift, turn))
    assert choice.step == step
    loss = choice.figures["log_loss"]
    if step == "none":
        assert loss.before == loss.after
    else:
        assert loss.after < loss.before
        assert loss.difference_95[1] < 0
    held_out, truth = world(5000, shift, turn)
    right = [
        ((predict(s, change, held_out) >= 0.5) == truth).mean()
        for s, change in (("none", np.zeros(0)), (choice.step, choice.change))
    ]
    assert right[1] - right[0] > (0.05 if step != "none" else -1e-9)


def test_the_shift_lies_between_the_prior_and_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    tweets, truth = world(2000, -2)
    assert fit_change("calibration", tweets, truth, np.ones(2000))[1] == pytest.approx(-2, abs=0.25)
    monkeypatch.setattr(adapt, "SHIFT_SPREAD", 0.05)
    assert -1.5 < fit_change("calibration", tweets, truth, np.ones(2000))[1] < -0.5


def test_a_weight_of_two_is_a_tweet_seen_twice() -> None:
    tweets, truth = world(60, 1)
    twice = np.concatenate([np.arange(60), np.arange(30)])
    weights = np.where(np.arange(60) < 30, 2.0, 1.0)
    for step in STEPS[1:]:
        repeated = fit_change(step, tweets.rows(twice), truth[twice], np.ones(90))
        assert fit_change(step, tweets, truth, weights) == pytest.approx(repeated, abs=1e-3)


def test_labels_that_contradict_or_ignore_the_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    tweets, truth = world(100)
    with pytest.raises(InputError, match=r"contradict the model's ranking .*AUC 0\.\d.*swapped"):
        chosen(tweets, 1 - truth)
    choice = chosen(tweets, np.roll(truth, 1))
    assert choice.step == "none"
    assert "do not follow the model's ranking" in choice.reason
    assert choice.figures["log_loss"].difference_95 == (0, 0)
    monkeypatch.setattr(adapt, "HARM", -9)
    choice = chosen(*world(60, 2.5))
    assert (choice.step, len(choice.change)) == ("none", 0)
    assert "label more tweets" in choice.reason  # because a gain may be a loss
