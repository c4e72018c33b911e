"""The share of disasters is found again, whatever it is now."""

import numpy as np
import pytest
from scipy.special import logit

from locked.classifier import log_odds
from monitor.prevalence import count, recalibrate, share, shifted
from tests.monitor.conftest import SHARE, tweets


@pytest.mark.parametrize("now", [0.05, 0.44, 0.9])
def test_a_known_share(now: float) -> None:
    given = tweets(1, 20_000, now)
    cells = count(given.probabilities, given.disaster)
    assert cells.counts.sum() == 20_000
    found = share(cells.odds[None], cells.counts.astype(float), np.array([SHARE]))
    assert found[0] == pytest.approx(given.labels.mean(), abs=0.01)
    # and with it, what a probability stands for
    true = shifted(cells.odds[None], np.array([SHARE]), found)[0]
    sure = (true > 0.8) & (true < 0.99)
    of_them = np.isin(np.round(log_odds(given.probabilities)), np.round(cells.odds[sure]))
    assert of_them.sum() > 100
    expected = (cells.counts * true).sum() / 20_000
    assert expected == pytest.approx(given.labels.mean(), abs=0.01)


def test_cells_keep_what_was_answered() -> None:
    given = tweets(2, 5000)
    cells = count(given.probabilities, given.disaster)
    assert cells.counts[cells.disaster].sum() == given.disaster.sum()
    mean = (cells.counts * cells.odds).sum() / 5000
    assert mean == pytest.approx(log_odds(given.probabilities).mean())


@pytest.mark.parametrize("scale", [0.2, 0.5, 2.0, 3.0])
def test_recalibration_undoes_what_was_done(scale: float) -> None:
    given = tweets(3, 20_000)
    odds = scale * log_odds(given.probabilities) + 1
    found, shift = recalibrate(odds, given.labels.astype(float), np.ones((1, 20_000)))
    assert found[0] * scale == pytest.approx(1, abs=0.05)
    assert shift[0] * scale == pytest.approx(-1, abs=0.1 * scale)


def test_answers_that_are_all_right_have_a_finite_recalibration() -> None:
    odds = np.array([-3.0, -2.0, 2.0, 3.0])
    scale, shift = recalibrate(odds, np.array([0.0, 0.0, 1.0, 1.0]), np.ones((1, 4)))
    assert 1 < scale[0] < 5
    assert abs(shift[0]) < 1


def test_one_class_alone_is_a_share_at_the_end() -> None:
    odds = np.full((1, 5), logit(0.999))
    assert share(odds, np.ones(5), np.array([0.5]))[0] > 0.999
