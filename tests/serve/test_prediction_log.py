"""Each answer has its line, or is counted as dropped; no request waits for it."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from locked.manifest import MANIFEST
from locked.reference import REFERENCE
from serve import log_output, metrics, prediction_log
from serve.log_output import Folder
from serve.prediction_log import PredictionLog, Said
from serve.settings import Settings
from tests.conftest import HANG, Project
from tests.serve.running import Running, ends, load, logged, serving, wait_until

KEY = "a-key-of-sixteen-characters"


def ask(server: Running, text: str = "Flood in the valley", **headers: str) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/predict", json={"text": text}, headers=headers, timeout=HANG)
    assert answer.status_code == 200
    return dict(answer.json())


def said(name: str, text: str = "Flood") -> Said:
    return Said(name, 0.0, text, "v1", "disaster", 0.9, 0.002)


def made(folder: object, **settings: object) -> PredictionLog:
    options = Settings.model_construct(prediction_log=str(folder), **settings)  # type: ignore[arg-type]
    return PredictionLog(options, Path("nowhere"))


def dropped(reason: str) -> float:
    return float(metrics.LOG_DROPPED.labels(reason)._value.get())


def test_each_answer_has_a_line(pipeline: Project, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"PREDICTION_LOG": str(log), "PREDICTION_LOG_KEY": KEY}
    with serving(pipeline, tmp_path, **settings) as server:
        one = ask(server, "FLOOD in the @valley")
        many = {"instances": ["Flood in the valley", {"txt": "x"}, "cake"]}
        answer = httpx.post(
            f"{server.url}/predict", json=many | {"parameters": {"partial": True}}
        ).json()
        linked = httpx.get(f"{server.url}/predict", params={"text": "cake"}).json()
        httpx.post(f"{server.url}/explain", json={"text": "Flood"})
        server.stop()
    found = logged(log)
    told = [one, *(p for p in answer["predictions"] if "label" in p), linked]
    assert [line["id"] for line in found] == [a["id"] for a in told]
    assert [line["probability"] for line in found] == [a["probability"] for a in told]
    assert [line["label"] for line in found] == [a["label"] for a in told]
    assert {line["model"] for line in found} == {one["model"]}
    assert found[0]["features"]["mention"] == 1
    assert 0 <= found[0]["features"]["unknown"] < 1
    assert found[0]["hash"] != found[1]["hash"]
    assert found[2]["hash"] == found[3]["hash"]
    assert found[0]["time"] > "2026"
    assert 0 < found[0]["ms"] < 60_000
    assert not any("text" in line for line in found)
    assert KEY not in json.dumps(found)


def test_standard_output_takes_lines_whatever_the_level(pipeline: Project, tmp_path: Path) -> None:
    settings = {"PREDICTION_LOG": "stdout", "LOG_TEXT": "1", "LOG_LEVEL": "error"}
    with serving(pipeline, tmp_path, FEEDBACK_FILE="stdout", **settings) as server:
        answer = ask(server)
        verdict = {"text": "Flood", "right": False, **answer}
        assert httpx.post(f"{server.url}/feedback", json=verdict).status_code == 202
        output = server.stop()
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    texts = [line["text"] for line in found if line.get("message") == "prediction"]
    assert texts == ["Flood in the valley"]
    judged = [line["id"] for line in found if line.get("message") == "feedback"]
    assert judged == [answer["id"]]


def test_nothing_is_written_unless_asked(server: Running) -> None:
    ask(server)
    assert server.metric("prediction_log_lines_total") == 0


def test_the_id_decides_who_is_logged(tmp_path: Path) -> None:
    names = [f"id-{number}" for number in range(2000)]
    chosen = []
    for part in ("a", "b"):
        log = made(tmp_path / part, prediction_log_rate=0.25, log_text=0.5)
        log.start()
        log.note([said(name) for name in names])
        log.close()
        chosen.append(logged(tmp_path / part))
    assert [line["id"] for line in chosen[0]] == [line["id"] for line in chosen[1]]
    assert len(chosen[0]) / 2000 == pytest.approx(0.25, abs=0.05)
    with_text = [line for line in chosen[0] if "text" in line]
    assert len(with_text) / len(chosen[0]) == pytest.approx(0.5, abs=0.1)
    assert chosen[0][0]["rate"] == 0.25


def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prediction_log, "WAITING", 10)
    log, go = made(tmp_path), threading.Event()
    real = Folder(tmp_path)

    class Slow:
        def write(self, content: bytes) -> None:
            go.wait(HANG)
            real.write(content)

    log.output = Slow()
    log.start()
    before = dropped("queue")
    log.note([said(f"{number}") for number in range(500)])  # none of which blocks
    go.set()
    log.close()
    lost = dropped("queue") - before
    assert lost > 0
    assert len(logged(tmp_path)) + lost == 500


def test_dropped_lines_are_said_at_times(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_output, "FOLDER_SIZE", 0)
    monkeypatch.setattr(prediction_log, "TOGETHER", 1)
    log = made(tmp_path)
    log.note([said(f"{number}") for number in range(5)])
    log.start()
    log.close()
    found = [record for record in caplog.records if "dropped" in record.getMessage()]
    assert {record.getMessage() for record in found} == {"prediction log lines dropped"}
    assert [record.fields["dropped"] for record in found] == [1, 4]  # type: ignore[attr-defined]


def test_a_file_in_the_folders_place_is_named(pipeline: Project, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    code, said = ends(pipeline, tmp_path, PREDICTION_LOG=str(tmp_path / "log"))
    assert code == 1
    assert "error: PREDICTION_LOG: " in said
    assert "this is a file; name a folder" in said


def test_the_vocabularies_of_models_out_of_use_are_dropped(
    pipeline: Project, tmp_path: Path
) -> None:
    log = made(tmp_path / "log")
    log.models = tmp_path
    for version in ("v1", "v2", "v3", "v1"):
        if not (tmp_path / version).exists():
            (tmp_path / version).symlink_to(pipeline.folder / "models/classifier")
        line = json.loads(log._line(said("a")._replace(model=version)))
        assert line["features"]["unknown"] is not None
    assert list(log.vocabularies) == ["v3", "v1"]


def test_a_model_older_than_monitoring_is_served(classifier_folder: Path, tmp_path: Path) -> None:
    (classifier_folder / REFERENCE).unlink()
    manifest = json.loads((classifier_folder / MANIFEST).read_text())
    del manifest["files"][REFERENCE]
    (classifier_folder / MANIFEST).write_text(json.dumps(manifest))
    project, log = Project(tmp_path, tmp_path), tmp_path / "log"
    settings = {"MODEL_URI": str(classifier_folder), "PREDICTION_LOG": str(log)}
    with serving(project, tmp_path, **settings) as server:
        answer = ask(server)
        server.stop()
    (line,) = logged(log)
    assert line["id"] == answer["id"]
    assert line["features"]["unknown"] is None
    assert line["features"]["words"] == 4


def test_a_kill_tears_no_line_and_the_next_process_begins_a_file(
    pipeline: Project, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        with serving(pipeline, tmp_path / str(number), PREDICTION_LOG=str(log)) as server:
            with load(lambda s=server: ask(s), 2):  # type: ignore[misc]
                assert wait_until(lambda n=number: len(list(log.glob("*"))) == n)  # type: ignore[misc]
                assert wait_until(lambda s=server: s.metric("prediction_log_lines_total") > 20)  # type: ignore[misc]
            os.kill(server.http_process(), signal.SIGKILL)
            server.process.wait(timeout=HANG)
    found = logged(log)
    assert len(found) == len({line["id"] for line in found}) > 40


def test_a_folder_that_cannot_be_written_hurts_no_request(
    pipeline: Project, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with serving(pipeline, tmp_path, PREDICTION_LOG=str(tmp_path / "file/log")) as server:
        ask(server)
        assert wait_until(lambda: server.metric('prediction_log_dropped_total{reason="disk"}') == 1)
        ask(server)
