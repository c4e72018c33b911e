"""Effects have the right size, whatever the sample; the right feature is named."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from locked.features import FEATURES
from monitor.drift import Effect, compare_words, compute_effect, compute_effects
from tests.conftest import CORPUS
from tests.monitor.conftest import Tweets, reference, tweets

HELD_OUT = reference()


def compared(live: Tweets) -> dict[str, Effect]:
    return compute_effects(
        HELD_OUT.features, live.features, HELD_OUT.probabilities, live.probabilities
    )


def moved(live: Tweets) -> list[str]:
    return [name for name, one in compared(live).items() if one.has_moved]


def test_an_effect_is_cliffs_delta_ties_and_all() -> None:
    chance = np.random.default_rng(0)
    one, other = (chance.integers(*at).astype(float) for at in ((0, 9, 300), (2, 11, 700)))
    result = compute_effect(one, other)
    auc = roc_auc_score(np.repeat([0, 1], [300, 700]), np.concatenate([one, other]))
    assert result.delta == pytest.approx(2 * auc - 1)
    assert (result.reference, result.live) == (np.median(one), np.median(other))


def test_the_interval_holds_the_true_effect() -> None:
    chance = np.random.default_rng(0)
    true = 0.5204998778  # of normals one deviation apart: 2 Phi(1 / sqrt 2) - 1
    held = 0
    for _ in range(400):
        result = compute_effect(chance.standard_normal(200), 1 + chance.standard_normal(500))
        held += result.low <= true <= result.high
    assert 360 <= held <= 390
    apart = compute_effect(np.zeros(100), np.ones(100))
    assert (apart.delta, apart.high, apart.has_moved) == (1, 1, True)
    assert apart.low == pytest.approx(1 - 1.96 / 100, abs=1e-4)


def test_the_feature_that_moved_is_named_and_more_tweets_alone_alarm_nobody() -> None:
    """The held-out tweets differ a little by chance: with many live ones, that is certain."""
    assert moved(tweets(1, 300)) == moved(tweets(2, 3000)) == moved(tweets(3, 50_000)) == []
    assert moved(tweets(4, 50_000, longer=0.03)) == []
    assert moved(tweets(1, 1000, longer=0.3)) == ["characters"]
    assert moved(tweets(1, 1000, share=0.9)) == ["score"]


def test_features_that_are_not_logged_are_not_compared() -> None:
    live = tweets(1, 500)
    live.features[:, FEATURES.index("words")] = np.nan
    assert moved(live) == []
    assert set(compared(live)) == {*FEATURES, "score"} - {"words"}


def test_words_are_named_where_they_tell() -> None:
    texts = pd.read_csv(CORPUS)["text"].astype(str)
    training, other = texts[0:1200:2].tolist(), texts[1:1200:2].tolist()
    shown = [f"@someone {text} https://t.example/z" for text in other]
    wording, words = compare_words(training, shown)
    assert wording
    assert not wording.has_moved  # links and mentions are no words
    assert words == []
    live = [f"{text} zorgblatt" if i % 2 else text for i, text in enumerate(other)]
    wording, words = compare_words(training, live)
    assert wording
    assert wording.has_moved
    assert words[0].word == "zorgblatt"
    assert (round(words[0].live, 2), words[0].training) == (0.5, 0)
    assert compare_words(training, live[:20]) == compare_words([], live) == (None, [])
