"""Each answer has its line, or is counted as dropped; no request waits for it."""

import json
import threading
from pathlib import Path

import httpx
import pytest

from locked.answer import Answer
from locked.classifier import Classifier
from serve import logs, metrics, prediction_log
from serve.logs import FullError
from serve.prediction_log import Entry, Folder, PredictionLog
from serve.settings import Settings
from serve.worker import Prediction
from tests.conftest import HANG
from tests.serve.here import Here, here
from tests.serve.running import logged

KEY = "a-key-of-sixteen-characters"


def entry(name: str) -> Entry:
    return Entry(name, 0.0, "Flood", "v1", Prediction("disaster", 0.9, {}), 0.002)


def made(folder: object, **settings: object) -> PredictionLog:
    options = Settings.model_construct(prediction_log=str(folder), **settings)  # type: ignore[arg-type]
    return PredictionLog(options)


def dropped(reason: str) -> float:
    return float(metrics.LOG_DROPPED.labels(reason)._value.get())


def test_each_answer_has_a_line(classifier: Classifier, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with here(classifier, tmp_path, PREDICTION_LOG=str(log), PREDICTION_LOG_KEY=KEY) as server:
        headers = {"X-Request-ID": "one-for-all"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=HANG) as client:
            one = client.post("/predict", json={"text": "FLOOD in the @valley"}).json()
            many = {"instances": ["Flood in the valley", {"txt": "x"}, "cake"]}
            answer = client.post("/predict", json=many | {"parameters": {"partial": True}}).json()
            linked = client.get("/predict", params={"text": "cake"}).json()
            client.post("/explain", json={"text": "Flood"})
    lines = logged(log)
    answers = [one, *(p for p in answer["predictions"] if "label" in p), linked]
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
    classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"PREDICTION_LOG": "stdout", "LOG_TEXT": "1", "LOG_LEVEL": "error"}
    with here(classifier, tmp_path, FEEDBACK_FILE="stdout", **settings) as server:
        answer = httpx.post(f"{server.url}/predict", json={"text": "Flood"}).json()
        verdict = {"text": "Flood", "right": False, **answer}
        assert httpx.post(f"{server.url}/feedback", json=verdict).status_code == 202
    (line,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert (line["message"], line["id"], line["text"]) == ("prediction", answer["id"], "Flood")
    (line,) = map(json.loads, server.output().splitlines())
    assert (line["message"], line["id"]) == ("feedback", answer["id"])
    assert "text" not in line


def test_nothing_is_written_unless_asked(server: Here) -> None:
    before = server.metric("prediction_log_lines_total")
    httpx.post(f"{server.url}/predict", json={"text": "Flood"})
    assert server.metric("prediction_log_lines_total") == before


def test_the_id_decides_who_is_logged(tmp_path: Path) -> None:
    names = [f"id-{number}" for number in range(2000)]
    chosen = []
    for part in ("a", "b"):
        log = made(tmp_path / part, prediction_log_rate=0.25, log_text=0.5)
        log.note([entry(name) for name in names])
        log.close()
        chosen.append(logged(tmp_path / part))
    assert [line["id"] for line in chosen[0]] == [line["id"] for line in chosen[1]]
    assert len(chosen[0]) / 2000 == pytest.approx(0.25, abs=0.05)
    with_text = [line for line in chosen[0] if "text" in line]
    assert len(with_text) / len(chosen[0]) == pytest.approx(0.5, abs=0.1)
    assert chosen[0][0]["rate"] == 0.25


def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(logs, "QUEUE_SIZE", 10)
    log, go = made(tmp_path), threading.Event()
    real = Folder(tmp_path)

    def slow(content: bytes) -> None:
        go.wait(HANG)
        real.write(content)

    log.writer.write = slow
    before = dropped("queue")
    log.note([entry(f"{number}") for number in range(500)])  # none of which blocks
    go.set()
    log.close()
    lost = dropped("queue") - before
    assert lost > 0
    assert len(logged(tmp_path)) + lost == 500


@pytest.mark.parametrize(
    ("place", "reason", "problem"),
    [("log", "full", "has reached 0 bytes"), ("file/log", "disk", "Not a directory")],
)
def test_dropped_lines_have_one_warning_a_minute_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
    reason: str,
    problem: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(prediction_log, "FOLDER_SIZE", 0 if reason == "full" else 1000)
    log, before = made(tmp_path / place), dropped(reason)
    for number in range(5):
        log.note([entry(f"{number}")])
        log.writer.close(HANG)
    log.close()
    assert dropped(reason) - before == 5
    assert {record.getMessage() for record in caplog.records} == {"prediction log lines dropped"}
    fields = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert [field["dropped"] for field in fields] == [1, 4]
    assert problem in fields[0]["reason"]


def test_files_are_rotated_and_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prediction_log, "FILE_SIZE", 30)
    monkeypatch.setattr(prediction_log, "FOLDER_SIZE", 100)
    folder = Folder(tmp_path)
    for number in range(12):
        folder.write(b'{"id": %d}\n' % number)
    assert len(list(tmp_path.glob("*.jsonl"))) == 4
    with pytest.raises(FullError):
        folder.write(b'{"id": 12}\n')
    for file in sorted(tmp_path.glob("*.jsonl"))[:2]:  # they are collected
        file.unlink()
    folder.write(b'{"id": 13}\n')
    assert logged(tmp_path)[-1]["id"] == 13
    (last := max(tmp_path.glob("*.jsonl"))).rename(tmp_path / "collected")
    folder.write(b'{"id": 14}\n')
    assert not last.exists()  # a name is never used again
    assert logged(tmp_path)[-1]["id"] == 14
    monkeypatch.setattr(prediction_log, "FILE_AGE", 0)
    names = {*tmp_path.iterdir()}
    folder.write(b'{"id": 15}\n')
    assert len({*tmp_path.iterdir()} - names) == 1
