"""Connections: upgrades that are not offered, and clients that stay and say nothing."""

import contextlib
import resource
import socket
from http.client import HTTPResponse

import httpx
import pytest

from serve import connections
from serve.connections import OTHER_FILES, Protocol
from tests.serve.here import Here, Serve
from tests.serve.running import wait_until

BODY = b'{"text": "Bridge down"}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return status and body of the next answer."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


@pytest.mark.parametrize("body", [LENGTH, CHUNKED, b"Expect: 100-continue\r\n" + LENGTH])
@pytest.mark.parametrize("upgrade", [H2C, b"Upgrade: websocket\r\nConnection: upgrade\r\n"])
def test_an_upgrade_is_passed_over(server: Here, upgrade: bytes, body: bytes) -> None:
    request = b"POST /predict HTTP/1.1\r\nHost: h\r\n" + upgrade + body
    plain = b"GET /predict?text=fire HTTP/1.1\r\nHost: h\r\n" + upgrade + b"\r\n"
    with server.connect() as connection:
        for message in (request, plain, request):  # on one connection, as it is kept alive
            connection.sendall(message)
            status, content = answer(connection)
            assert (status, b'"probability"' in content) == (200, True)


@pytest.mark.parametrize("at", [b"Upgrade:", b"grade:", b"\n{"])
def test_an_upgrade_is_passed_over_in_a_head_that_comes_in_pieces(server: Here, at: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    first, rest = (head + LENGTH).split(at)
    with server.connect() as connection:
        connection.sendall(first)
        server.get("/info")  # meanwhile the first piece is read
        connection.sendall(at + rest)
        assert answer(connection)[0] == 200


def test_a_connection_that_cannot_be_parsed_is_closed(server: Here) -> None:
    with server.connect() as connection:
        connection.sendall(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n")
        assert b" 200 " not in connection.recv(4096)
    assert '"stack_trace"' not in server.output()


def test_beyond_the_limit_the_longest_idle_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Protocol, "max_connections", 5)
    with serve() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.url)) for _ in range(12)]
        for client in [*clients, clients[0]]:  # each keeps its connection; the first one asks anew
            assert client.get("/health").status_code == 200
        assert server.metric('rejected_total{reason="idle"}') > 0
        assert wait_until(lambda: "over 5 connections: closing" in server.output())


def test_the_limit_of_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.__setitem__(0, both[0]))
    assert connections.raise_file_limit() == 4096 - OTHER_FILES
