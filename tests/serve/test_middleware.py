"""Who may ask, how much and for how long."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from locked.classifier import Classifier
from serve.body import MAX_BODY
from tests.conftest import HANG
from tests.serve.here import Here, here

KEYS = ("the-first-key-of-two", "the-second-key-of-two")
KEY_HEADER = {"X-API-Key": KEYS[0]}


@pytest.fixture(scope="module")
def guarded(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("guarded")
    origins = "https://app.example"
    with here(classifier, folder, API_KEYS=",".join(KEYS), CORS_ORIGINS=origins) as server:
        yield server


@pytest.mark.parametrize("route", ["/predict", "/explain", "/feedback", "/metrics"])
def test_a_key_opens_what_is_guarded(guarded: Here, route: str) -> None:
    def ask(**headers: str) -> httpx.Response:
        if route == "/metrics":
            return httpx.get(f"{guarded.url}{route}", headers=headers)
        return httpx.post(f"{guarded.url}{route}", json={"text": "fire"}, headers=headers)

    refused = ask()
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    wrong = [{"X-API-Key": "wrong"}, {"X-API-Key": KEYS[0][:-1]}, {"Authorization": "Bearer no"}]
    wrong.append({"Authorization": f"Basic {KEYS[0]}"})
    assert [ask(**headers).status_code for headers in wrong] == [401] * 4
    post = httpx.get if route == "/metrics" else httpx.post
    assert post(f"{guarded.url}{route}/").status_code == 401  # a slash is no way around
    assert httpx.head(f"{guarded.url}{route}").status_code in (401, 405)
    with_slash = httpx.post(f"{guarded.url}/predict/", json={"text": "x"}, headers=KEY_HEADER)
    assert with_slash.status_code == 200  # no redirect, which would forget https
    for key in KEYS:
        assert ask(**{"X-API-Key": key}).status_code != 401
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert ask(Authorization=f"{scheme} {key}").status_code != 401
    assert not any(key in guarded.output() for key in KEYS)


def test_no_route_that_takes_something_is_open(guarded: Here) -> None:
    paths = httpx.get(f"{guarded.url}/openapi.json").json()["paths"]
    posts = [path for path, methods in paths.items() if "post" in methods]
    assert {"/predict", "/explain", "/feedback"} <= {*posts}
    posts += ["/nowhere", "/explain/some-id"]  # nor one that is still to come, or has a variable
    assert {httpx.post(f"{guarded.url}{path}").status_code for path in posts} == {401}
    assert httpx.put(f"{guarded.url}/predict").status_code == 401


def test_health_and_page_need_no_key(guarded: Here) -> None:
    for route in ("/health", "/", "/page.js", "/info", "/docs"):
        assert httpx.get(f"{guarded.url}{route}").status_code == 200


@pytest.mark.parametrize("route", ["/health", "/", "/info", "/docs", "/metrics", "/predict?text=x"])
def test_head_answers_where_get_does(server: Here, route: str) -> None:
    got, head = httpx.get(f"{server.url}{route}"), httpx.head(f"{server.url}{route}")
    assert head.status_code == got.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""


def test_a_prefix_may_stay_or_be_taken_off(classifier: Classifier, tmp_path: Path) -> None:
    with here(classifier, tmp_path, ROOT_PATH="/tweets/") as server:
        for url in (server.url, f"{server.url}/tweets"):
            assert httpx.post(f"{url}/predict", json={"text": "fire"}).status_code == 200
            assert "page.js" in httpx.get(f"{url}/").text
            assert "/tweets/openapi.json" in httpx.get(f"{url}/docs").text
            assert httpx.get(f"{url}/openapi.json").status_code == 200
        assert httpx.get(f"{server.url}/other/info").status_code == 404


def test_other_origins_are_let_in_by_name_only(guarded: Here, server: Here) -> None:
    def allowed(url: str, origin: str) -> str | None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(f"{url}/predict", headers=headers)
        allowed_origin: str | None = answer.headers.get("Access-Control-Allow-Origin")
        return allowed_origin

    assert allowed(guarded.url, "https://app.example") == "https://app.example"
    assert allowed(guarded.url, "https://evil.example") is None
    assert allowed(server.url, "https://app.example") is None


def test_every_answer_has_the_security_headers(server: Here) -> None:
    for answer in (
        httpx.get(f"{server.url}/"),
        httpx.get(f"{server.url}/nowhere"),
        httpx.post(f"{server.url}/predict", json={}),
        httpx.post(f"{server.url}/predict", content=b" " * (MAX_BODY + 1)),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "server" not in answer.headers


HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nConnection: close\r\n"
)
VALID = HEAD + b'Content-Length: 16\r\n\r\n{"text": "fire"}'


def malformed(rng: random.Random) -> bytes:
    """A request with something wrong in it."""
    place = rng.randrange(1, len(VALID))
    body = rng.randbytes(rng.randrange(200))
    length = rng.choice([b"-1", b"1e3", b"99999999999999999999", b"0x10", b"5, 5", b""])
    return rng.choice(
        [
            body,
            VALID[:place],
            VALID[:place] + rng.randbytes(1) + VALID[place + 1 :],
            HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,
            HEAD + b"Content-Length: " + length + b"\r\n\r\n{}",
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body,
        ]
    )


async def send(port: int, requests: list[bytes]) -> Counter[bytes]:
    """Send each request on a connection of its own; count the statuses of the answers."""
    statuses: Counter[bytes] = Counter()
    limit = asyncio.Semaphore(128)

    async def send_one(data: bytes) -> None:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError, TimeoutError):  # it may wait for more
                writer.write(data)
                answer = await asyncio.wait_for(reader.read(), 0.5)
                statuses[answer[9:12]] += 1
                assert b"Traceback" not in answer
            writer.close()

    await asyncio.gather(*map(send_one, requests))
    return statuses


def test_malformed_bytes_harm_nothing(server: Here) -> None:
    rng = random.Random(0)  # noqa: S311
    statuses = asyncio.run(send(server.port, [malformed(rng) for _ in range(2000)]))
    assert not [status for status in statuses if status.startswith(b"5")], statuses
    assert {b"200", b"400", b"422"} <= set(statuses)
    assert httpx.post(f"{server.url}/predict", json={"text": "fire"}).status_code == 200
    assert server.server.dispatcher.queue.size == 0
    assert '"stack_trace"' not in server.output()


def test_no_request_that_the_schema_suggests_breaks_it(server: Here, tmp_path: Path) -> None:
    # The phase of coverage has the wrong bodies; to draw others takes as long as all the rest.
    (tmp_path / "schemathesis.toml").write_text('[phases.fuzzing.generation]\nmode = "positive"\n')
    process = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/openapi.json",
            "--checks=not_a_server_error,status_code_conformance,response_schema_conformance",
            "--max-examples=30",
            "--seed=1",
            "--workers=2",
            "--no-color",
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert process.returncode == 0, process.stdout[-6000:]
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert f"Tested: {sum(map(len, paths.values()))}\n" in process.stdout
    assert '"stack_trace"' not in server.output()
