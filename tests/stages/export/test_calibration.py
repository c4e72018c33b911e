"""Calibration and threshold."""

import numpy as np
import pytest
from scipy.special import expit

from locked.classifier import calibrate
from locked.manifest import Calibration
from stages.evaluate.metrics import calibration_error
from stages.export.calibration import SCALES, choose_threshold, fit


@pytest.mark.parametrize(("scale", "shift"), [(2, 0.4), (1, 0)])
def test_the_true_scale_and_shift_are_fitted(scale: float, shift: float) -> None:
    chance = np.random.default_rng(1)
    odds = chance.normal(0, 3, 20_000)
    truth = (chance.random(20_000) < expit(odds)).astype(np.int8)
    scores = expit((odds - shift) / scale)
    fitted = fit(truth, scores)
    assert (fitted.scale, fitted.shift) == pytest.approx((scale, shift), abs=0.1)
    assert calibration_error(truth, calibrate(scores, fitted)) < 0.01


def test_separated_tweets_are_not_made_certain() -> None:
    fitted = fit(np.array([0, 0, 1, 1], dtype=np.int8), np.array([0.1, 0.3, 0.7, 0.9]))
    assert fitted.scale == SCALES[1]


def test_the_ranking_does_not_change_and_certainty_stays_finite() -> None:
    calibrated = calibrate(np.linspace(0, 1, 999), Calibration(scale=1.7, shift=-0.3))
    assert (np.diff(calibrated[1:-1]) > 0).all()
    assert 0 < calibrated[0] < 1e-6
    assert 1 - 1e-6 < calibrated[-1] <= 1


def test_the_threshold_moves_only_where_validation_clearly_says_so() -> None:
    truth = np.repeat([0, 1], 200).astype(np.int8)
    low = np.concatenate([np.linspace(0, 0.2, 200), np.linspace(0.25, 0.45, 200)])
    assert 0.2 < choose_threshold(low, truth) <= 0.27
    noise = np.random.default_rng(1).normal(0, 0.3, 400)
    assert choose_threshold(np.clip(0.25 + truth / 2 + noise, 0, 1), truth) == 0.5
