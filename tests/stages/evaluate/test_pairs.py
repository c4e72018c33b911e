"""Contrast pairs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from stages.evaluate.pairs import COLUMNS, answer_pairs, judge_pairs
from stages.evaluate.stage import evaluate
from stages.params import Params
from stages.shared.outputs import PAIRS, get_csv_path
from tests.conftest import ROOT, Project

NO_MODEL: Any = None
ROWS = """pair,kind,label,text
1,drill,disaster,fire at the mill
1,drill,not_disaster,fire at the mill is a drill
2,long ago,0,"a flood, fifty years ago"
2,long ago,1,a flood now
3,long ago,disaster,flood
3,long ago,not_disaster,fire
4,long ago,disaster,storm
4,long ago,not_disaster,wind
"""
PROBABILITIES = {
    "fire at the mill": 0.5,
    "fire at the mill is a drill": 0.49,
    "a flood, fifty years ago": 0.5,
    "a flood now": 0.8,
    "flood": 0.2,
    "fire": 0.4,
    "storm": 0.3,
    "wind": 0.3,
}


def write(tmp_path: Path, old: str = "", new: str = "") -> Path:
    (file := tmp_path / "pairs.csv").write_bytes(
        b"\xef\xbb\xbf" + ROWS.replace(old, new).encode(errors="surrogateescape")
    )
    return file


def test_a_pair_is_right_if_both_of_its_tweets_are(tmp_path: Path) -> None:
    model: Any = SimpleNamespace(
        probabilities=lambda texts: np.array([*map(PROBABILITIES.get, texts)])
    )
    tweets = answer_pairs(write(tmp_path), model)
    assert dict(zip(tweets["text"], tweets["probability"], strict=True)) == PROBABILITIES
    figures = judge_pairs(tweets, threshold=0.5)
    low, high = figures["all"].pop("interval_95")
    assert 0 < low < 1 / 4 < high < 1
    assert figures["all"] == {"pairs": 4, "both_right": 1 / 4, "ranked": 2 / 4}
    assert [*figures["kinds"]] == ["long ago", "drill"]
    for name, expected in {"long ago": (3, 0, 1 / 3), "drill": (1, 1, 1)}.items():
        kind = figures["kinds"][name]
        assert (kind["pairs"], kind["both_right"], kind["ranked"]) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3,long ago,not_disaster,fire\n", "", r"row 6: a pair must have one not_.* \(got '3'\)"),
        ("3,long ago,not_disaster", "3,long ago,disaster", "row 6: a pair must have"),
        ("1,drill,not_disaster", "1,past,not_disaster", "row 2: both tweets .* the same kind"),
        ("1,drill,disaster", "1,a|b,disaster", r"row 2: kind must consist of words \(got 'a\|b'\)"),
        ("3,long ago,disaster,flood", "3,long ago,disaster", "row 6: text must not be blank"),
        ("3,long ago,disaster", " ,long ago,disaster", "row 6: pair must not be blank"),
        ("storm", "storm, flood", "is not a CSV in UTF-8"),
        ("mill\n1", "mill,\n1", "row 2: more cells than the header has"),
        ("fire at", "f\udce9 at", "is not a CSV in UTF-8"),
        ("2,long ago,0", "2,long ago,no", r"row 4: label must be .* \(got 'no'\)"),
        ("pair,kind", "pair,sort", "no column kind"),
        (ROWS.partition("\n")[2], "", "has no pairs; set evaluate.pairs to none.csv"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"pairs\.csv.*{message}"):
        answer_pairs(write(tmp_path, old, new), NO_MODEL)


def test_the_report_and_the_card_have_the_shipped_pairs(pipeline: Project) -> None:
    report = json.loads((pipeline.folder / "models/report.json").read_text())
    kinds = pd.read_csv(ROOT / "data/pairs/english.csv")["kind"].value_counts() // 2
    figures = report["pairs"]["kinds"]
    assert {kind: each["pairs"] for kind, each in figures.items()} == dict(kinds)
    card = (pipeline.folder / "models/evaluation/model_card.md").read_text()
    for kind, each in {"drill": figures["drill"], "**all**": report["pairs"]["all"]}.items():
        low, high = each["interval_95"]
        shares = f"{each['both_right']:.1%} | {low:.1%} to {high:.1%} | {each['ranked']:.1%}"
        assert f"| {kind} | {each['pairs']} | {shares} |" in card
    answers = pd.read_csv(pipeline.folder / "models/evaluation/pairs.csv")
    is_right = (answers["probability"] >= report["threshold"]) == (answers["label"] == "disaster")
    both_right = is_right.groupby(answers["pair"]).all().mean()
    assert both_right == pytest.approx(report["pairs"]["all"]["both_right"])


def test_a_model_can_do_without_pairs(
    pipeline: Project, p: Params, classifier_folder: Path, tmp_path: Path
) -> None:
    inputs = pipeline.folder / "models/answers.npy", pipeline.folder / "data/prepared"
    report = evaluate(classifier_folder, *inputs, tmp_path / "out", p, None)
    assert report["pairs"] is None
    assert "## Contrast pairs" not in (tmp_path / "out/model_card.md").read_text()
    assert not (tmp_path / "out/pairs.csv").exists()
    assert get_csv_path("none.csv", PAIRS) is None
    assert (ROOT / PAIRS / "none.csv").read_text() == f"{','.join(COLUMNS)}\n"
