"""Labels find their answers in whatever a tool exports; what a client claims is never trusted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.errors import InputError
from monitor.labels import (
    Labelled,
    join_feedback,
    join_reviewed,
    read_feedback,
    read_reviewed,
)
from monitor.log import Log, read
from monitor.records import Lines
from tests.monitor.conftest import Line, lines_of, tweets, verdict, write

ANSWERS = tweets(0, 50)
OTHER = {"disaster": "not_disaster", "not_disaster": "disaster"}
TEXTS = [f"=Fire {i}, a \u201cbridge\u201d & more" for i in range(50)]
IDS = [f"6aaec993b4f343508b69c8e9-{i}" for i in range(50)]
TRUTH = [1, 0, 0, 1, 1, 0]  # of the first tweets


@pytest.fixture
def lines() -> list[Line]:
    return [
        line | {"id": name}
        for line, name in zip(lines_of(ANSWERS, "v1", texts=TEXTS), IDS, strict=True)
    ]


@pytest.fixture
def log(tmp_path: Path, lines: list[Line]) -> Log:
    return logged(tmp_path, lines)["v1"]


def logged(folder: Path, lines: list[Line]) -> dict[str, Log]:
    return read([str(write(folder / "logs/a.jsonl", lines))])[0]


def joined(log: Log, *paths: Path) -> Labelled:
    return join_reviewed(log, read_reviewed([str(path) for path in paths], {"v1": log}))


SAMPLE = [
    {"id": IDS[i], "text": f"'{TEXTS[i]}", "label": str(target), "drawn": "random"}
    for i, target in enumerate(TRUTH)  # the texts as `review` shows them to spreadsheets
]


def changed(change: Callable[[int, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sample with other fields, by each row's number and label."""
    return [row | change(i, row["label"]) for i, row in enumerate(SAMPLE)]


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> str:
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\r\n", sep=separator))


def choice(row: dict[str, Any]) -> dict[str, Any]:
    return {"options": [{"id": "0"}, {"id": "1"}], "accept": [row["label"]]}


def studio(i: int, row: dict[str, Any]) -> dict[str, Any]:
    choice = {"value": {"choices": [["not disaster", "Disaster"][int(row["label"])]]}}
    annotation = {"id": i, "completed_by": 1, "was_cancelled": False, "result": [choice]}
    guess = {"result": [{"value": {"choices": ["1"]}}], "score": 0.5}
    about = {"id": i, "status": "completed", "data": row | {"label": ""}}
    return about | {"annotations": [annotation], "predictions": [guess]}


EXPORTS = {
    "as review wrote it": as_csv(SAMPLE),
    "Excel, long numbers spoilt": "\ufeff"
    + as_csv(changed(lambda _, label: {"id": "1.72938E+18", "label": f"{label}.0"})),
    "LibreOffice, German": as_csv(changed(lambda _, label: {"label": f"{label},0"}), ";"),
    "Google Sheets, check boxes": as_csv(
        changed(lambda _, label: {"label": ["FALSE", "TRUE"][int(label)]})
    ),
    "Prodigy, binary": json.dumps(
        changed(lambda _, label: {"answer": ["reject", "accept"][int(label)], "label": "1"})
    ),
    "Prodigy, choice": json.dumps(
        [{"text": x["text"], "drawn": "random", "answer": "accept"} | choice(x) for x in SAMPLE]
    ),
    "Label Studio, JSON": json.dumps([studio(i, row) for i, row in enumerate(SAMPLE)]),
    "Label Studio, CSV, another name": as_csv(
        changed(lambda i, label: {"id": i, "annotator": 1, "label": "", "sentiment": label})
    ),
    "a list in a cell": as_csv(changed(lambda _, label: {"label": f"[{{'value': {label}}}]"})),
    "texts alone, passed on": as_csv(
        changed(lambda i, _: {"tweet": f"RT @me: '{TEXTS[i].upper()}", "id": "", "text": ""})
    ),
}


@pytest.mark.parametrize("tool", EXPORTS)
def test_what_a_tool_exports(tmp_path: Path, log: Log, tool: str) -> None:
    path = tmp_path / "labels"
    path.write_text(EXPORTS[tool])
    labelled = joined(log, path)
    assert (labelled.rows.tolist(), labelled.targets.tolist()) == ([0, 1, 2, 3, 4, 5], TRUTH)
    assert (labelled.total, labelled.unknown) == (6, 0)


def test_rows_without_a_verdict(tmp_path: Path, log: Log) -> None:
    rows = [SAMPLE[0] | {"answer": "ignore"}, SAMPLE[1] | {"label": ""}]
    rows += [SAMPLE[2] | {"id": "x", "text": "y"}, *SAMPLE[3:]]
    labelled = joined(log, write(tmp_path / "a.jsonl", rows))
    assert (labelled.rows.tolist(), labelled.total, labelled.unknown) == ([3, 4, 5], 4, 1)
    assert read_reviewed([], {"v1": log}).empty


def test_a_text_answered_in_two_ways_is_in_doubt(tmp_path: Path, lines: list[Line]) -> None:
    lines[1] |= {"text": TEXTS[0], "label": OTHER[lines[0]["label"]]}
    lines[3] |= {"text": TEXTS[2], "label": lines[2]["label"]}
    log = logged(tmp_path, lines)["v1"]
    rows = [{"text": TEXTS[i], "label": 1, "drawn": "random"} for i in (0, 2, 5)]
    labelled = joined(log, write(tmp_path / "a.jsonl", rows))
    assert (labelled.rows.tolist(), labelled.unknown) == ([2, 5], 1)


