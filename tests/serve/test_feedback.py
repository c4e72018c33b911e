"""A verdict is kept whole or refused."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serve import feedback
from serve.feedback import FileRecorder, NotRecordedError
from tests.conftest import ROOT
from tests.serve.running import Running

VERDICT = {
    "id": "abc",
    "text": "Flood in the valley",
    "label": "disaster",
    "probability": 0.9,
    "right": False,
    "model": "0123456789ab",
}


def test_verdicts_are_lines_of_json(tmp_path: Path) -> None:
    recorder = FileRecorder(tmp_path / "some" / "feedback.jsonl")
    recorder.record({"text": "one\ntwo"})
    recorder.record({"text": "خبر"})
    lines = recorder.path.read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one\ntwo", "خبر"]
    assert recorder.path.stat().st_mode & 0o077 == 0  # it holds what people wrote


def test_a_full_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "LIMIT", 100)
    recorder = FileRecorder(tmp_path / "feedback.jsonl")
    recorder.record({"text": "x" * 60})
    with pytest.raises(NotRecordedError, match=r"feedback.jsonl is full"):
        recorder.record({"text": "y" * 60})
    assert "y" not in recorder.path.read_text()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text('{"text": "kept"}\n')
    code = f"""
import resource, signal
from pathlib import Path
from serve.feedback import FileRecorder, NotRecordedError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
try:
    FileRecorder(Path({str(path)!r})).record({{"text": "z" * 100}})
except NotRecordedError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{path}: no space left"
    assert path.read_text() == '{"text": "kept"}\n'


def test_what_a_client_sends_is_recorded(server: Running) -> None:
    before = server.metric('feedback_total{verdict="wrong"}')
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT)
    assert answer.status_code == 202
    path = server.log.with_name("feedback.jsonl")
    line = json.loads(path.read_text().splitlines()[-1])
    assert line.pop("time") > "2020"
    assert line == {"message": "feedback"} | VERDICT
    assert server.metric('feedback_total{verdict="wrong"}') == before + 1


@pytest.mark.parametrize(
    "change", [{"label": "fire"}, {"right": "maybe"}, {"text": ""}, {"probability": 2}, {"x": 1}]
)
def test_a_malformed_verdict_is_refused(server: Running, change: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT | change)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == next(iter(change))
