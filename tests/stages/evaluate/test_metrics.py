"""Figures of merit, against values worked out by hand."""

import numpy as np
import pytest

from stages.evaluate.metrics import calibration_error, compute, intervals

TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 1], dtype=np.int8)
SCORES = np.array([0.9, 0.8, 0.4, 0.3, 0.6, 0.1, 0.2, 0.7], dtype=np.float32)


def test_figures_at_a_threshold() -> None:
    figures = compute(TRUTH, SCORES, 0.5)
    assert figures["accuracy"] == pytest.approx(6 / 8)
    assert figures["precision"] == pytest.approx(3 / 4)
    assert figures["recall"] == pytest.approx(3 / 4)
    assert figures["f1"] == pytest.approx(3 / 4)
    assert figures["roc_auc"] == pytest.approx(15 / 16)  # pairs in the right order
    of_truth = np.where(TRUTH == 1, SCORES, 1 - SCORES)
    assert figures["log_loss"] == pytest.approx(-np.log(of_truth).mean(), abs=1e-6)
    assert compute(TRUTH, SCORES, 0.35)["recall"] == 1


def test_calibration_error_is_the_mean_gap() -> None:
    truth = np.array([1, 0, 1, 1], dtype=np.int8)
    scores = np.array([0.25, 0.25, 1.0, 1.0])
    assert calibration_error(truth, scores) == pytest.approx(0.5 * abs(0.5 - 0.25))


def test_an_interval_holds_the_figure_and_narrows_with_more_rows() -> None:
    few = intervals(TRUTH, SCORES, 0.5, resamples=100, seed=1)["accuracy"]
    truth, scores = np.tile(TRUTH, 100), np.tile(SCORES, 100)
    many = intervals(truth, scores, 0.5, resamples=200, seed=1)["accuracy"]
    assert few[0] < many[0] < 0.75 < many[1] < few[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 800), rel=0.2)
    once, again = (intervals(truth, scores, 0.5, resamples=20, seed=1) for _ in range(2))
    assert once == again
