"""Intervals hold the truth, in worlds that the model knows and in others."""

import numpy as np
import pytest
from scipy.special import expit

from locked.classifier import log_odds
from monitor.quality import Answers, Labels, estimate

WINDOWS = 25
UNLABELLED = Labels(np.empty(0, np.intp), np.empty(0, np.int8))


def world(seed: int, number: int, scale: float = 1.0, shift: float = 0.0) -> tuple[Answers, Labels]:
    """Draw answers and the true labels of all, in a world of this scale and shift."""
    chance = np.random.default_rng(seed)
    probabilities = expit(chance.choice([-4, 4], number) + chance.normal(0, 2, number))
    true = expit(scale * log_odds(probabilities) + shift)
    targets = (chance.random(number) < true).astype(np.int8)
    return Answers(probabilities, probabilities >= 0.5), Labels(np.arange(number), targets)


def some(labels: Labels, number: int) -> Labels:
    return Labels(labels.rows[:number], labels.targets[:number])


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
