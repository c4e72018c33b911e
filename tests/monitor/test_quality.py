"""Intervals hold what they say they do."""

import numpy as np
import pytest

from monitor import quality
from monitor.prevalence import count
from monitor.quality import estimate, labels_needed, reviewed, volunteered
from tests.monitor.conftest import HELD_OUT, reference, tweets

WINDOWS = 60
ALIKE = np.ones(HELD_OUT)


def test_where_only_the_share_moves_the_estimate_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "RESAMPLES", 200)
    held = {"accuracy": 0, "prevalence": 0}
    widest = 0.0
    for seed in range(WINDOWS):
        now = np.random.default_rng(seed).uniform(0.05, 0.9)
        given = tweets(1000 + seed, (300, 1000, 3000)[seed % 3], now)
        found = estimate(reference(seed), count(given.probabilities, given.disaster), ALIKE)
        for name, true in (("accuracy", given.accuracy), ("prevalence", given.labels.mean())):
            held[name] += found[name].low <= true <= found[name].high
        widest = max(widest, found["accuracy"].high - found["accuracy"].low)
    assert held["accuracy"] >= 0.9 * WINDOWS
    assert held["prevalence"] >= 0.9 * WINDOWS
    assert widest < 0.15  # an interval of everything would hold too


def test_precision_and_recall_move_with_the_share() -> None:
    rare = tweets(1, 5000, 0.05)
    found = estimate(reference(), count(rare.probabilities, rare.disaster), ALIKE)
    precision = rare.labels[rare.disaster].mean()
    recall = rare.disaster[rare.labels == 1].mean()
    assert found["precision"].low <= precision <= found["precision"].high < 0.75
    assert found["recall"].low <= recall <= found["recall"].high


def test_fewer_tweets_that_are_alike_tell_less() -> None:
    given = tweets(1, 5000)
    cells = count(given.probabilities, given.disaster)
    few = np.where(np.arange(HELD_OUT) < 50, 10.0, 0.1)
    one, other = (estimate(reference(), cells, of)["accuracy"] for of in (ALIKE, few))
    assert other.high - other.low > 1.5 * (one.high - one.low)


def test_held_out_tweets_that_are_alike_count_for_the_estimate() -> None:
    """The model is timid where live tweets are, and right where the others are."""
    given = tweets(1, 5000)
    cells = count(given.probabilities, given.disaster)
    held_out = reference()
    wrong = (held_out.probabilities >= 0.5) != held_out.labels
    found = estimate(held_out, cells, np.where(wrong, 4.0, 1.0))["accuracy"]
    assert found.high < estimate(held_out, cells, ALIKE)["accuracy"].low


def test_nothing_called_a_disaster_has_no_precision() -> None:
    cells = count(np.full(300, 0.01, dtype=np.float32), np.zeros(300, dtype=bool))
    assert np.isnan(estimate(reference(), cells, ALIKE)["precision"].value)


def test_a_reviewed_sample() -> None:
    found = reviewed(np.arange(100) < 90)
    assert (found.tweets, found.right, found.accuracy.value) == (100, 90, 0.9)
    # Wilson's own, by hand
    assert found.accuracy.low == pytest.approx(0.8256, abs=1e-4)
    assert found.accuracy.high == pytest.approx(0.9448, abs=1e-4)
    nothing = reviewed(np.zeros(0, dtype=bool))
    assert (nothing.accuracy.low, nothing.accuracy.high) == (0, 1)


def test_verdicts_are_weighted_as_the_traffic_is() -> None:
    """Readers judge what is doubtful; the traffic is mostly plain."""
    given = tweets(4, 20_000)
    right = given.disaster == given.labels
    doubtful = np.abs(given.probabilities - 0.5) < 0.45
    chance = np.random.default_rng(0).random(20_000)
    judged = chance < np.where(doubtful, 0.2, 0.02)
    assert right[judged].mean() < given.accuracy - 0.08
    found = volunteered(given.probabilities, given.probabilities[judged], right[judged])
    assert found.accuracy.low <= given.accuracy <= found.accuracy.high
    assert found.accuracy.high - found.accuracy.low < 0.1
    assert found.covered == 1


def test_verdicts_on_one_kind_cover_that_kind() -> None:
    given = tweets(4, 1000)
    low = given.probabilities < np.quantile(given.probabilities, 0.2)
    found = volunteered(given.probabilities, given.probabilities[low], np.ones(low.sum(), bool))
    assert found.covered == pytest.approx(0.2, abs=0.01)
    nothing = volunteered(given.probabilities, given.probabilities[:0], np.ones(0, dtype=bool))
    assert (nothing.tweets, nothing.covered) == (0, 0)


def test_labels_needed_are_enough() -> None:
    size = labels_needed(0.78, 0.91)
    chance = np.random.default_rng(0)
    shown = [reviewed(chance.random(size) < 0.78).accuracy.high < 0.91 for _ in range(400)]
    assert 0.75 <= np.mean(shown) <= 0.9
    assert labels_needed(0.88, 0.91) > size
