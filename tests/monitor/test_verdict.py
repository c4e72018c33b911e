"""One word: act on measured quality alone, and never on chance."""

import numpy as np
import pytest

from monitor.drift import Effect, Told, Word
from monitor.quality import Figure, Measured, reviewed
from monitor.verdict import FEWEST, STATUS, Verdict, decide
from tests.monitor.conftest import reference, tweets

HELD_OUT = reference()
ACCURACY = float(((HELD_OUT.probabilities >= 0.5) == HELD_OUT.labels).mean())
NOTHING = reviewed(np.zeros(0, dtype=bool))
FINE = Figure(ACCURACY, ACCURACY - 0.02, ACCURACY + 0.02)
WORSE = Figure(0.8, 0.78, 0.82)
MOVED = Effect(0.4, 0.3, 0.5, 0.2, 1.0, 2.0)
WORDS = [Word("zorg", 0.5, 0.0)]
STILL = Effect(0.1, 0.0, 0.2, 0.2, 1.0, 2.0)


def verdict(
    measured: Measured = NOTHING,
    *,
    number: int = 1000,
    accuracy: Figure = FINE,
    effect: Effect = STILL,
    auc: float = 0.5,
) -> Verdict:
    told = {"features": Told(auc, auc - 0.02, auc + 0.02, 0.64)}
    return decide(
        ACCURACY, number, {"accuracy": accuracy}, {"characters": effect}, told, WORDS, measured
    )


def labelled(seed: int, number: int, drop: float = 0.0) -> Measured:
    """Review a window of which a share is answered wrongly that was not."""
    given = tweets(seed, number)
    right = given.disaster == given.labels
    lost = np.random.default_rng(seed).random(number) < drop / given.accuracy
    return reviewed(right & ~lost)


def test_no_drift_is_no_act() -> None:
    words = [verdict(labelled(seed, (100, 300, 1000)[seed % 3])).word for seed in range(300)]
    assert words.count("ok") >= 299  # of a hundred labels, one sample in 300 misleads


def test_a_drop_in_labels_is_to_act() -> None:
    words = [verdict(labelled(seed, 200, 0.15)).word for seed in range(100)]
    assert words.count("act") >= 95
    found = verdict(labelled(0, 200, 0.15))
    assert "reviewed" in found.reason
    assert "Harvest" in found.advice


def test_estimates_and_drift_ask_for_a_look_alone() -> None:
    for found, reason in (
        (verdict(accuracy=WORSE), "Estimated accuracy is 0.800 (0.780 to 0.820)"),
        (verdict(effect=MOVED), "Live tweets differ in characters."),
        (verdict(auc=0.9), "Their features (zorg) tell them from known ones."),
        (verdict(accuracy=WORSE, effect=MOVED, auc=0.99), "Estimated"),
    ):
        assert found.word == "look"
        assert found.reason.startswith(reason)
        assert "labels" in found.advice


def test_a_review_that_is_sure_overrules_them() -> None:
    sure = reviewed(np.arange(2000) < ACCURACY * 2000)
    found = verdict(sure, accuracy=WORSE, effect=MOVED, auc=0.9)
    assert (found.word, "it copes" in found.reason) == ("ok", True)
    unsure = reviewed(np.arange(50) < ACCURACY * 50)
    found = verdict(unsure, effect=MOVED)
    assert (found.word, "A review of 50" in found.reason) == ("look", True)


@pytest.mark.parametrize("number", [1, FEWEST - 1])
def test_too_few_is_neither(number: int) -> None:
    assert verdict(number=number, accuracy=WORSE, effect=MOVED).word == "too few"
    assert verdict(labelled(1, 100, 0.3), number=number).word == "act"
    assert verdict(number=FEWEST).word == "ok"


def test_each_word_has_a_status() -> None:
    assert STATUS == {"ok": 0, "too few": 0, "look": 3, "act": 4}
