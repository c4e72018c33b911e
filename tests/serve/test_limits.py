"""How much a body may hold, and how long it may take."""

import concurrent.futures
import contextlib
import socket
import time
from collections.abc import Iterator

import httpx

from serve.connections import HEAD_TIME
from serve.limits import BODY_TIME, MAX_BODY, MAX_HELD
from tests.conftest import HANG
from tests.serve.running import Running, wait_until

KEYS = ("the-first-key-of-two", "the-second-key-of-two")


def test_a_body_too_large_is_refused(server: Running) -> None:
    assert httpx.post(f"{server.url}/predict", content=b" " * (MAX_BODY + 1)).status_code == 413

    def stream() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b" " * 2**20

    with contextlib.suppress(httpx.WriteError):  # the server hangs up first
        assert httpx.post(f"{server.url}/predict", content=stream()).status_code == 413


def test_bodies_do_not_fill_the_memory(server: Running) -> None:
    def answer() -> httpx.Response:
        return httpx.post(f"{server.url}/predict", json={"text": "fire"})

    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % MAX_BODY

    def refused_when_full() -> bool:
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_HELD // MAX_BODY):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=HANG)
                with contextlib.suppress(ConnectionError):  # given up as too slow
                    stack.enter_context(connection).sendall(head + b" " * (MAX_BODY - 1))
            said = answer()
            assert server.health() == 200
        return said.status_code == 429 and said.headers["retry-after"] == "1"

    # on a busy machine the first may be given up before the last is there
    assert wait_until(refused_when_full)
    assert wait_until(lambda: answer().status_code == 200)


def test_who_sends_slowly_is_not_waited_for(server: Running) -> None:
    def until_closed(sent: bytes) -> tuple[float, bytes]:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=HANG) as connection:
            connection.sendall(sent)
            said = b""
            while got := connection.recv(4096):
                said += got
        return time.monotonic() - began, said

    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"
    health = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
    sent = [b"", head[:30], health + head[:30], head + b"{"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        silent, half_head, second, half_body = pool.map(until_closed, sent)
    for (seconds, said), answers in ((silent, 0), (half_head, 0), (second, 1)):
        assert HEAD_TIME - 1 < seconds < 10 * HEAD_TIME
        assert said.count(b"HTTP/1.1 ") == answers
    assert BODY_TIME - 1 < half_body[0] < 10 * BODY_TIME
    assert half_body[1].startswith(b"HTTP/1.1 408 ")
