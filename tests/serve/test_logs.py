"""Log lines are JSON in Cloud Logging's fields, and hold no text of a user."""

import errno
import json
import logging
import os
import sys
import threading
from pathlib import Path

import httpx
import pytest

from serve import logs
from serve.logs import FullError, append, trace_fields
from tests.conftest import no_file_beyond
from tests.serve.here import Here
from tests.serve.running import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PATIENCE = 30  # seconds for what takes a millisecond


@pytest.mark.parametrize(
    ("traceparent", "project", "trace", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", "p", f"projects/p/traces/{TRACE}", True),
        (f"00-{TRACE}-{SPAN}-00", None, TRACE, False),
    ],
)
def test_a_line_belongs_to_its_trace(
    traceparent: str, project: str | None, trace: str, is_sampled: bool
) -> None:
    fields = trace_fields(traceparent, project)
    assert fields["logging.googleapis.com/trace"] == trace
    assert fields["logging.googleapis.com/trace_sampled"] == is_sampled
    assert fields["logging.googleapis.com/spanId"] == SPAN
    assert trace_fields(f"x{traceparent}", project) == {}


def test_an_error_has_its_stack_in_one_line() -> None:
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "", 0, "it %s", ("broke",), None)
        record.exc_info = sys.exc_info()
    line = logs.line(record).decode()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert (fields["severity"], fields["message"]) == ("ERROR", "it broke")
    assert "ValueError" in fields["stack_trace"]


def test_a_request_is_one_line_without_its_text(server: Here) -> None:
    headers = {"X-Request-ID": "my-id.1", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    body = {"text": "a secret flood of words"}
    answer = httpx.post(f"{server.url}/predict", params={"q": "flood"}, json=body, headers=headers)
    assert answer.headers["X-Request-ID"] == "my-id.1"
    again = httpx.post(f"{server.url}/predict", json=body, headers=headers)
    ids = {answer.json()["id"], again.json()["id"]}  # though a proxy hands one request id on
    assert len(ids - {"my-id.1"}) == 2
    assert wait_until(lambda: server.output().count("my-id.1") == 2)
    lines = [line for line in server.output().splitlines() if "my-id.1" in line]
    assert len(lines) == 2
    line = json.loads(lines[0])
    assert line["severity"] == "INFO"
    assert line["logging.googleapis.com/trace"] == TRACE
    request = line["httpRequest"]
    assert (request["requestMethod"], request["requestUrl"]) == ("POST", "/predict")
    assert request["status"] == 200
    assert int(request["responseSize"]) == len(answer.content)
    assert float(request["latency"].removesuffix("s")) > 0
    assert "flood" not in server.output()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"txt": "a private flood"}, "missing"),
        ({"instances": [{"text": ""}]}, "string_pattern_mismatch"),
        ({"text": "x" * 17_000_000}, "the body is over 16777216 bytes"),
    ],
)
def test_a_refusal_says_why(server: Here, body: dict[str, object], reason: str) -> None:
    name = f"refused-{reason[:7].replace(' ', '-')}"
    httpx.post(f"{server.url}/predict", json=body, headers={"X-Request-ID": name})
    assert wait_until(lambda: name in server.output())
    (line,) = (json.loads(line) for line in server.output().splitlines() if name in line)
    assert line["reason"] == reason
    assert "private" not in server.output()


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", 'a"b', "{}"])
def test_an_odd_request_id_is_replaced(server: Here, name: str) -> None:
    answer = httpx.get(f"{server.url}/health", headers={"X-Request-ID": name})
    assert len(answer.headers["X-Request-ID"]) == 32


def test_an_unknown_path_is_not_repeated(server: Here) -> None:
    assert httpx.get(f"{server.url}/my-private-path").status_code == 404
    assert "my-private-path" not in server.output()
    assert "my-private-path" not in httpx.get(f"{server.url}/metrics").text


def test_a_full_pipe_loses_no_line_and_holds_no_file_up(tmp_path: Path) -> None:
    lines, kept = b"x\n" * 100_000, os.dup(1)  # more than a pipe holds
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as another process may have made it
    os.dup2(writer, 1)
    os.close(writer)

    def write() -> None:
        try:
            logs.write_stdout(lines)
        finally:
            os.dup2(kept, 1)  # which closes the pipe
            os.close(kept)

    writing = threading.Thread(target=write)
    appending = threading.Thread(target=append, args=(tmp_path / "lines", b"1\n", 40))
    with os.fdopen(reader, "rb") as pipe:
        writing.start()
        read = pipe.read(1)  # it has begun
        appending.start()
        appending.join(PATIENCE)
        is_held_up = appending.is_alive()
        read += pipe.read()
    writing.join()
    assert not is_held_up
    assert read == lines


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
