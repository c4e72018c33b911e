"""Labels find their answers by id, and nothing that a client claims is taken for it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from common.errors import InputError
from monitor.labels import Labelled, join_feedback, join_reviewed, read_feedback, read_reviewed
from monitor.logs import Lines
from monitor.window import Log, read
from tests.monitor.conftest import Line, lines_of, tweets, verdict, write

GIVEN = tweets(0, 50)
OTHER = {"disaster": "not_disaster", "not_disaster": "disaster"}


@pytest.fixture
def lines() -> list[Line]:
    return lines_of(GIVEN, "v1")


@pytest.fixture
def log(tmp_path: Path, lines: list[Line]) -> Log:
    return read([str(write(tmp_path / "logs/a.jsonl", lines))])[0]["v1"]


def joined(log: Log, path: Path, verdicts: list[Line]) -> Labelled:
    return join_feedback(log, read_feedback([str(write(path / "f.jsonl", verdicts))], Lines()))


def test_a_verdict_is_on_the_logs_answer(tmp_path: Path, log: Log, lines: list[Line]) -> None:
    verdicts = [
        verdict(lines[3], right=True, probability=0.0, model="forged"),
        verdict(lines[4], right=False),
        verdict(lines[5], right=True, label=OTHER[lines[5]["label"]]),
        verdict(lines[6], right=True, id="nobody"),
    ]
    found = joined(log, tmp_path, verdicts)
    assert found.rows.tolist() == [3, 4]
    assert found.right(log).tolist() == [True, False]
    assert found.targets.tolist() == [int(GIVEN.disaster[3]), int(not GIVEN.disaster[4])]
    assert (found.given, found.unknown, found.contradicting) == (4, 1, 1)


def test_the_last_verdict_counts_on_a_tweet_too(
    tmp_path: Path, log: Log, lines: list[Line]
) -> None:
    early, late = "2025-11-21T00:00:00+00:00", "2025-11-21T01:30:00+01:00"
    verdicts = [
        verdict(lines[3], right=True, time=late),
        verdict(lines[3], right=False, time=early),
    ]
    assert joined(log, tmp_path, verdicts).right(log).tolist() == [True]
    log.tweets[7] = log.tweets[3]
    log.disaster[7] = log.disaster[3]
    again = verdict(lines[7], right=False, label=lines[3]["label"], time="2025-11-22T00:00:00Z")
    found = joined(log, tmp_path, [*verdicts, again])
    assert (found.rows.tolist(), found.right(log).tolist()) == ([7], [False])


def test_verdicts_among_a_servers_other_lines(tmp_path: Path, lines: list[Line]) -> None:
    given = verdict(lines[0], right=True, message="feedback")
    exported = {"timestamp": given["time"], "jsonPayload": given | {"id": "other"}}
    path = write(tmp_path / "f.jsonl", [{"message": "prediction"}, given, exported])
    counts = Lines()
    table = read_feedback([str(path)], counts)
    assert table["id"].tolist() == [lines[0]["id"], "other"]
    assert (counts.read, counts.others, counts.broken) == (3, 1, 0)
    whole = read_feedback([str(write(tmp_path / "all/a.jsonl", [given]).parent)], counts)
    assert len(whole) == 1


def test_broken_verdicts_are_counted(tmp_path: Path, lines: list[Line]) -> None:
    path = write(tmp_path / "f.jsonl", [verdict(lines[0], right=True)])
    bad = ["{", "[]", '{"id": "a"}', '{"id": "a", "time": "x", "label": "disaster", "right": true}']
    times = ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59", "2990-01-01T00:00:00Z")
    late = [json.dumps(verdict(lines[0], right=False, time=time)) for time in times]
    path.write_text(path.read_text() + "\n".join([*bad, *late]))
    counts = Lines()
    assert read_feedback([str(path)], counts)["right"].tolist() == [True]
    assert (counts.read, counts.broken, counts.named[0]) == (8, 7, f"{path}:2")
    with pytest.raises(InputError, match=r"none.jsonl: no such file"):
        read_feedback([str(tmp_path / "none.jsonl")], counts)
    assert len(read_feedback([], counts)) == 0


def test_reviewed_tweets(tmp_path: Path, log: Log) -> None:
    path = tmp_path / "sample.csv"
    rows = ["r-1,a,1,random", "r-2,b,not_disaster,random", "r-3,c,,random", "nobody,d,0,random"]
    path.write_text("\ufeffid,text,label,drawn\n" + "\n".join(rows) + "\n")
    table = read_reviewed([str(path)])
    found = join_reviewed(log, table)
    assert (found.rows.tolist(), found.targets.tolist()) == ([1, 2], [1, 0])
    assert (found.given, found.unknown) == (3, 1)
    assert read_reviewed([]).empty


def test_a_sample_that_a_spreadsheet_saved(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    rows = ["id;text;label;drawn", "a;café;1.0;random", "b;x;FALSE;random", "c;y;;random"]
    path.write_bytes("\r\n".join(rows).encode("cp1252"))
    assert read_reviewed([str(path)])["target"].to_dict() == {1: 1, 2: 0}


def test_a_wrong_label_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    table = pd.DataFrame({"id": ["a", "b"], "label": ["1", "maybe"], "drawn": ["random"] * 2})
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"data row 2: label must be one of 0, 1, .*'maybe'"):
        read_reviewed([str(path)])
    table.drop(columns="drawn").to_csv(path, index=False)
    with pytest.raises(InputError, match="lacks the column drawn"):
        read_reviewed([str(path)])
