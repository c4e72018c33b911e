"""One word: only labels say act, and only an interval without a loss says ok."""

import pytest

from monitor.drift import Effect, Word
from monitor.quality import Figure
from monitor.verdict import STATUS, Verdict, decide

ACCURACY = 0.94
MOVED = Effect(0.4, 0.3, 0.5, True, 0.2, 1.0, 2.0)
STILL = Effect(0.1, 0.0, 0.2, False, 0.2, 1.0, 2.0)
WORDS = [Word("zorg", 0.5, 0.0)]


def verdict(
    low: float, high: float, labels: int, *, effect: Effect = STILL, wording: Effect = STILL
) -> Verdict:
    effects = {"links": effect, "their words": wording}
    accuracy = Figure((low + high) / 2 if labels else float("nan"), low, high)
    return decide(ACCURACY, accuracy, labels, effects, WORDS if wording.moved else [])


@pytest.mark.parametrize(
    ("low", "high", "labels", "differs", "word"),
    [
        (0.60, 0.97, 0, False, "unknown"),
        (0.60, 0.97, 0, True, "look"),
        (0.60, 0.92, 0, False, "look"),  # without labels, a loss is no reason to act
        (0.90, 0.97, 0, True, "ok"),
        (0.60, 0.92, 50, False, "act"),
        (0.60, 0.94, 50, False, "unknown"),
        (0.85, 0.94, 50, True, "look"),
        (0.90, 0.95, 200, True, "ok"),
        (0.90, 0.92, 2000, False, "ok"),  # a loss, and it is tolerated
    ],
)
def test_the_word(low: float, high: float, labels: int, differs: bool, word: str) -> None:
    result = verdict(low, high, labels, effect=MOVED if differs else STILL)
    assert result.word == word
    assert f"{low:.3f} to {high:.3f}" in result.reason
    assert ("Live tweets differ in links." in result.reason) == differs


def test_words_that_tell_tweets_apart_are_named() -> None:
    result = verdict(0.6, 0.97, 0, wording=MOVED)
    assert result.word == "look"
    assert "Live tweets differ in their words (zorg)." in result.reason


def test_advice_says_how_many_labels_narrow_the_interval() -> None:
    assert "50 labels narrow it to ± 0.06, 100 labels to ± 0.04" in verdict(0.6, 0.97, 0).advice
    advice = verdict(0.86, 0.94, 800).advice  # of the labels there are, not of a table
    assert "800 labels give ± 0.040, 1600 would give about ± 0.028" in advice
    assert "because nobody can know without labels" in verdict(0.6, 0.97, 0).reason


def test_each_word_has_a_status() -> None:
    assert STATUS == {"ok": 0, "unknown": 0, "look": 3, "act": 4}
