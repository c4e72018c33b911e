"""Log lines are JSON in Cloud Logging's fields, and hold no text of a user."""

import json
import logging
import sys

import httpx
import pytest

from serve import logs
from serve.logs import trace_fields
from tests.serve.here import Here
from tests.serve.running import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "cloud", "project", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", "", "p", (f"projects/p/traces/{TRACE}", True, SPAN)),
        (f"00-{TRACE}-{SPAN}-00", "", None, (TRACE, False, SPAN)),
        ("", f"{TRACE}/255;o=1", "p", (f"projects/p/traces/{TRACE}", True, f"{255:016x}")),
        ("", TRACE, None, (TRACE, False, None)),
        ("nonsense", f"{TRACE}/1;o=0", None, (TRACE, False, f"{1:016x}")),
    ],
)
def test_a_line_belongs_to_its_trace(
    traceparent: str, cloud: str, project: str | None, expected: tuple[str, bool, str | None]
) -> None:
    fields = trace_fields(traceparent, cloud, project)
    assert fields["logging.googleapis.com/trace"] == expected[0]
    assert fields["logging.googleapis.com/trace_sampled"] == expected[1]
    assert fields.get("logging.googleapis.com/spanId") == expected[2]


def test_a_malformed_trace_is_none() -> None:
    assert trace_fields('x"y', "../../etc", "p") == {}


def test_an_error_has_its_stack_in_one_line() -> None:
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "", 0, "it %s", ("broke",), None)
        record.exc_info = sys.exc_info()
    line = logs.line(record).decode()
    assert line.count("\n") == 1
    said = json.loads(line)
    assert (said["severity"], said["message"]) == ("ERROR", "it broke")
    assert "ValueError" in said["stack_trace"]


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


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "{}"])
def test_an_odd_request_id_is_replaced(server: Here, given: str) -> None:
    answer = httpx.get(f"{server.url}/health", headers={"X-Request-ID": given})
    assert len(answer.headers["X-Request-ID"]) == 32


def test_an_unknown_path_is_not_repeated(server: Here) -> None:
    assert httpx.get(f"{server.url}/my-private-path").status_code == 404
    assert "my-private-path" not in server.output()
    assert "my-private-path" not in httpx.get(f"{server.url}/metrics").text
