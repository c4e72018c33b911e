"""Labels find their answers in whatever a tool exports."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.errors import InputError
from monitor.labels import Reviewed, read_reviewed
from monitor.log import Log, read
from tests.monitor.conftest import lines_of, tweets, write

ANSWERS = tweets(0, 50)
TEXTS = [f"=Fire {i}, a \u201cbridge\u201d & more" for i in range(50)]
IDS = [f"6aaec993b4f343508b69c8e9-{i}" for i in range(50)]
TRUTH = [1, 0, 0, 1, 1, 0]  # of the first tweets


@pytest.fixture
def log(tmp_path: Path) -> Log:
    pairs = zip(lines_of(ANSWERS, "v1", texts=TEXTS), IDS, strict=True)
    lines = [line | {"id": name} for line, name in pairs]
    lines[7]["hash"] = lines[5]["hash"]
    return read([str(write(tmp_path / "logs/a.jsonl", lines))], "v1")[0]


def joined(log: Log, *paths: Path) -> Reviewed:
    return read_reviewed([str(path) for path in paths], log)


SAMPLE = [
    {"id": IDS[i], "text": f"'{TEXTS[i]}", "label": str(target)}
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
    "LibreOffice, German": as_csv(SAMPLE, ";"),
    "Google Sheets, check boxes": as_csv(
        changed(lambda _, label: {"label": ["FALSE", "TRUE"][int(label)]})
    ),
    "Prodigy, binary": json.dumps(
        changed(lambda _, label: {"answer": ["reject", "accept"][int(label)], "label": "1"})
    ),
    "Prodigy, choice": json.dumps(
        [{"text": x["text"], "answer": "accept"} | choice(x) for x in SAMPLE]
    ),
    "Label Studio, JSON": json.dumps([studio(i, row) for i, row in enumerate(SAMPLE)]),
    "Label Studio, CSV, another name": as_csv(
        changed(lambda i, label: {"id": i, "annotator": 1, "label": "", "sentiment": label})
    ),
    "JSON in a cell": as_csv(changed(lambda _, label: {"label": f'[{{"value": {label}}}]'})),
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
    assert len(joined(log).rows) == 0


def test_two_labels_of_a_tweet_agree_or_are_named(tmp_path: Path, log: Log) -> None:
    repeated = {"id": IDS[7], "label": TRUTH[5]}  # another answer to the same tweet
    first = write(tmp_path / "a.jsonl", SAMPLE)
    again = write(tmp_path / "b.jsonl", [*SAMPLE[2:4], repeated])
    labelled = joined(log, first, again)
    assert (labelled.targets.tolist(), labelled.total) == (TRUTH, 9)
    again = write(tmp_path / "b.jsonl", [SAMPLE[0], SAMPLE[2] | {"label": "1"}])
    with pytest.raises(InputError, match=r"differ: \S*a.jsonl row 3 and \S*b.jsonl row 2\. Keep"):
        joined(log, first, again)


def test_what_is_wrong_with_labels(tmp_path: Path, log: Log) -> None:
    changes: dict[str, dict[str, Any]] = {
        r"data row 1: label must be one of 0, 1, .*'1, 0'": {"label": ["1", "0"]},
        r"no row has a label: write 0 or 1": {"label": "maybe"},
        r"in any of mine, yours. Name their column": {"label": "", "mine": "1", "yours": "0"},
    }
    for message, change in changes.items():
        wrong = write(tmp_path / "a.jsonl", [row | change for row in SAMPLE])
        with pytest.raises(InputError, match=message):
            joined(log, wrong)


def test_labels_of_other_days_are_left_out(
    tmp_path: Path, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(tmp_path / "old.jsonl", changed(lambda *_: {"id": "?", "text": "another"}))
    labelled = joined(log, old, write(tmp_path / "a.jsonl", SAMPLE))
    assert (len(labelled.rows), labelled.total, labelled.unknown) == (6, 6, 0)
    assert "old.jsonl: left out, because none of its 6 labels matches" in capsys.readouterr().err
