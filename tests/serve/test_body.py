"""How much a body may hold, and how long it may take."""

import contextlib
import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from locked.classifier import Classifier
from serve import connections
from serve.body import MAX_BODY, MAX_HELD
from tests.conftest import HANG
from tests.serve.here import Here, here
from tests.serve.running import wait_until


def test_a_body_too_large_is_refused(server: Here) -> None:
    assert httpx.post(f"{server.url}/predict", content=b" " * (MAX_BODY + 1)).status_code == 413

    def stream() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b" " * 2**20

    with contextlib.suppress(httpx.WriteError):  # the server hangs up first
        assert httpx.post(f"{server.url}/predict", content=stream()).status_code == 413


def test_bodies_do_not_fill_the_memory(classifier: Classifier, tmp_path: Path) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
    # No body may time out before the last has come, however busy the machine is.
    with here(classifier, tmp_path, BODY_TIMEOUT="600") as server:
        refused = 'http_requests_total{method="POST",route="/predict",status="429"}'
        before = server.metric(refused)
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_HELD // MAX_BODY + 1):  # one too many, whichever arrives last
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=HANG)
                stack.enter_context(connection)
                with contextlib.suppress(ConnectionError):  # the server closes a refused one
                    connection.sendall(head + b" " * (MAX_BODY - 1))
            assert wait_until(lambda: server.metric(refused) == before + 1)
            assert httpx.get(f"{server.url}/health").status_code == 200

        def answer() -> int:
            return httpx.post(f"{server.url}/predict", json={"text": "fire"}).status_code

        assert wait_until(lambda: answer() == 200)


HEAD = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", []),
        (HEAD[:30], []),
        (b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" + HEAD[:30], [b"200"]),
        (HEAD + b"{", [b"408"]),
    ],
    ids=["nothing", "half a head", "half a second head", "half a body"],
)
def test_who_sends_slowly_is_not_waited_for(
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    answers: list[bytes],
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    with (
        here(classifier, tmp_path, BODY_TIMEOUT="0.2") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=HANG) as connection,
    ):
        connection.sendall(sent)
        reply = b""
        while piece := connection.recv(4096):
            reply += piece
    assert re.findall(rb"^HTTP/1.1 (\d+)", reply, re.M) == answers
    assert (b"BODY_TIMEOUT" in reply) == (answers == [b"408"])


TEXT = {"text": "caf\u00e9 on fire"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (gzip.compress(json.dumps(TEXT).encode()), {"Content-Encoding": "gzip"}),
        (
            gzip.compress(b'{"text": "caf\xc3\xa9 ') * 1 + gzip.compress(b'on fire"}'),
            {"Content-Encoding": "GZIP"},
        ),
        (zlib.compress(json.dumps(TEXT).encode()), {"Content-Encoding": "deflate"}),
        (json.dumps(TEXT, ensure_ascii=False).encode("utf-16"), {}),
        (json.dumps(TEXT, ensure_ascii=False).encode("utf-8-sig"), {}),
        (
            json.dumps(TEXT, ensure_ascii=False).encode("cp1252"),
            {"Content-Type": "application/json; charset=windows-1252"},
        ),
        (
            json.dumps(TEXT, ensure_ascii=False).encode("latin-1"),
            {"Content-Type": 'text/plain; Charset="ISO-8859-1"'},
        ),
        (
            json.dumps(TEXT).encode("koi8-r"),
            {"Content-Type": "application/json; charset=KOI8-R"},
        ),
        (json.dumps(TEXT).encode("big5"), {"Content-Type": "application/json; charset=Big5"}),
    ],
)
def test_encodings_are_read(server: Here, content: bytes, headers: dict[str, str]) -> None:
    expected = httpx.post(f"{server.url}/predict", json=TEXT).json()["probability"]
    for route in ("/predict", "/explain"):
        answer = httpx.post(f"{server.url}{route}", content=content, headers=headers)
        assert answer.json()["probability"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b'{"text": "caf\xe9"}', {}, 400, "not utf-8: byte 13"),
        (b"{}", {"Content-Type": "application/json; charset=ascii85"}, 415, "ascii85"),
        (b"{}", {"Content-Type": "application/json; charset=utf-99"}, 415, "utf-99"),
        (b"{}", {"Content-Encoding": "br"}, 415, "send gzip, deflate or none"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "is not gzip"),
        (gzip.compress(b"{}")[:-4], {"Content-Encoding": "gzip"}, 400, "end is missing"),
        (gzip.compress(b" " * (MAX_BODY + 1)), {"Content-Encoding": "gzip"}, 413, "is over"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_named(
    server: Here, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    answer = httpx.post(f"{server.url}/predict", content=content, headers=headers)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert (status == 415) == ("accept-encoding" in answer.headers)
