"""Who may ask, and which requests are read."""

import asyncio
import contextlib
import gzip
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import pytest

from locked.classifier import Classifier
from serve.middleware import MAX_BODY
from serve.server import Protocol
from tests.serve.here import Here, here
from tests.serve.running import SESSION, wait_until

KEYS = ("the-first-key-of-two", "the-second-key-of-two")
BODY = {"text": "fire"}
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n10\r\n%s\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def guarded(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("guarded")
    with here(classifier, folder, API_KEYS=",".join(KEYS)) as server:
        yield server


def test_a_key_opens_what_is_guarded(guarded: Here) -> None:
    bearer = [{"Authorization": f"{name} {KEYS[0]}"} for name in ("Bearer", "bearer", "BEARER")]
    right = [*({"X-API-Key": key} for key in KEYS), *bearer]
    wrong = [{}, {"X-API-Key": KEYS[0][:-1]}, {"Authorization": f"Basic {KEYS[0]}"}]
    for method, path in (
        *(("POST", path) for path in ("/predict", "/explain", "/feedback")),
        *(("GET", "/metrics"), ("HEAD", "/metrics")),
        *(("GET", "/metrics/"), ("POST", "/predict/")),  # no way around
    ):
        url = guarded.url + path
        for headers in wrong:
            answer = SESSION.request(method, url, json=BODY, headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for headers in right:
            status = SESSION.request(method, url, json=BODY, headers=headers).status_code
            assert status == (422 if path == "/feedback" else 200), (path, headers)
    assert not any(key in guarded.output() for key in KEYS)


def test_no_route_that_takes_something_is_open(guarded: Here) -> None:
    paths = guarded.get("/openapi.json").json()["paths"]
    posts = [path for path, methods in paths.items() if "post" in methods]
    assert {"/predict", "/explain", "/feedback"} <= {*posts}
    posts += ["/nowhere", "/explain/some-id"]  # nor one that is still to come, or has a variable
    assert {guarded.post(path).status_code for path in posts} == {401}
    for route in ("/health", "/", "/page.js", "/info", "/docs"):
        assert guarded.get(route).status_code == 200


def test_head_answers_where_get_does(server: Here) -> None:
    for route in ("/health", "/", "/info", "/docs", "/metrics"):
        got, head = server.get(route), SESSION.head(server.url + route)
        assert head.status_code == got.status_code == 200
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.content == b""


def test_every_answer_has_the_security_headers(server: Here) -> None:
    too_large = server.post("/predict", content=b" " * (MAX_BODY + 1))
    for answer in (server.get("/"), server.get("/nowhere"), server.post("/predict", {}), too_large):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "server" not in answer.headers


def test_a_body_too_large_or_compressed_is_refused(server: Here) -> None:
    assert server.post("/predict", content=b" " * (MAX_BODY + 1)).status_code == 413
    pieces = iter([b" " * 2**20] * (MAX_BODY // 2**20 + 1))  # whose sum is not known before
    with contextlib.suppress(httpx.WriteError):  # the server hangs up first
        assert server.post("/explain", content=pieces).status_code == 413
    packed, headers = gzip.compress(b"{}"), {"Content-Encoding": "gzip"}
    answer = server.post("/predict", content=packed, headers=headers)
    assert (answer.status_code, "Content-Encoding" in answer.json()["detail"]) == (415, True)


@pytest.mark.parametrize("route", ["/predict", "/explain"])
def test_a_body_in_another_encoding_is_named(server: Here, route: str) -> None:
    answer = server.post(route, content='{"text": "café"}'.encode("latin-1"))
    assert (answer.status_code, "Send JSON in UTF-8" in answer.text) == (422, True)


def test_a_client_that_leaves_is_no_error_of_the_server(server: Here) -> None:
    left = 'http_requests_total{method="POST",route="/predict",status="400"}'
    before = server.metric(left)
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{")
    assert wait_until(lambda: server.metric(left) == before + 1)
    assert '"stack_trace"' not in server.output()


@pytest.mark.parametrize("length", ["Content-Length: 16\r\n\r\n%s", CHUNKED])
@pytest.mark.parametrize("name", ["Upgrade: h2c", "upgrade: websocket"])
def test_an_upgrade_is_ignored(server: Here, name: str, length: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n{name}\r\n"
    message = head + length % '{"text": "fire"}'
    with server.connect() as connection:
        for at in (0, len(head) - 9):  # twice, as the connection is kept alive; once in pieces
            connection.sendall(message[:at].encode())
            server.get("/info")  # meanwhile the first piece is read
            connection.sendall(message[at:].encode())
            response = HTTPResponse(connection)
            response.begin()
            assert (response.status, b'"probability"' in response.read()) == (200, True)


def test_at_the_limit_the_connection_idle_longest_is_closed(
    server: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Protocol, "max_connections", 5)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.url)) for _ in range(12)]
        for client in [*clients, clients[0]]:  # each keeps its connection; the first one asks anew
            assert client.get("/health").status_code == 200
        assert server.metric('rejected_total{reason="idle"}') > 0


HEAD = b"POST /predict HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
VALID = HEAD + b'Content-Length: 16\r\n\r\n{"text": "fire"}'
LENGTHS = (b"-1", b"1e3", b"99999999999999999999", b"0x10", b"5, 5", b"")


def test_malformed_bytes_harm_nothing(server: Here) -> None:
    requests = [VALID, HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense"]
    requests += [HEAD + b"Content-Length: " + length + b"\r\n\r\n{}" for length in LENGTHS]
    for place in range(len(VALID)):
        requests += [VALID[:place] + byte + VALID[place + 1 :] for byte in (b"", b"\0", b"\xff")]
    limit = asyncio.Semaphore(64)

    async def status(request: bytes) -> bytes:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with contextlib.closing(writer):  # the server may wait for more until then
                with contextlib.suppress(ConnectionError, TimeoutError):
                    writer.write(request)
                    return (await asyncio.wait_for(reader.read(), 0.5))[9:12]
                return b""

    async def statuses() -> set[bytes]:
        return {*await asyncio.gather(*map(status, requests))}

    answered = asyncio.run(statuses())
    assert {b"200", b"400", b"422"} <= answered
    assert not [status for status in answered if status.startswith(b"5")]
    assert server.predict(BODY)
    assert server.server.dispatcher.queue.size == 0
    assert '"stack_trace"' not in server.output()
