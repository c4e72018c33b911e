"""What is said of a tweet in the place of its text."""

import pytest

from locked.features import FEATURES, features, hashed, words

KNOWN = {hashed(word) for word in ("flood", "at", "gate")}


def test_all_features_are_there_in_their_order() -> None:
    assert tuple(features("x", set())) == FEATURES


def test_a_tweet_is_described() -> None:
    described = features("FLOOD at gate #seven https://t.example/a @you é", KNOWN)
    assert described["characters"] == 47
    assert described["words"] == 5
    assert (described["link"], described["mention"], described["hashtag"]) == (1, 1, 1)
    assert described["capitals"] == pytest.approx(5 / 34, abs=1e-4)
    assert described["non_ascii"] == pytest.approx(1 / 47, abs=1e-4)
    assert described["unknown"] == pytest.approx(2 / 5)


@pytest.mark.parametrize("text", ["a@b.example", "C# is fun", "mail me"])
def test_what_only_looks_like_it_is_none(text: str) -> None:
    described = features(text, KNOWN)
    assert (described["link"], described["mention"], described["hashtag"]) == (0, 0, 0)


@pytest.mark.parametrize("text", ["!", "\ud800", "https://t.example/a"])
def test_texts_without_words(text: str) -> None:
    assert features(text, KNOWN)["unknown"] == 0


def test_words_are_bare() -> None:
    assert words("RT @you: Flood, at GATE! http://t.example/x") == ["rt", "flood", "at", "gate"]


@pytest.mark.parametrize(
    ("text", "share"), [("aB cD", 0.5), ("\u00e9\u00c9 aB", 0.5), ("\u0627 12", 0)]
)
def test_capitals_of_all_scripts_count(text: str, share: float) -> None:
    assert features(text, KNOWN)["capitals"] == share
