"""Checked rows -> prepared splits."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from tests.conftest import CORPUS
from tests.stages.prepare.preparing import (
    CLASSES,
    NAMED,
    SHIPPED,
    rows,
    run,
    run_stage,
    settings,
    write,
)


def places(splits: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {text: split for split, table in splits.items() for text in table["text"]}


def test_every_row_is_in_exactly_one_split(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(500)), tmp_path / "out")
    texts = [text for table in splits.values() for text in table["text"]]
    assert sorted(texts) == sorted(f"tweet number {i} says {i * 7919}" for i in range(1, 501))
    assert [list(table.columns) for table in splits.values()] == [
        ["id", "text", "keyword", "target"]
    ] * 3
    assert len(splits["train"]) == pytest.approx(300, abs=40)
    assert len(splits["test"]) == pytest.approx(100, abs=30)


def test_classes_are_shared_out_alike(tmp_path: Path) -> None:
    splits = run(write(tmp_path / "in.csv", rows(4000)), tmp_path / "out")
    shares = [table["target"].mean() for table in splits.values()]
    assert max(shares) - min(shares) < 0.06


def test_adding_and_reordering_rows_moves_none(tmp_path: Path) -> None:
    before = places(run(write(tmp_path / "in.csv", rows(300)), tmp_path / "out"))
    after = places(run(write(tmp_path / "in.csv", rows(350)[::-1]), tmp_path / "out"))
    assert len(after) == 350
    assert {text: after[text] for text in before} == before


def test_another_seed_is_another_split(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", rows(300))
    assert places(run(source, tmp_path / "a", seed=1)) != places(
        run(source, tmp_path / "b", seed=2)
    )


def test_near_duplicates_become_one_and_conflicts_are_decided(tmp_path: Path) -> None:
    lines = [
        '900,,,"FIRE at the mill! https://t.example/a",1\n',
        '901,,,"fire at the mill https://t.example/b @you",1\n',
        '902,,,"Fire, at the &amp; mill?",0\n',
        "903,,,that storm was something,1\n",
        "904,,,That storm was something!!,0\n",
        "905,,,https://t.example/only-a-link,1\n",
        "906,,,https://t.example/another-link,0\n",
    ]
    output = tmp_path / "out"
    source = write(tmp_path / "in.csv", rows(300) + lines)
    report = prepare(settings(source), output)
    kept = pd.concat(pd.read_parquet(file) for file in output.glob("*.parquet")).set_index("id")
    assert kept.loc["900", "target"] == 1
    assert not {"901", "902", "903", "904"} & set(kept.index)
    assert {"905", "906"} <= set(kept.index)
    assert report["rows"] == {
        "read": 307,
        "dropped_other_label": 0,
        "kept": 303,
        "merged_near_duplicates": 2,
        "dropped_label_tie": 2,
        "groups_of_near_duplicates": 2,
        "groups_decided_by_majority": 1,
        "groups_dropped_on_a_tie": 1,
        "dropped_like_an_earlier_split": 0,
        "dropped_like_what_judges": 0,
        "much_alike_in_one_split": 0,
    }


def test_the_kept_row_bears_the_majority_label(tmp_path: Path) -> None:
    lines = ["900,,,flood!,0\n", "901,,,flood?,1\n", "902,,,flood.,1\n"]
    kept = pd.concat(run(write(tmp_path / "in.csv", rows(300) + lines), tmp_path / "out").values())
    assert kept[kept["text"].str.startswith("flood")][["id", "target"]].to_numpy().tolist() == [
        ["901", 1]
    ]


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(CORPUS, tmp_path / "whole")
    monkeypatch.setattr("reader.table.CHUNK_ROWS", 97)
    parts = run(CORPUS, tmp_path / "parts")
    for split in SPLITS:
        pd.testing.assert_frame_equal(whole[split], parts[split])


def test_a_failed_run_keeps_the_last_output(tmp_path: Path) -> None:
    output = tmp_path / "out"
    before = run(write(tmp_path / "in.csv", rows(300)), output)
    with pytest.raises(InputError):
        run(write(tmp_path / "in.csv", ["1,,,a,maybe\n"]), output)
    pd.testing.assert_frame_equal(pd.read_parquet(output / "train.parquet"), before["train"])


def test_the_command_ends_with_a_line_and_a_status(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "tweets.csv", ["1,,,a,maybe\n"])
    done = run_stage(tmp_path, SHIPPED)
    assert done.returncode == 1
    assert "error: data/tweets.csv: data row 1: target is 'maybe', which neither" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tweets.csv"]


def test_no_reading_is_in_two_splits_of_the_corpus(tmp_path: Path) -> None:
    splits = run(CORPUS, tmp_path / "out")
    bare = {
        split: set(
            table["text"]
            .str.lower()
            .str.replace(r"https?://\S+|@\w+|&\w+;", " ", regex=True)
            .str.replace(r"[^\w]+|_", " ", regex=True)
            .str.strip()
        )
        for split, table in splits.items()
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not bare[one] & bare[other]


def test_events_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text(CLASSES)
    p = settings(tmp_path / "in.tsv", **NAMED, drop_others=True, group="event")
    held = p.model_copy(update={"held_out": ["event 3"]})
    report = prepare(held, tmp_path / "out")
    assert report["split"]["test"] == ["event 3"]
    test = pd.read_parquet(tmp_path / "out/test.parquet")
    assert {int(number) % 5 for number in test["id"]} == {(10**18 + 3) % 5}


def test_files_are_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        lines = [f"{i},,,thing {i} of {number},{i % 2}\n" for i in range(50)]
        write(tmp_path / "in" / f"{number}.csv", lines)
    report = prepare(settings(tmp_path / "in", group="file"), tmp_path / "out")
    assert [file["rows"] for file in report["files"]] == [50] * 4
    files = [file for split in SPLITS for file in report["split"][split]]
    assert sorted(files) == [f"{number}.csv" for number in range(4)]


def test_files_of_one_name_are_groups_of_their_own(tmp_path: Path) -> None:
    for folder in "abc":
        (tmp_path / "in" / folder).mkdir(parents=True)
        lines = [f"{i},,,thing {i} of {folder},{i % 2}\n" for i in range(50)]
        write(tmp_path / "in" / folder / "tweets.csv", lines)
    p = settings(tmp_path / "in", group="file", files="**/*.csv", held_out=["b/tweets.csv"])
    report = prepare(p, tmp_path / "out")
    assert report["split"]["test"] == ["b/tweets.csv"]
    names = ["a/tweets.csv", "b/tweets.csv", "c/tweets.csv"]
    assert [file["name"] for file in report["files"]] == names
    assert report["splits"]["test"]["rows"] == 50


def test_time_splits_and_copies_stay_in_the_past(tmp_path: Path) -> None:
    lines = [
        f"{i},thing {i} says {i * 7919},{i % 2},2020-01-01T00:{i // 60:02}:{i % 60:02}\n"
        for i in range(300)
    ]
    words = "the river broke its banks at the old mill and took the bridge"
    lines += [f"900,{words} today,1,2019-01-01\n", f"901,{words} again,1,2021-01-01\n"]
    source = write(tmp_path / "in.csv", lines, "id,text,target,when\n")
    splits = run(source, tmp_path / "out", time="when")
    assert splits["train"]["id"].astype(int).max() == 900
    assert splits["test"]["id"].astype(int).min() > splits["validation"]["id"].astype(int).max()
    assert "901" not in set(splits["test"]["id"])
    write(source, [*lines, "902,no,0,soon\n"], "id,text,target,when\n")
    with pytest.raises(InputError, match=r"data row 303: when is no time \(got 'soon'\); write"):
        run(source, tmp_path / "out", time="when")


def test_a_file_tells_day_from_month_across_its_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reader.table.CHUNK_ROWS", 97)
    days = [f"{i % 28 + 1:02}.{i // 28 + 1:02}.2013" for i in range(336)]
    rows = [f"{i},thing {i} says {i * 7919},{i % 2},{day}\n" for i, day in enumerate(days)]
    source = write(tmp_path / "in.csv", rows, "id,text,target,when\n")
    splits = run(source, tmp_path / "out", time="when")
    ids = [table["id"].astype(int) for table in splits.values()]
    assert ids[0].max() < ids[1].min() <= ids[1].max() < ids[2].min()
    write(source, rows[:12], "id,text,target,when\n")
    with pytest.raises(InputError, match=r"in.csv: data row 2: when may begin with .*'02.01.2013'"):
        run(source, tmp_path / "out", time="when")


def test_harvested_tweets_judge_no_model_and_move_none(tmp_path: Path) -> None:
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