def test_numbers_of_a_tool_are_no_ids_and_each_version_answered(
    tmp_path: Path, lines: list[Line]
) -> None:
    for i, line in enumerate(lines):
        line["id"] = str(49 - i)  # a client's own
    other = [line | {"model": "v2", "id": f"{line['id']}-v2"} for line in lines]
    logs = logged(tmp_path, [*lines, *other])
    path = write(tmp_path / "a.jsonl", changed(lambda i, _: {"id": i}))
    table = read_reviewed([str(path)], logs)
    for log in logs.values():
        assert join_reviewed(log, table).rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_sample_says_how_each_was_drawn(tmp_path: Path, log: Log) -> None:
    path = tmp_path / "bare.csv"
    path.write_text(as_csv([{"data": row["text"], "label": row["label"]} for row in SAMPLE]))
    with pytest.raises(InputError, match=r"bare.csv: no column `drawn`, .*--reviewed SAMPLE FILE"):
        joined(log, path)
    rows = changed(lambda *_: {"label": "", "drawn": "0.25"})
    labelled = joined(log, write(tmp_path / "sample.jsonl", rows), path)
    assert (labelled.targets.tolist(), set(labelled.weights)) == (TRUTH, {4.0})


def test_two_labels_of_a_tweet_agree_or_are_named(tmp_path: Path, log: Log) -> None:
    first, again = write(tmp_path / "a.jsonl", SAMPLE), write(tmp_path / "b.jsonl", SAMPLE[2:4])
    assert joined(log, first, again).targets.tolist() == TRUTH
    again = write(tmp_path / "b.jsonl", [SAMPLE[0], SAMPLE[2] | {"label": "1"}])
    with pytest.raises(InputError, match=r"differ: \S*a.jsonl row 3 and \S*b.jsonl row 2\. Decide"):
        joined(log, first, again)


def test_what_is_wrong_with_labels(tmp_path: Path, log: Log) -> None:
    changes: dict[str, dict[str, Any]] = {
        r"data row 1: label must be one of 0, 1, .*'1, 0'": {"label": ["1", "0"]},
        r"data row 1: label must be one of 0, 1, .*'maybe'": {"label": "maybe"},
        r"data row 1: drawn must be random, feedback .*'by hand'": {"drawn": "by hand"},
        r"none of its 6 labels matches .*--since": {"id": "?", "text": "another"},
        r"none of its 6 rows has a label: write 0 or 1": {"label": ""},
        r"in any of mine, yours. Name their column": {"label": "", "mine": "1", "yours": "0"},
    }
    for message, change in changes.items():
        wrong = write(tmp_path / "a.jsonl", [row | change for row in SAMPLE])
        with pytest.raises(InputError, match=message) as raised:
            joined(log, wrong)
        assert getattr(raised.value, "file", None) == (str(wrong) if "none of" in message else None)


def feedback(log: Log, path: Path, verdicts: list[Line]) -> Labelled:
    return join_feedback(log, read_feedback([str(write(path / "f.jsonl", verdicts))], Lines()))


def test_a_verdict_is_on_the_logs_answer(tmp_path: Path, log: Log, lines: list[Line]) -> None:
    verdicts = [
        verdict(lines[3], right=True, probability=0.0, model="forged"),
        {"id": lines[4]["id"], "right": False, "time": "2025-11-26T12:00:00Z"},
        verdict(lines[5], right=True, label=OTHER[lines[5]["label"]]),
        verdict(lines[6], right=True, id="nobody"),
    ]
    labelled = feedback(log, tmp_path, verdicts)
    assert labelled.rows.tolist() == [3, 4]
    assert labelled.targets.tolist() == [int(ANSWERS.disaster[3]), int(not ANSWERS.disaster[4])]
    assert (labelled.total, labelled.unknown, labelled.contradicting) == (4, 1, 1)


def test_the_last_verdict_on_a_tweet_counts(tmp_path: Path, lines: list[Line]) -> None:
    lines[7] |= {"hash": lines[3]["hash"], "label": lines[3]["label"]}
    log = logged(tmp_path, lines)["v1"]
    early, late = "2025-11-21T00:00:00+00:00", "2025-11-21T01:30:00+01:00"
    first = [verdict(lines[3], right=True, time=late), verdict(lines[3], right=False, time=early)]
    assert feedback(log, tmp_path, first).targets.tolist() == [int(log.disaster[3])]
    again = verdict(lines[7], right=False, time="2025-11-22T00:00:00Z")
    labelled = feedback(log, tmp_path, [*first, again])
    assert (labelled.rows.tolist(), labelled.targets.tolist()) == ([7], [1 - log.disaster[7]])


def test_feedback_among_other_lines(tmp_path: Path, lines: list[Line]) -> None:
    sound = verdict(lines[0], right=True, message="feedback")
    nested = {"timestamp": sound["time"], "jsonPayload": sound | {"id": "other"}}
    broken = [sound | {"time": "2200-01-01T00:00:00Z"}, sound | {"right": "yes"}]
    path = write(tmp_path / "f.jsonl", [{"message": "prediction"}, sound, nested, *broken])
    counts = Lines()
    assert read_feedback([str(path)], counts)["id"].tolist() == [lines[0]["id"], "other"]
    assert (counts.read, counts.others, counts.broken) == (5, 1, 2)
    assert "f.jsonl:4: `time`: Value error, missing, or ahead of the clock" in counts.examples[0]
    with pytest.raises(InputError, match=r"3 of 3 feedback lines cannot be read"):
        read_feedback([str(write(path, [sound | {"right": "?"}] * 3))], Lines())
    assert read_feedback([], Lines()).empty
