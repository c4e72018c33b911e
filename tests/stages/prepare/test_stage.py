"""Checked rows -> prepared splits."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from common.errors import InputError
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from tests.conftest import CORPUS
from tests.stages.prepare.preparing import CLASSES, NAMED, rows, run, settings, write


def split_of_each(splits: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {text: split for split, table in splits.items() for text in table["text"]}


def test_adding_and_reordering_rows_moves_none(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(300)), tmp_path / "out")
    assert {(*table.columns,) for table in splits.values()} == {("id", "text", "keyword", "target")}
    before = split_of_each(splits)
    source = write(tmp_path / "in.csv", rows(350)[::-1])
    after = split_of_each(run(source, tmp_path / "out"))
    assert sorted(after) == sorted(row.split(",")[3] for row in rows(350))
    assert {text: after[text] for text in before} == before
    assert split_of_each(run(source, tmp_path / "out", seed=2)) != after


def test_duplicates_become_one_and_conflicts_are_decided(tmp_path: Path) -> None:
    lines = [
        '900,,,"Fire, at the &amp; mill?",0\n',
        '901,,,"FIRE at the mill! https://t.example/a",1\n',
        '902,,,"fire at the mill https://t.example/b @you",1\n',
        "903,,,that storm was something,1\n",
        "904,,,That storm was something!!,0\n",
        "905,,,https://t.example/only-a-link,1\n",
        "906,,,https://t.example/another-link,0\n",
    ]
    report = prepare(settings(write(tmp_path / "in.csv", rows(300) + lines)), tmp_path / "out")
    files = (tmp_path / "out").glob("*.parquet")
    tweets = pd.concat(pd.read_parquet(file) for file in files).set_index("id")
    assert tweets.loc["901", "target"] == 1
    assert not {"900", "902", "903", "904"} & set(tweets.index)
    assert {"905", "906"} <= set(tweets.index)
    assert {name: count for name, count in report["rows"].items() if count} == {
        "read": 307,
        "kept": 303,
        "merged_duplicates": 2,
        "dropped_label_tie": 2,
        "sets_of_duplicates": 2,
        "sets_decided_by_majority": 1,
        "sets_dropped_on_a_tie": 1,
    }


def test_the_corpus_has_no_tweet_in_two_splits_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = run(CORPUS, tmp_path / "whole")
    rows = pd.concat(splits, names=["split"]).reset_index("split")
    words = rows["text"].str.lower().str.replace(r"https?://\S+|@\w+|&\w+;", " ", regex=True)
    words = words.str.replace(r"[^\w]+|_", " ", regex=True).str.strip()
    assert rows["split"].groupby(words).nunique().max() == 1
    monkeypatch.setattr("reader.table.CHUNK_ROWS", 97)
    parts = run(CORPUS, tmp_path / "parts")
    for split in SPLITS:
        pd.testing.assert_frame_equal(splits[split], parts[split])


def test_events_are_kept_apart(tmp_path: Path) -> None:
    source = write(tmp_path / "in.tsv", [CLASSES], "")
    by_event = {**NAMED, "drop_others": True, "group": "event", "held_out": ["event 3"]}
    report = prepare(settings(source, **by_event), tmp_path / "out")
    assert report["split"]["test"] == ["event 3"]
    test = pd.read_parquet(tmp_path / "out/test.parquet")
    assert {int(number) % 5 for number in test["id"]} == {(10**18 + 3) % 5}
    assert set(test["group"]) == {"event 3"}


def test_files_are_groups_by_their_path(tmp_path: Path) -> None:
    for folder in "abc":
        lines = [f"{i},,,thing {i} of {folder},{i % 2}\n" for i in range(50)]
        write(tmp_path / "in" / folder / "tweets.csv", lines)
    p = settings(tmp_path / "in", group="file", files="**/*.csv", held_out=["b/tweets.csv"])
    report = prepare(p, tmp_path / "out")
    assert (report["split"]["test"], report["splits"]["test"]["rows"]) == (["b/tweets.csv"], 50)
    names = [(f"{folder}/tweets.csv", 50) for folder in "abc"]
    assert [(file["name"], file["rows"]) for file in report["files"]] == names


def test_time_splits_and_copies_stay_in_the_past(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=400).strftime("%d.%m.%y")
    lines = [f"{i},thing {i} says {i * 7919},{i % 2},{days[i]}\n" for i in range(300)]
    words = "the river broke its banks at the old mill and took the bridge"
    lines += [f"{900 + i},{words} {i},1,{days[340 + i]}\n" for i in range(9)]
    lines += [f"400,{words} first,1,{days[0]}\n"]
    source = write(tmp_path / "in.csv", lines, "id,text,target,when\n")
    report = prepare(settings(source, time="when", time_format="%d.%m.%y"), tmp_path / "out")
    ids = [pd.read_parquet(tmp_path / f"out/{s}.parquet")["id"].astype(int) for s in SPLITS]
    assert 400 in set(ids[0])
    assert ids[0][ids[0] != 400].max() < ids[1].min() <= ids[1].max() < ids[2].min()
    assert ids[2].max() < 900
    assert report["rows"]["dropped_near_duplicates_of_an_earlier_split"] == 9


def test_newer_tweets_only_train_and_move_no_row(tmp_path: Path) -> None:
    long = "water rose in all the streets between the old bridge and our market 6"
    folder = tmp_path / "in"
    write(folder / "tweets.csv", [*rows(200), f"201,,,{long} here,1\n", f"202,,,{long} once,0\n"])
    before = run(folder, tmp_path / "before")
    assert {"201", "202"} <= {*before["test"]["id"]}
    tested = before["test"].iloc[0]
    more = [f"h{i},,,storm {i} over town {i * 104729},{i % 2}\n" for i in range(60)]
    same = f"same,,,RT @a: {tested.text.upper()},{tested.target}\n"
    alike = [f"a{i},,,{long} again {i},1\n" for i in range(5)]
    write(folder / "newer.csv", [same, *alike, *more])
    after = run(folder, tmp_path / "after", train_only="newer*")
    for split in ("validation", "test"):
        assert after[split].equals(before[split])
    assert {*after["train"]["id"]} - {*before["train"]["id"]} == {f"h{i}" for i in range(60)}
    with pytest.raises(InputError, match=r"prepare.train_only: no file with rows matches nowhere"):
        run(folder, tmp_path / "none", train_only="nowhere*")


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"group": "event", "time": "when"}, "group and time exclude each other"),
        ({"time_format": "%Y"}, "time_format is set, but time is null"),
        ({"time": "when", "time_format": "mixed"}, "time_format"),
        ({"held_out": ["a"]}, "held_out names groups"),
        ({"disaster": [1, 0]}, "disaster and not_disaster both have 0"),
        ({"validation": 0.5, "test": 0.5}, "validation . test must be below 1"),
    ],
)
def test_params_that_contradict_each_other(others: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings("in.csv", **others)
