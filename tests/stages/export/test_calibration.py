"""Probabilities that are what they say."""

import numpy as np
import numpy.typing as npt
import pytest

from locked.classifier import calibrate
from locked.manifest import Calibration
from stages.evaluate.metrics import Truth, calibration_error
from stages.export.calibration import SCALES, fit


def drawn(odds: npt.NDArray[np.float64]) -> Truth:
    """Draw labels that are disasters with these log-odds."""
    chance = np.random.default_rng(0)
    labels: Truth = (chance.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    return labels


def test_what_was_bent_is_found_again() -> None:
    odds = np.random.default_rng(1).normal(0, 3, 20_000)
    timid = 1 / (1 + np.exp(-(odds - 0.4) / 2))
    truth = drawn(odds)
    found = fit(truth, timid)
    assert found.scale == pytest.approx(2, abs=0.1)
    assert found.shift == pytest.approx(0.4, abs=0.1)
    assert calibration_error(truth, timid) > 0.08
    assert calibration_error(truth, calibrate(timid, found)) < 0.01


def test_what_is_calibrated_stays() -> None:
    odds = np.random.default_rng(2).normal(0, 2, 20_000)
    found = fit(drawn(odds), 1 / (1 + np.exp(-odds)))
    assert found.scale == pytest.approx(1, abs=0.05)
    assert found.shift == pytest.approx(0, abs=0.05)


def test_a_few_tweets_that_are_all_right_are_not_made_certain() -> None:
    found = fit(np.array([0, 0, 1, 1], dtype=np.int8), np.array([0.1, 0.3, 0.7, 0.9]))
    assert found.scale == SCALES[1]


def test_the_ranking_does_not_change() -> None:
    scores = np.linspace(0.001, 0.999, 999)
    said = calibrate(scores, Calibration(scale=1.7, shift=-0.3))
    assert (np.diff(said) > 0).all()


def test_certainty_stays_finite() -> None:
    said = calibrate(np.array([0.0, 1.0]), Calibration(scale=2, shift=0))
    assert 0 < said[0] < 1e-6
    assert 1 - 1e-6 < said[1] <= 1
