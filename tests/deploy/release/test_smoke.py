import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.release import smoke
from locked.manifest import MANIFEST, read_manifest
from tests.conftest import NOWHERE, ROOT, Project
from tests.deploy.fake_gcloud import Json
from tests.serve.running import serving

KEY = "a-key-of-the-endpoint"
RIGHT = {"predictions": [{"label": "disaster", "probability": 0.9}] * 2, "model": "one"}


class Handler(BaseHTTPRequestHandler):
    """Answers as a server with a key would, or as the test says."""

    answer: Json = RIGHT

    def do_GET(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.headers.get("X-API-Key") == KEY
        self._send(200 if allowed else 401, self.answer if allowed else {"detail": "no key"})

    def _send(self, status: int, answer: Json) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine, where a proxy that does not answer is set."""
    monkeypatch.setattr(smoke, "PATIENCE", 0)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_right_server_passes(url: str) -> None:
    assert smoke.smoke(url, "one", KEY) == 1
    assert smoke.smoke(url.replace("127.0.0.1", "localhost"), "one", KEY, seconds=0.01) >= 2


@pytest.mark.parametrize(
    ("answer", "key", "message"),
    [
        (RIGHT, "", "/predict: 401 .*no key"),
        (RIGHT | {"model": "two"}, KEY, "serves model two instead of one"),
        ({"predictions": [{"label": "disaster"}] * 2}, KEY, "/predict answers {'predictions'"),
        (["nonsense"], KEY, "nonsense"),
        (b"<html>", KEY, "<html>"),
    ],
)
def test_a_wrong_answer_is_named(
    answer: Json, key: str, message: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "answer", answer)
    with pytest.raises(smoke.SmokeError, match=message):
        smoke.smoke(url, "one", key)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(smoke.SmokeError, match="not the address"):
        smoke.smoke("file:///etc/passwd")


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:8080", True),
        ("http://api.localhost", True),
        ("http://127.0.0.53:8080/predict", True),
        ("http://[::1]:8080", True),
        ("http://0.0.0.0:8080", True),
        ("http://server:8080", False),
        ("https://127.0.0.1.example.com", False),
        ("https://10.0.0.1", False),
    ],
)
def test_only_this_machine_is_asked_without_a_proxy(url: str, own: bool) -> None:
    assert smoke.is_own_machine(url) == own


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"220 mail.example.com\r\n", "220 mail"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nno", "IncompleteRead"),
    ],
)
def test_a_server_that_does_not_speak_http_fails(
    monkeypatch: pytest.MonkeyPatch, reply: bytes, message: str
) -> None:
    monkeypatch.setattr(smoke, "PATIENCE", 0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as caller:
                caller.recv(65536)  # unread bytes would reset the connection
                caller.sendall(reply)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(smoke.SmokeError, match=f"{url}/health: {message}"):
            smoke.smoke(url)
        thread.join(10)


def test_the_server_of_this_project_passes(pipeline: Project, tmp_path: Path) -> None:
    model = read_manifest(pipeline.folder / "models/classifier" / MANIFEST).version
    proxied = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    proxied |= {"http_proxy": NOWHERE, "API_KEY": KEY}
    with serving(pipeline, tmp_path, API_KEYS=f"{KEY},another-key-of-the-endpoint") as server:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.release.smoke", server.url, "--model", model],
            cwd=ROOT,
            env=proxied,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == f"{server.url} is well: 1 answers\n", done.stderr
