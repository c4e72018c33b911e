"""Contrast pairs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from stages.evaluate.pairs import answer_pairs, judge_pairs
from tests.conftest import ROOT, Project

NO_MODEL: Any = None
PAIRS = """pair,kind,label,text
1,drill,disaster,fire at the mill
1,drill,not_disaster,fire at the mill is a drill
2,past,not_disaster,"a flood, fifty years ago"
2,past,disaster,a flood now
3,past,disaster,flood
3,past,not_disaster,fire
"""


def test_a_pair_is_right_if_both_of_its_tweets_are(tmp_path: Path) -> None:
    (file := tmp_path / "pairs.csv").write_text(PAIRS)
    known = {
        "fire at the mill": 0.9,
        "fire at the mill is a drill": 0.1,
        "a flood now": 0.8,
        "a flood, fifty years ago": 0.7,
        "flood": 0.2,
        "fire": 0.4,
    }
    model: Any = SimpleNamespace(probabilities=lambda texts: np.array([*map(known.get, texts)]))
    tweets = answer_pairs(file, model)
    assert dict(zip(tweets["text"], tweets["probability"], strict=True)) == known
    kinds = {kind["kind"]: kind for kind in judge_pairs(tweets, threshold=0.5)}
    assert [*kinds] == ["all", "past", "drill"]
    assert {kind: each["pairs"] for kind, each in kinds.items()} == {
        "all": 3,
        "past": 2,
        "drill": 1,
    }
    both_right = {kind: each["both_right"] for kind, each in kinds.items()}
    assert both_right == {"all": pytest.approx(1 / 3), "past": 0, "drill": 1}
    ranked = {kind: each["ranked"] for kind, each in kinds.items()}
    assert ranked == {"all": pytest.approx(2 / 3), "past": 0.5, "drill": 1}
    low, high = kinds["all"]["interval_95"]
    assert 0 < low < 1 / 3 < high < 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,past,not_disaster,fire\n", "", "pair 3 must be two rows"),
        ("3,past,not_disaster", "3,past,disaster", "pair 3 must be two rows"),
        ("1,drill,not_disaster", "1,past,not_disaster", "pair 1 must be two rows of one kind"),
        ("pair,kind", "pair,sort", "with the columns pair, kind, label, text"),
        (PAIRS.partition("\n")[2], "", "has no pairs; set evaluate.pairs to none.csv"),
        ("fire at", "f\udce9 at", "is not a CSV in UTF-8"),
    ],
)
def test_a_wrong_pair_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(PAIRS.replace(old, new), errors="surrogateescape")
    with pytest.raises(InputError, match=rf"pairs\.csv.*{message}"):
        answer_pairs(file, NO_MODEL)
    with pytest.raises(InputError, match=r"none\.csv.*No such file"):
        answer_pairs(tmp_path / "none.csv", NO_MODEL)


def test_the_report_and_the_card_have_the_shipped_pairs(pipeline: Project) -> None:
    report = json.loads((pipeline.folder / "models/report.json").read_text())
    kinds = pd.read_csv(ROOT / "data/pairs/english.csv")["kind"].value_counts() // 2
    assert {each["kind"]: each["pairs"] for each in report["pairs"][1:]} == dict(kinds)
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    drill = next(each for each in report["pairs"] if each["kind"] == "drill")
    low, high = drill["interval_95"]
    both = f"{drill['both_right']:.1%} | {low:.1%} to {high:.1%} | {drill['ranked']:.1%}"
    assert f"| drill | {drill['pairs']} | {both} |" in card
    answers = pd.read_csv(pipeline.folder / "models/evaluation/pairs.csv")
    is_right = (answers["probability"] >= report["threshold"]) == (answers["label"] == "disaster")
    both_right = is_right.groupby(answers["pair"]).all().mean()
    assert both_right == pytest.approx(report["pairs"][0]["both_right"])
