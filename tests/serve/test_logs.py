"""Log lines are JSON in Cloud Logging's fields, and hold no text of a user."""

import errno
import json
import logging
import os
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from serve import logs
from serve.logs import FullError, append
from tests.conftest import no_file_beyond
from tests.serve.here import Here
from tests.serve.running import wait_until


def lines_of(server: Here, name: str, count: int) -> list[Any]:
    """Return the log lines of a request id, once there are so many."""
    assert wait_until(lambda: server.output().count(name) >= count)
    return [json.loads(line) for line in server.output().splitlines() if name in line]


def test_an_error_has_its_stack_in_one_line() -> None:
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "", 0, "it %s", ("broke",), sys.exc_info())
    line = logs.format_line(record).decode()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert (fields["severity"], fields["message"]) == ("ERROR", "it broke")
    assert "ValueError" in fields["stack_trace"]


def test_a_request_is_one_line_without_its_text(server: Here) -> None:
    headers = {"X-Request-ID": "my-id.1"}
    body = {"text": "a secret flood of words"}
    answer = server.post("/predict", body, params={"q": "flood"}, headers=headers)
    assert answer.headers["X-Request-ID"] == "my-id.1"
    again = server.post("/predict", body, headers=headers)
    ids = {answer.json()["id"], again.json()["id"]}  # though a proxy hands one request id on
    assert len(ids - {"my-id.1"}) == 2
    line, _ = lines_of(server, "my-id.1", 2)
    assert line["severity"] == "INFO"
    request = line["httpRequest"]
    assert float(request.pop("latency").removesuffix("s")) > 0
    assert [*request.values()] == ["POST", "/predict", 200]
    assert "flood" not in server.output()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"txt": "a private flood"}, "missing"),
        ({"instances": [{"text": ""}]}, "string_pattern_mismatch"),
        ({"text": "x" * 5_000_000}, "the body has more than 4194304 bytes"),
    ],
)
def test_a_refusal_says_why(server: Here, body: dict[str, object], reason: str) -> None:
    name = f"refused-{len(reason)}"
    server.post("/predict", body, headers={"X-Request-ID": name})
    (line,) = lines_of(server, name, 1)
    assert line["reason"] == reason
    assert "private" not in server.output()


def test_odd_request_ids_and_unknown_paths_are_not_repeated(server: Here) -> None:
    for name in ("", "x" * 65, "a b", 'a"b'):
        answer = server.get("/my-private-path", headers={"X-Request-ID": name})
        assert (answer.status_code, len(answer.headers["X-Request-ID"])) == (404, 32)
    assert "my-private-path" not in server.output() + server.get("/metrics").text


def test_a_full_pipe_loses_no_line_and_holds_no_file_up(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    is_full = [True, False, True, False]  # a pipe that another process has made non-blocking

    def write(_: int, lines: bytes) -> int:
        assert not logs._file_lock.locked()
        if is_full.pop():
            raise BlockingIOError
        written.append(bytes(lines[:3]))
        return len(written[-1])

    with monkeypatch.context() as pipe:
        pipe.setattr(os, "write", write)
        pipe.setattr(select, "select", lambda *_: None)
        logs.write_stdout(b"1\n2\n")
    assert written == [b"1\n2", b"\n"]


def test_lines_are_appended_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "lines"
    append(file, b"1\n", 40)
    assert file.stat().st_mode & 0o077 == 0  # it may hold what people wrote
    with pytest.raises(FullError, match="lines has reached 40 bytes"):
        append(file, b"x" * 39, 40)
    with no_file_beyond(20), pytest.raises(OSError, match=f"no space left: '{file}'"):
        append(file, b"z" * 38, 40)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", fail)
        with pytest.raises(OSError, match="No space"):
            append(file, b"2\n", 40)
    append(file, b"3\n", 40)
    assert file.read_bytes() == b"1\n3\n"
