"""Changed tweets."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.evaluate.robustness import INVARIANT, LOWER, TWEETS, measure_robustness

TEXT = "#ForestFire near @town, 12 & more houses: https://t.example/x run NOW"


def robustness_of(word: str, texts: list[str]) -> pd.DataFrame:
    """Return how a model that knows one word answers changed texts."""

    def probabilities(texts: list[str]) -> Any:  # noqa: ANN401
        return np.array([0.9 if word in text else 0.1 for text in texts])

    model: Any = SimpleNamespace(
        manifest=SimpleNamespace(threshold=0.5), probabilities=probabilities
    )
    return measure_robustness(model, pd.Series(texts), probabilities(texts)).set_index("change")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("mentions dropped", TEXT.replace("@town", "")),
        ("links dropped", TEXT.replace("https://t.example/x", "")),
        ("hashtags as words", TEXT.replace("#ForestFire", "Forest Fire")),
        ("hashtags dropped", TEXT.replace("#ForestFire", "")),
        ("characters as HTML entities", TEXT.replace("&", "&amp;")),
    ],
)
def test_a_change_is_what_it_says(change: str, expected: str) -> None:
    assert INVARIANT[change](TEXT, np.random.default_rng(0)) == expected


def test_typos_swap_their_share_of_the_letters() -> None:
    text = "abcdefgh" * 500
    changed = INVARIANT["10 % of letters swapped"](text, np.random.default_rng(0))
    assert sorted(changed) == sorted(text)
    moved = np.mean([a != b for a, b in zip(text, changed, strict=True)])
    assert 0.14 < moved < 0.22  # two letters a swap


def test_flips_are_counted_of_all_and_falls_of_disasters_alone() -> None:
    table = robustness_of("fire", ["a fire", "a FIRE", "no", "nothing"])
    assert table.loc["upper case", "share"] == pytest.approx(0.25)  # one of four
    assert table.loc["a mention in front", "share"] == 0
    falls = table[table["test"] == "fall"]
    assert set(falls.index) == set(LOWER)
    assert set(falls["tweets"]) == {1}
    assert set(falls["share"]) == {0.0}
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()


def test_a_test_without_tweets_is_left_out_and_none_has_more_than_its_share() -> None:
    table = robustness_of("flood", ["plain"] * (TWEETS + 50))
    assert "hashtags dropped" not in table.index
    assert table.loc["upper case", "tweets"] == TWEETS
