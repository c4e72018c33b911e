"""Checked rows -> prepared splits."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from common.errors import InputError
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from tests.conftest import CORPUS, ROOT
from tests.stages.prepare.preparing import CLASSES, NAMED, rows, run, settings, write


def split_of_each(splits: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {text: split for split, table in splits.items() for text in table["text"]}


def test_every_row_is_in_exactly_one_split(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(4000)), tmp_path / "out")
    texts = [text for table in splits.values() for text in table["text"]]
    assert sorted(texts) == sorted(f"tweet number {i} says {i * 7919}" for i in range(1, 4001))
    for share, table in zip((0.6, 0.2, 0.2), splits.values(), strict=True):
        assert list(table.columns) == ["id", "text", "keyword", "target"]
        assert len(table) / 4000 == pytest.approx(share, abs=0.03)
        assert table["target"].mean() == pytest.approx(0.5, abs=0.06)


def test_adding_and_reordering_rows_moves_none(tmp_path: Path) -> None:
    before = split_of_each(run(write(tmp_path / "in.csv", rows(300)), tmp_path / "out"))
    source = write(tmp_path / "in.csv", rows(350)[::-1])
    after = split_of_each(run(source, tmp_path / "out"))
    assert len(after) == 350
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
    assert report["rows"] == {
        "read": 307,
        "kept": 303,
        "dropped_other_label": 0,
        "merged_duplicates": 2,
        "dropped_label_tie": 2,
        "sets_of_duplicates": 2,
        "sets_decided_by_majority": 1,
        "sets_dropped_on_a_tie": 1,
        "dropped_near_duplicates_of_an_earlier_split": 0,
        "dropped_train_only_near_duplicates": 0,
        "near_duplicates_within_a_split": 0,
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


def test_a_failed_run_keeps_the_last_output(tmp_path: Path) -> None:
    before = run(write(tmp_path / "in.csv", rows(300)), tmp_path / "out")
    with pytest.raises(InputError):
        run(write(tmp_path / "in.csv", ["1,,,a,maybe\n"]), tmp_path / "out")
    after = pd.read_parquet(tmp_path / "out/train.parquet")
    pd.testing.assert_frame_equal(after, before["train"])


def test_the_command_ends_with_a_line_and_a_status(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "tweets.csv", ["1,,,a,maybe\n"])
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    process = subprocess.run(
        [sys.executable, "-m", "stages", "prepare"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "error: data/tweets.csv: data row 1: target is 'maybe', which neither" in process.stderr
    assert "Traceback" not in process.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tweets.csv"]


def test_events_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text(CLASSES)
    named = {**NAMED, "drop_others": True, "group": "event", "held_out": ["event 3"]}
    report = prepare(settings(tmp_path / "in.tsv", **named), tmp_path / "out")
    assert report["split"]["test"] == ["event 3"]
    test = pd.read_parquet(tmp_path / "out/test.parquet")
    assert {int(number) % 5 for number in test["id"]} == {(10**18 + 3) % 5}
    assert set(test["group"]) == {"event 3"}


def test_files_are_groups_by_their_path(tmp_path: Path) -> None:
    for folder in "abc":
        (tmp_path / "in" / folder).mkdir(parents=True)
        lines = [f"{i},,,thing {i} of {folder},{i % 2}\n" for i in range(50)]
        write(tmp_path / "in" / folder / "tweets.csv", lines)
    p = settings(tmp_path / "in", group="file", files="**/*.csv", held_out=["b/tweets.csv"])
    report = prepare(p, tmp_path / "out")
    assert report["split"]["test"] == ["b/tweets.csv"]
    names = [(f"{folder}/tweets.csv", 50) for folder in "abc"]
    assert [(file["name"], file["rows"]) for file in report["files"]] == names
    assert report["splits"]["test"]["rows"] == 50


@pytest.mark.parametrize(
    ("written", "form"), [("2020-{:02}-{:02}", None), ("{1:02}.{0:02}.20", "%d.%m.%y")]
)
def test_time_splits_and_copies_stay_in_the_past(
    tmp_path: Path, written: str, form: str | None
) -> None:
    lines = [
        f"{i},thing {i} says {i * 7919},{i % 2},{written.format(i // 28 + 1, i % 28 + 1)}\n"
        for i in range(300)
    ]
    words = "the river broke its banks at the old mill and took the bridge"
    lines += [f"{900 + i},{words} {i},1,{written.format(12, i + 1)}\n" for i in range(9)]
    lines += [f"400,{words} first,1,{written.format(1, 1)}\n"]
    source = write(tmp_path / "in.csv", lines, "id,text,target,when\n")
    p = settings(source, time="when", time_format=form)
    report = prepare(p, tmp_path / "out")
    ids = [pd.read_parquet(tmp_path / f"out/{s}.parquet")["id"].astype(int) for s in SPLITS]
    assert "400" in set(ids[0].astype(str))
    assert ids[0][ids[0] != 400].max() < ids[1].min() <= ids[1].max() < ids[2].min()
    assert ids[2].max() < 900
    assert report["rows"]["dropped_near_duplicates_of_an_earlier_split"] == 9
    assert report["split"]["train"][0] == "2020-01-01T00:00:00+00:00"


def test_harvested_tweets_only_train_and_move_no_row(tmp_path: Path) -> None:
    long = "water rose in all the streets between the old bridge and our market 6"
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "tweets.csv", [*rows(200), f"201,,,{long} here,1\n", f"202,,,{long} once,0\n"])
    before = run(folder, tmp_path / "before")
    assert {"201", "202"} <= {*before["test"]["id"]}
    tested = before["test"].iloc[0]
    more = [f"h{i},,,storm {i} over town {i * 104729},{i % 2}\n" for i in range(60)]
    same = f"same,,,RT @a: {tested.text.upper()},{tested.target}\n"
    alike = [f"a{i},,,{long} again {i},1\n" for i in range(5)]
    write(folder / "harvest.csv", [same, *alike, *more])
    after = run(folder, tmp_path / "after", train_only="harvest*")
    for split in ("validation", "test"):
        assert after[split].equals(before[split])
    assert {*after["train"]["id"]} - {*before["train"]["id"]} == {f"h{i}" for i in range(60)}
    with pytest.raises(InputError, match=r"prepare.train_only: no row is of a file nowhere"):
        run(folder, tmp_path / "none", train_only="nowhere*")


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"group": "event", "time": "when"}, "group and time exclude each other"),
        ({"time_format": "%Y"}, "time_format is of the column time"),
        ({"time": "when", "time_format": "mixed"}, "time_format"),
        ({"held_out": ["a"]}, "held_out names groups"),
        ({"disaster": [1]}, None),
        ({"disaster": [1, 0]}, "disaster and not_disaster both have 0"),
        ({"validation": 0.5, "test": 0.5}, "validation . test must be below 1"),
    ],
)
def test_params_that_contradict_each_other(others: dict[str, object], reason: str | None) -> None:
    if reason is None:
        assert settings("in.csv", **others).disaster == ["1"]
        return
    with pytest.raises(ValidationError, match=reason):
        settings("in.csv", **others)
