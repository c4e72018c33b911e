"""Lines are read whatever surrounds them; a broken one is named and costs no other."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from monitor.logs import Lines
from monitor.window import Log, read
from tests.gcs import Cloud
from tests.monitor.conftest import Line, lines_of, tweets, write

LINES = lines_of(tweets(0, 20), "v1")


def of(places: list[str]) -> tuple[list[Log], Lines]:
    logs, lines = read(places)
    return list(logs.values()), lines


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [line | {"text": f"tweet {i}"} for i, line in enumerate(LINES)]
    (log,), counts = of([str(write(tmp_path / "one.jsonl", lines))])
    assert (len(log), counts.read, counts.broken) == (20, 20, 0)
    assert log.times[1] == np.datetime64("2025-11-20T06:10:00")
    assert log.probabilities == pytest.approx([line["probability"] for line in lines], abs=1e-6)
    assert log.disaster.tolist() == [line["label"] == "disaster" for line in lines]
    assert log.features[3] == pytest.approx(list(lines[3]["features"].values()), abs=1e-6)
    assert sorted(log.texts) == sorted(f"tweet {i}" for i in range(20))
    assert log.rows(["r-7", "r-0", "nobody"]).tolist() == [7, 0, -1]


@pytest.mark.parametrize("line", ["null", "1", '"x"', "[]", "{} null", "nul", "{"])
def test_what_is_no_object_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "one.jsonl", LINES)
    path.write_text(f"{line}\n{path.read_text()}{line}\n")
    (log,), counts = of([str(path)])
    assert (len(log), counts.read, counts.broken) == (20, 22, 2)
    assert counts.named == [f"{path}:1", f"{path}:22"]
    path.write_text(f"{line}\n" * 3)
    with pytest.raises(InputError, match=r"among 3 lines, 3 of them broken \(.*one.jsonl:1\)"):
        read([str(path)])


def test_a_line_from_the_future_hides_no_day(tmp_path: Path) -> None:
    ahead = LINES[0] | {"id": "ahead", "time": "2990-01-01T00:00:00Z"}
    path = write(tmp_path / "one.jsonl", [ahead, *LINES])
    (log,), counts = of([str(path)])
    assert (len(log), counts.named) == (20, [f"{path}:1"])


def test_files_of_all_kinds_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "logs/a.jsonl", LINES[:5])
    with gzip.open(tmp_path / "logs/b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in LINES[5:10])
    # as Cloud Logging exports standard output, with a time of its own
    exported: list[Line] = [
        {
            "timestamp": line["time"].replace("Z", ".123456789Z"),
            "jsonPayload": {"message": "prediction"} | {k: line[k] for k in line if k != "time"},
        }
        for line in LINES[10:15]
    ]
    exported.append({"timestamp": "2025-11-20T06:00:00Z", "jsonPayload": {"message": "ready"}})
    write(tmp_path / "logs/run/2025/c.json", exported)
    (tmp_path / "logs/notes.txt").write_text("not a log")
    (log,), counts = of([str(tmp_path / "logs")])
    assert len(log) == 15
    assert (counts.read, counts.others, counts.broken) == (16, 1, 0)
    assert (log.rows([line["id"] for line in LINES[:15]]) >= 0).all()
    assert log.times.max() == np.datetime64("2025-11-20T08:20:00.123")


def test_a_bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    bucket = cloud.client().create_bucket("logged")
    first, second = (
        "".join(json.dumps(line) + "\n" for line in part) for part in (LINES[:5], LINES[5:10])
    )
    bucket.blob("logs/a.jsonl").upload_from_string(first + "{\n")
    bucket.blob("logs/2026/b.jsonl.gz").upload_from_string(gzip.compress(second.encode()))
    (log,), counts = of(["gs://logged/logs"])
    assert (len(log), counts.named) == (10, ["gs://logged/logs/a.jsonl:6"])
    with pytest.raises(InputError, match="gs://logged/nothing: no such file or bucket"):
        read(["gs://logged/nothing"])


BROKEN = [
    "{",
    "[1, 2]",
    '{"a": 1} {"b": 2}',
    json.dumps(LINES[0] | {"probability": 1.5}),
    json.dumps(LINES[0] | {"probability": "high"}),
    json.dumps(LINES[0] | {"label": "fire"}),
    json.dumps(LINES[0] | {"time": "yesterday"}),
    json.dumps(LINES[0] | {"schema": 2}),
    json.dumps({k: v for k, v in LINES[0].items() if k != "id"}),
    json.dumps(LINES[0])[:-9],
]


def test_a_broken_line_is_counted_and_named(tmp_path: Path) -> None:
    sound = [json.dumps(line) for line in LINES]
    text = "\n".join([sound[0], "", *BROKEN, '{"message": "ready"}', *sound[1:], "\n"])
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    (log,), counts = of([str(path)])
    assert len(log) == len(LINES)
    assert (counts.broken, counts.others) == (len(BROKEN), 1)
    assert counts.named == [f"{path}:{number}" for number in range(3, 8)]


def test_a_line_of_bytes_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [LINES[0], LINES[1] | {"text": "XX"}])
    path.write_bytes(path.read_bytes().replace(b"XX", b"\xff\xfe"))
    (log,), counts = of([str(path)])
    assert (len(log), counts.named) == (1, [f"{path}:2"])


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    other = write(tmp_path / "other.jsonl", [{"message": "ready"}])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"message": "ready"}\n' * 999)[:40])
    (tmp_path / "cut.jsonl.zip").write_bytes(b"PK\3\4 and no more")
    for place, message in {
        "cut.jsonl.zip": "cut.jsonl.zip: cannot be read: ",
        "empty": "empty: the folder has no file",
        "nowhere": "nowhere: no such file or bucket",
        "other.jsonl": r"other.jsonl: no prediction among 1 lines",
        "cut.jsonl.gz": "cut.jsonl.gz: cannot be read: ",
    }.items():
        with pytest.raises(InputError, match=message):
            read([str(tmp_path / place)])
    assert other.exists()
