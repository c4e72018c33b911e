"""Each answer has its line, or is counted as dropped; no request waits for it."""

import json
import threading
from pathlib import Path

import pytest

from locked.answer import Answer
from serve import logs, metrics, prediction_log
from serve.logs import FullError
from serve.prediction_log import Entry, Folder, PredictionLog
from serve.settings import Settings
from serve.worker import Prediction
from tests.conftest import HANG
from tests.serve.here import Serve
from tests.serve.running import logged

KEY = "a-key-of-sixteen-characters"


def made(folder: object, **settings: object) -> PredictionLog:
    options = Settings.model_construct(prediction_log=str(folder), **settings)  # type: ignore[arg-type]
    return PredictionLog(options)


def note(log: PredictionLog, count: int) -> None:
    prediction = Prediction("disaster", 0.9, {})
    log.note(Entry(f"id-{n}", 0.0, "Flood", "v1", prediction, 0.002) for n in range(count))


def dropped(reason: str) -> float:
    return float(metrics.LOG_DROPPED.labels(reason)._value.get())


def test_each_answer_has_a_line(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve(PREDICTION_LOG=str(log), PREDICTION_LOG_KEY=KEY) as server:
        one = server.predict({"text": "FLOOD in the @valley"})
        many = server.predict({"instances": ["Flood in the valley", "cake"]})["predictions"]
        other = server.predict({"text": "cake"})
        server.post("/explain", {"text": "Flood"})
    lines = logged(log)
    answers = [one, *many, other]
    for field in ("id", "probability", "label"):
        assert [line[field] for line in lines] == [a[field] for a in answers]
    assert len({line["id"] for line in lines}) == 4
    assert {line["model"] for line in lines} == {one["model"]}
    assert {*lines[0]} == {"message", *Answer._fields} - {"text"}
    assert lines[0]["features"]["mention"] == 1
    assert 0 <= lines[0]["features"]["unknown"] < 1
    assert lines[0]["hash"] != lines[1]["hash"]
    assert lines[2]["hash"] == lines[3]["hash"]
    assert lines[0]["time"] > "2026"
    assert 0 < lines[0]["ms"] < 60_000
    assert KEY not in json.dumps(lines)


def test_standard_output_takes_lines_whatever_the_level(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"PREDICTION_LOG": "stdout", "LOG_TEXT": "1", "LOG_LEVEL": "error"}
    with serve(FEEDBACK_FILE="stdout", **settings) as server:
        answer = server.predict({"text": "Flood"})
        verdict = {"text": "Flood", "right": False, **answer}
        assert server.post("/feedback", verdict).status_code == 202
    (line,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert (line["message"], line["id"], line["text"]) == ("prediction", answer["id"], "Flood")
    (line,) = map(json.loads, server.output().splitlines())
    assert (line["message"], line["id"]) == ("feedback", answer["id"])
    assert "text" not in line


def test_the_id_decides_who_is_logged(tmp_path: Path) -> None:
    logs_of_two = []
    for part in ("a", "b"):
        log = made(tmp_path / part, prediction_log_rate=0.25, log_text=0.5)
        note(log, 2000)
        log.close()
        logs_of_two.append(logged(tmp_path / part))
    lines, others = logs_of_two
    assert [line["id"] for line in lines] == [line["id"] for line in others]
    assert len(lines) / 2000 == pytest.approx(0.25, abs=0.05)
    assert sum("text" in line for line in lines) / len(lines) == pytest.approx(0.5, abs=0.1)
    assert lines[0]["rate"] == 0.25


def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(logs, "QUEUE_SIZE", 10)
    log, go, folder = made(tmp_path), threading.Event(), Folder(tmp_path)
    log.writer.write = lambda lines: folder.write(lines) if go.wait(HANG) else None
    before = dropped("queue")
    note(log, 500)  # none of which blocks
    go.set()
    log.close()
    lost = dropped("queue") - before
    assert lost > 0
    assert len(logged(tmp_path)) + lost == 500


def test_dropped_lines_have_one_warning_a_minute_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    for place, reason, size in (("file/log", "disk", 1000), ("log", "full", 0)):
        monkeypatch.setattr(prediction_log, "FOLDER_SIZE", size)
        log, before = made(tmp_path / place), dropped(reason)
        for _ in range(5):
            note(log, 1)
            log.writer.close(HANG)
        log.close()
        assert dropped(reason) - before == 5
    assert {record.getMessage() for record in caplog.records} == {prediction_log.DROPPED}
    fields = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [field["dropped"] for field in fields] == [1, 4, 1, 4]
    assert "Not a directory" in fields[0]["reason"]
    assert "has reached 0 bytes" in fields[2]["reason"]


def test_files_are_rotated_and_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prediction_log, "FILE_SIZE", 30)
    monkeypatch.setattr(prediction_log, "FOLDER_SIZE", 100)
    folder = Folder(tmp_path)
    for number in range(12):
        folder.write(b'{"id": %d}\n' % number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    with pytest.raises(FullError):
        folder.write(b'{"id": 12}\n')
    for file in files[:2]:  # they are collected
        file.unlink()
    folder.write(b'{"id": 13}\n')
    (last := max(tmp_path.iterdir())).rename(tmp_path / "collected")
    folder.write(b'{"id": 14}\n')
    assert not last.exists()  # a name is never used again
    monkeypatch.setattr(prediction_log, "FILE_AGE", 0)
    folder.write(b'{"id": 15}\n')
    contents = [file.read_text() for file in sorted(tmp_path.iterdir())]
    assert contents[0] == '{"id": 13}\n'  # of the collected one
    assert contents[-2:] == ['{"id": 14}\n', '{"id": 15}\n']
