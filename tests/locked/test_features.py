"""What is said of a tweet in the place of its text."""

import pytest

from locked.features import FEATURES, features, hashed, words

VOCABULARY = {hashed(word) for word in ("flood", "at", "gate")}


def test_a_tweet_is_described() -> None:
    described = features("FLOOD at gate #seven https://t.example/a @you é", VOCABULARY)
    assert tuple(described) == FEATURES
    expected = (47, 5, 1, 1, 1, 5 / 34, 1 / 47, 2 / 5)
    assert tuple(described.values()) == pytest.approx(expected, abs=1e-4)
    assert words("RT @you: Flood, at GATE! http://t.example/x") == ["rt", "flood", "at", "gate"]


@pytest.mark.parametrize("text", ["a@b.example", "C# is fun", "mail me", "!", "\ud800"])
def test_what_only_looks_like_it_is_none(text: str) -> None:
    described = features(text, set())
    assert (described["link"], described["mention"], described["hashtag"]) == (0, 0, 0)
    assert described["unknown"] == bool(words(text))


@pytest.mark.parametrize(("text", "share"), [("aB cD", 0.5), ("éÉ aB", 0.5), ("\u0627 12", 0)])
def test_capitals_of_all_scripts_count(text: str, share: float) -> None:
    assert features(text, VOCABULARY)["capitals"] == share
