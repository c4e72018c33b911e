"""Changed tweets."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from locked.classifier import Classifier
from stages.evaluate.robustness import INVARIANT, LOWER, TWEETS, robustness
from tests.conftest import Project

TEXT = "#ForestFire near @town, 12 & more houses: https://t.example/x run NOW"


class Words:
    """A model that knows one word."""

    manifest = SimpleNamespace(threshold=0.5)

    def __init__(self, word: str) -> None:
        self.word = word

    def probabilities(self, texts: list[str]) -> Any:  # noqa: ANN401
        return np.array([0.9 if self.word in text else 0.1 for text in texts])


def robustness_of(word: str, texts: list[str]) -> pd.DataFrame:
    model = cast("Classifier", Words(word))
    before = model.probabilities(texts)
    return robustness(model, pd.Series(texts), before).set_index("change")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("upper case", TEXT.upper()),
        ("lower case", TEXT.lower()),
        ("a mention in front", f"@someone {TEXT}"),
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


def test_flips_are_counted() -> None:
    table = robustness_of("fire", ["a fire", "a FIRE", "no", "nothing"])
    assert table.loc["upper case", "share"] == pytest.approx(0.25)  # one of four
    assert table.loc["a mention in front", "share"] == 0


def test_a_fall_is_counted_of_disasters_alone() -> None:
    table = robustness_of("flood", ["a flood", "the flood", "nothing"])
    falls = table[table["test"] == "fall"]
    assert set(falls.index) == set(LOWER)
    assert set(falls["tweets"]) == {2}
    assert set(falls["share"]) == {0.0}


def test_a_test_without_tweets_is_left_out_and_none_has_more_than_its_share() -> None:
    table = robustness_of("flood", ["plain"] * (TWEETS + 50))
    assert "hashtags dropped" not in table.index
    assert table.loc["upper case", "tweets"] == TWEETS


def test_report_and_card_have_it(pipeline: Project) -> None:
    folder = Path(pipeline.folder / "models/evaluation")
    table = pd.read_csv(folder / "robustness.csv")
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()
    card = (folder / "model_card.md").read_text()
    row = table[table["change"] == "upper case"].iloc[0]
    assert f"| upper case | {row.tweets} | {row.share:.1%} |" in card
