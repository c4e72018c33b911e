"""What is harvested: labelled, new, none of the test split, and no reader's word unconfirmed."""

from pathlib import Path

import pandas as pd
import pytest

from tests.monitor.conftest import Line, Place, command, tweets, verdict, write

LIVE = tweets(3, 300)
TEXTS = [f"storm number {i} https://t.example/{i}" for i in range(300)]
LEARNT, TESTED = "Storm NUMBER 5!", "storm number 6"


@pytest.fixture
def lines(place: Place) -> list[Line]:
    prepared = place.folder / "prepared"
    prepared.mkdir()
    train = [LEARNT, *[f"learnt {i}" for i in range(99)]]
    for split, texts in (("train", train), ("validation", ["other"]), ("test", [TESTED])):
        pd.DataFrame({"text": texts}).to_parquet(prepared / f"{split}.parquet")
    return place.log(LIVE, texts=TEXTS)


def harvest(place: Place, *arguments: object) -> tuple[str, pd.DataFrame]:
    output = place.folder / "harvest.csv"
    printed = command(
        *("harvest", place.logs, "--model", place.model, "--output", output),
        *("--prepared", place.folder / "prepared", *arguments),
    )
    return printed, pd.read_csv(output, dtype={"id": str})


def review(place: Place, rows: list[int], drawn: str, name: str) -> Path:
    table = pd.DataFrame({"id": [f"r-{i}" for i in rows], "text": "'shown", "drawn": drawn})
    path = place.folder / name
    table.assign(label=[str(LIVE.labels[i]) for i in rows]).to_csv(path, index=False)
    return path


def test_reviewed_tweets_are_taken_with_where_they_come_from(
    place: Place, lines: list[Line]
) -> None:
    late = {**lines[-1], "id": "late", "time": "2026-01-01T00:00:00Z"}
    write(place.logs / "predictions-2.jsonl", [late])  # a label may be of any day
    sample = review(place, [3, 5, 6, 7], "random", "a.csv")
    sample.write_text(sample.read_text() + "nobody,'shown,random,1\n")
    printed, table = harvest(place, "--reviewed", sample)
    counts = "harvested=2 to_review=0 unknown=1 without_text=0 in_test=1 duplicate=1"
    assert counts in printed
    assert table["id"].tolist() == ["r-3", "r-7"]
    assert table["text"].tolist() == [TEXTS[3], TEXTS[7]]  # as it was logged, not as it was shown
    assert table["target"].tolist() == LIVE.labels[[3, 7]].tolist()
    assert set(table["model"]) == {place.version}
    assert table["probability"].tolist() == pytest.approx(LIVE.probabilities[[3, 7]].tolist())
    assert table["time"][0].startswith("2025-11-20 06:30")
    assert set(table["labelled_by"]) == {"reviewer, drawn by random"}


def test_tweets_with_feedback_wait_for_a_reviewer(place: Place, lines: list[Line]) -> None:
    verdicts = [verdict(line, right=False, text="not what was sent") for line in lines[:50]]
    feedback = write(place.folder / "f.jsonl", verdicts)
    printed, table = harvest(place, "--feedback", feedback)
    waiting = place.folder / "harvest-to-review.csv"
    cap = int(102 / 9)  # a tenth of all tweets then
    assert f"harvested=0 to_review={cap} " in printed
    assert str(waiting) in printed
    assert table.empty
    sample = pd.read_csv(waiting, dtype=str, keep_default_na=False)
    assert set(sample["drawn"]) == {"feedback"}
    assert set(sample["label"]) == {""}
    assert {"r-5", "r-6"}.isdisjoint(sample["id"])
    # once labelled they count, up to the cap
    labelled = place.folder / "labelled.csv"
    sample.assign(label="1").to_csv(labelled, index=False)
    waiting.unlink()
    printed, table = harvest(place, "--feedback", feedback, "--reviewed", labelled)
    assert sorted(table["id"]) == sorted(sample["id"])
    assert set(table["labelled_by"]) == {"reviewer, drawn by feedback"}
    assert "to_review=0" in printed
    more = review(place, [*range(60, 90)], "feedback", "more.csv")
    printed, table = harvest(place, "--reviewed", labelled, more)
    assert (len(table), f"over_cap={len(sample) + 30 - cap}" in printed) == (cap, True)


def test_what_is_lacking_is_said(place: Place, lines: list[Line]) -> None:
    at = ("harvest", place.logs, "--model", place.model, "--output", place.folder / "h.csv")
    assert "--reviewed or --feedback" in command(*at, status=1)
    sample = review(place, [3, 7], "random", "a.csv")
    without = ("--reviewed", sample, "--prepared", place.folder / "none")
    assert "train.parquet: cannot be read (`make repro`" in command(*at, *without, status=1)
    assert not (place.folder / "h.csv").exists()
    for line in lines:
        del line["text"]
    write(place.logs / "predictions-1.jsonl", lines)
    printed, table = harvest(place, "--reviewed", sample)
    assert "harvested=0 to_review=0 unknown=0 without_text=2" in printed
    assert table.empty
