"""Intervals hold the truth, in worlds that the model knows and in others."""

import numpy as np
import pytest
from scipy.special import expit

from locked.classifier import log_odds
from monitor.quality import Answers, Labels, compute_reach, estimate, post_stratified

WINDOWS = 25
UNLABELLED = Labels(np.empty(0, np.intp), np.empty(0, np.int8), np.empty(0))


def world(seed: int, number: int, scale: float = 1.0, shift: float = 0.0) -> tuple[Answers, Labels]:
    """Draw answers and the true labels of all, in a world of this scale and shift."""
    chance = np.random.default_rng(seed)
    probabilities = expit(chance.choice([-4, 4], number) + chance.normal(0, 2, number))
    true = expit(scale * log_odds(probabilities) + shift)
    targets = (chance.random(number) < true).astype(np.int8)
    rows = np.arange(number)
    return Answers(probabilities, probabilities >= 0.5), Labels(rows, targets, np.ones(number))


def some(labels: Labels, number: int) -> Labels:
    return Labels(labels.rows[:number], labels.targets[:number], labels.weights[:number])


def truth(answers: Answers, labels: Labels) -> dict[str, float]:
    is_disaster = labels.targets == 1
    return {
        "accuracy": float((answers.disaster == is_disaster).mean()),
        "prevalence": float(is_disaster.mean()),
        "precision": float(is_disaster[answers.disaster].mean()),
        "recall": float(answers.disaster[is_disaster].mean()),
    }


@pytest.mark.parametrize(("number", "widest"), [(0, 0.4), (50, 0.14), (200, 0.07)])
def test_intervals_hold_the_truth_in_unseen_worlds(number: int, widest: float) -> None:
    held, widths = dict.fromkeys(("accuracy", "prevalence", "precision", "recall"), 0), []
    for seed in range(WINDOWS):
        scale, shift = np.random.default_rng(5 + seed).normal(0, 1, 2)
        answers, labels = world(seed, 1000, np.exp(0.5 * scale), 1.5 * shift)
        figures = estimate(answers, some(labels, number))
        widths.append(figures["accuracy"].high - figures["accuracy"].low)
        for name, true in truth(answers, labels).items():
            held[name] += figures[name].low <= true <= figures[name].high
    assert min(held.values()) >= 0.9 * WINDOWS
    assert np.mean(widths) < widest  # an interval of everything would hold the truth too


def test_a_value_needs_labels_and_all_labels_leave_no_doubt() -> None:
    answers, labels = world(1, 300, shift=2)
    assert np.isnan(estimate(answers, UNLABELLED)["accuracy"].value)
    assert not np.isnan(estimate(answers, some(labels, 1))["accuracy"].value)
    figures = estimate(answers, labels)
    for name, true in truth(answers, labels).items():
        figure = figures[name]
        assert (figure.low, figure.value, figure.high) == pytest.approx((true, true, true))
    nothing = Answers(np.full(300, 0.01), np.zeros(300, dtype=bool))  # was called a disaster
    assert np.isnan(estimate(nothing, UNLABELLED)["precision"].value)


def test_labels_weigh_as_they_were_drawn() -> None:
    answers, labels = world(2, 2000)
    targets = labels.targets.copy()
    targets[:100] = 1 - answers.disaster[:100]  # drawn ten times as densely, and all wrong
    weights = np.where(np.arange(200) < 100, 0.1, 1.0)
    equal, weighted, scaled = (
        estimate(answers, Labels(labels.rows[:200], targets[:200], by))["accuracy"]
        for by in (np.ones(200), weights, 7 * weights)
    )
    assert equal.high < weighted.low
    assert scaled == weighted  # up to a factor
    assert [compute_reach(n) for n in (0, 1, 100)] == pytest.approx([0.17, 0.17, 0.042])


def test_feedback_is_weighted_as_the_traffic() -> None:
    """Readers judge doubtful answers; most of the traffic is plain."""
    answers, labels = world(4, 20_000)
    accuracy = truth(answers, labels)["accuracy"]
    doubtful = np.abs(log_odds(answers.probabilities)) < 2
    chance = np.random.default_rng(0).random(20_000)
    rows = np.flatnonzero(chance < np.where(doubtful, 0.2, 0.02))
    judged = Labels(rows, labels.targets[rows], labels.weights[rows])
    is_right = answers.disaster[rows] == (labels.targets[rows] == 1)
    assert is_right.mean() < accuracy - 0.08
    figure = post_stratified(answers, judged)
    assert figure.low <= accuracy <= figure.high < figure.low + 0.1
    assert np.isnan(post_stratified(answers, UNLABELLED).value)
