"""How much a body may hold, and how long it may take."""

import contextlib
import gzip
import json
import re
import zlib

import httpx
import pytest

from serve import connections
from serve.body import MAX_BODY, MAX_HELD
from tests.serve.here import Here, Serve
from tests.serve.running import wait_until


def test_a_body_too_large_is_refused(server: Here) -> None:
    assert server.post("/predict", content=b" " * (MAX_BODY + 1)).status_code == 413
    pieces = iter([b" " * 2**20] * (MAX_BODY // 2**20 + 1))  # whose sum is not known before
    with contextlib.suppress(httpx.WriteError):  # the server hangs up first
        assert server.post("/predict", content=pieces).status_code == 413


def test_bodies_do_not_fill_the_memory(serve: Serve) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
    # No body may time out before the last has come, however busy the machine is.
    with serve(BODY_TIMEOUT="600") as server:
        refused = 'rejected_total{reason="held"}'
        before = server.metric(refused)
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_HELD // MAX_BODY + 1):  # one too many, whichever arrives last
                connection = stack.enter_context(server.connect())
                with contextlib.suppress(ConnectionError):  # the server closes a refused one
                    connection.sendall(head + b" " * (MAX_BODY - 1))
            assert wait_until(lambda: server.metric(refused) == before + 1)
            assert server.get("/health").status_code == 200
        assert wait_until(lambda: server.post("/predict", {"text": "fire"}).status_code == 200)


HEAD = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"


def test_who_sends_slowly_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIME", 0.2)
    with serve(BODY_TIMEOUT="0.2") as server:
        for sent, statuses in (
            (b"", []),
            (HEAD[:30], []),
            (b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" + HEAD[:30], [b"200"]),
            (HEAD + b"{", [b"408"]),
        ):
            with server.connect() as connection, connection.makefile("rb") as stream:
                connection.sendall(sent)
                reply = stream.read()
            assert re.findall(rb"^HTTP/1.1 (\d+)", reply, re.M) == statuses
            assert (b"BODY_TIMEOUT" in reply) == (statuses == [b"408"])


TEXT = {"text": "caf\u00e9 on fire"}
JSON = json.dumps(TEXT, ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (gzip.compress(JSON.encode()), {"Content-Encoding": "gzip"}),
        (
            gzip.compress(b'{"text": "caf\xc3\xa9 ') + gzip.compress(b'on fire"}'),
            {"Content-Encoding": "GZIP"},
        ),
        (zlib.compress(JSON.encode()), {"Content-Encoding": "deflate"}),
        (JSON.encode("utf-16"), {}),
        (JSON.encode("utf-8-sig"), {}),
        (JSON.encode("cp1252"), {"Content-Type": "application/json; charset=windows-1252"}),
        (JSON.encode("latin-1"), {"Content-Type": 'text/plain; Charset="ISO-8859-1"'}),
        (json.dumps(TEXT).encode("big5"), {"Content-Type": "application/json; charset=Big5"}),
    ],
)
def test_encodings_are_read(server: Here, content: bytes, headers: dict[str, str]) -> None:
    expected = server.predict(TEXT)["probability"]
    for route in ("/predict", "/explain"):
        answer = server.post(route, content=content, headers=headers).json()
        assert answer["probability"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (b'{"text": "caf\xe9"}', {}, 400, "not utf-8: byte 13"),
        (b"{}", {"Content-Type": "application/json; charset=ascii85"}, 415, "ascii85"),
        (b"{}", {"Content-Type": "application/json; charset=utf-99"}, 415, "utf-99"),
        (b"{}", {"Content-Encoding": "br"}, 415, "send gzip, deflate or none"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "is not valid gzip"),
        (gzip.compress(b"{}")[:-4], {"Content-Encoding": "gzip"}, 400, "end is missing"),
        (gzip.compress(b" " * (MAX_BODY + 1)), {"Content-Encoding": "gzip"}, 413, "has more than"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_named(
    server: Here, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    answer = server.post("/predict", content=content, headers=headers)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert (status == 415) == ("accept-encoding" in answer.headers)
