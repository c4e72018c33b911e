"""Predictions are read whatever a collector has put around them; a broken line costs no other."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from common.errors import InputError
from locked.answer import Answer
from locked.features import FEATURES
from monitor.log import Log, read
from monitor.records import Lines, Prediction
from tests.monitor.conftest import Line, lines_of, tweets, write

LINES = [line | {"message": "prediction"} for line in lines_of(tweets(0, 20), "v1")]
SOUND = [json.dumps(line) for line in LINES]
TIME, MICROS = "2025-11-20T06:00:00.5Z", "1763618400500000"


def of(*places: object) -> tuple[Log, Lines]:
    return read([str(place) for place in places], "v1")


def without(line: Line, *names: str) -> Line:
    return {name: value for name, value in line.items() if name not in names}


def each(around: Callable[[Line], object]) -> str:
    """Return a line for each prediction, with something around it."""
    wrapped = (around(line) for line in LINES)
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in wrapped)


COLLECTED: dict[str, str] = {
    "gcloud logging read": json.dumps([{"jsonPayload": line} for line in LINES], indent=2),
    "a sink, with the time outside": each(
        lambda line: {"jsonPayload": without(line, "time") | {"schema": 1.0}, "timestamp": TIME}
    ),
    "docker json-file": each(lambda line: {"log": json.dumps(line) + "\n", "stream": "stdout"}),
    "journald, with the time outside": each(
        lambda line: {"MESSAGE": json.dumps(line | {"time": ""}), "__REALTIME_TIMESTAMP": MICROS}
    ),
    "CRI": each(lambda line: f"2025-11-20T06:00:00.123Z stdout F {json.dumps(line)}"),
    "kubectl": each(lambda line: f"[pod/disaster-1/server] {json.dumps(line)}"),
    "syslog": each(lambda line: f"<134>Nov 20 06:00:00 host {{app}}[7]: {json.dumps(line)}"),
    "aws logs filter-log-events": json.dumps(
        {"events": [{"timestamp": 1763618400500, "message": one} for one in SOUND]}, indent=4
    ),
    "Fluent Bit": each(lambda line: {"date": 1763618400.5} | without(line, "time")),
    "Filebeat": each(lambda line: {"@timestamp": TIME, "json": without(line, "time")}),
    "Loki's API": json.dumps({"data": {"result": [{"values": [["17636", one] for one in SOUND]}]}}),
    "logfmt": each(lambda line: f"level=info msg={json.dumps(json.dumps(line))}"),
    "numbers as strings": each(lambda x: x | {"schema": "1", "probability": str(x["probability"])}),
    "a BOM first": "\ufeff" + "\n".join(SOUND),
}


@pytest.mark.parametrize("collector", COLLECTED)
def test_a_collectors_log(tmp_path: Path, collector: str) -> None:
    path = tmp_path / "a.log"
    path.write_text(COLLECTED[collector])
    log, counts = of(path)
    assert (len(log), counts.broken, counts.others) == (20, 0, 0)
    assert log.find_ids([line["id"] for line in LINES]).tolist() == [*range(20)]
    probabilities = log.table["probability"].tolist()
    assert probabilities == pytest.approx([line["probability"] for line in LINES], abs=1e-6)
    assert str(log.table["time"][0]).startswith("2025-11-20 06:00:00")
    assert log.table[[*FEATURES]].notna().all(axis=None)


@pytest.mark.parametrize("place", ["", "memory:///logged"])
def test_files_of_all_kinds_in_a_folder(tmp_path: Path, place: str) -> None:
    write(tmp_path / "logs/a.jsonl", [*LINES[:5], {"probability": "schema"}])
    with gzip.open(tmp_path / "logs/b.jsonl.gz", "wt") as packed:
        packed.writelines(one + "\n" for one in SOUND[5:10])
    write(tmp_path / "logs/run/2025/c.log.1", [*LINES[10:15], {"message": "ready"}])
    (tmp_path / "logs/notes.txt").write_text("not a log")
    if place:
        fsspec.filesystem("memory").put(f"{tmp_path}/", "/logged/", recursive=True)
    place = place or str(tmp_path)
    log, counts = of(f"{place}/logs")
    assert (len(log), counts.read, counts.others, counts.broken) == (15, 17, 1, 1)
    assert counts.examples[0].startswith(f"{place}/logs/a.jsonl:6: `schema`: Field required")
    with pytest.raises(InputError, match=f"{place}/nothing: no such file or bucket"):
        of(f"{place}/nothing")


BROKEN = {
    SOUND[0][:-9]: "Invalid JSON",
    f"server-1 | {SOUND[0][:-9]}": "Invalid JSON",
    json.dumps(LINES[0] | {"probability": 1.5}): "`probability`: Input should be less",
    json.dumps({"jsonPayload": without(LINES[0], "time")}): "`time`: Field required",
    json.dumps(LINES[0] | {"time": "yesterday"}): "`time`: ",
    json.dumps(LINES[0] | {"time": "2200-01-01T00:00:00Z"}): "ahead of the clock",
    json.dumps(LINES[0] | {"schema": 2}): "`schema`",
}


@pytest.mark.parametrize(("line", "reason"), BROKEN.items())
def test_a_broken_line_is_named_with_the_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    text = "\n".join([SOUND[0], "", line, '{"message": "ready"}', "null", "Traceback", *SOUND[1:]])
    path.write_text(text)
    log, counts = of(path)
    assert (len(log), counts.broken, counts.others) == (20, 1, 3)
    assert counts.examples[0].startswith(f"{path}:3: ")
    assert reason in counts.examples[0]


def test_a_log_of_which_most_is_broken_is_an_error(tmp_path: Path) -> None:
    assert set(Prediction.__annotations__) < set(Answer._fields)
    path = write(tmp_path / "a.log", [*LINES[:9], *[without(line, "time") for line in LINES[9:]]])
    with pytest.raises(InputError, match=r"11 of 20 prediction .*a.log:10: `time`: .*keep_time"):
        of(path)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for name, content, message in (
        ("cut.jsonl.zip", b"PK\3\4 and no more", "cut.jsonl.zip: "),
        ("other.jsonl", b'{"message": "ready"}', "other.jsonl: no prediction among 1 lines"),
        ("folder/notes.txt", b"", r"folder/.*: no such file"),
        ("array.json", b'[{"message": "ready"},', "array.json: Expecting value"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            of(tmp_path / name.partition("/")[0])
