"""A verdict is kept whole or refused."""

import json
from pathlib import Path

import httpx
import pytest

from serve import feedback, logs
from serve.feedback import NotRecordedError, Recorder
from tests.conftest import no_file_beyond
from tests.serve.here import Here

VERDICT = {"id": "abc", "right": False}


def test_verdicts_are_lines_of_json(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "some" / "feedback.jsonl"))
    recorder.record({"text": "one\ntwo"})
    recorder.record({"text": "خبر"})
    lines = Path(recorder.place).read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one\ntwo", "خبر"]
    assert Path(recorder.place).stat().st_mode & 0o077 == 0  # it holds what people wrote


def test_a_full_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "LIMIT", 100)
    recorder = Recorder(str(tmp_path / "feedback.jsonl"))
    recorder.record({"text": "x" * 60})
    with pytest.raises(NotRecordedError, match=r"feedback.jsonl is full"):
        recorder.record({"text": "y" * 60})
    assert "y" not in Path(recorder.place).read_text()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text('{"text": "kept"}\n')
    with no_file_beyond(40), pytest.raises(NotRecordedError, match=f"^{path}: no space left"):
        Recorder(str(path)).record({"text": "z" * 100})
    assert path.read_text() == '{"text": "kept"}\n'


def test_a_verdict_is_kept_without_the_tweet(server: Here) -> None:
    before = server.metric('feedback_total{verdict="wrong"}')
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT | {"text": "private"})
    assert answer.status_code == 202
    line = json.loads(server.feedback.read_text().splitlines()[-1])
    assert line.pop("time") > "2020"
    assert line == {"message": "feedback"} | VERDICT
    assert server.metric('feedback_total{verdict="wrong"}') == before + 1


@pytest.mark.parametrize("change", [{"id": ""}, {"right": "maybe"}, {"id": "x" * 65}, {"id": 5}])
def test_a_malformed_verdict_is_refused(server: Here, change: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}/feedback", json=VERDICT | change)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == next(iter(change))


def test_standard_output_that_nobody_reads_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.stdout, "put", lambda _: False)
    with pytest.raises(NotRecordedError, match="standard output"):
        Recorder("stdout").record(VERDICT)
