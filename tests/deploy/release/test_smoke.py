import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.release import smoke
from locked.manifest import MANIFEST, read_manifest
from tests.conftest import NOWHERE, ROOT, Project
from tests.deploy.fake_gcloud import Json
from tests.serve.running import serving

KEY = "a-key-of-the-endpoint"
PREDICTION = {"label": "disaster", "probability": 0.9}
RIGHT = {"predictions": [PREDICTION] * 2, "model": "one"}


class Handler(BaseHTTPRequestHandler):
    """Answers as a server with a key would, or with the test's own answer."""

    answer: Json = RIGHT

    def do_GET(self) -> None:
        self._send(200, b"ready")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.headers.get("X-API-Key") == KEY
        self._send(200 if allowed else 401, self.answer)

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


def test_a_right_server_passes_again_and_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = []

    def is_right(answer: object) -> bool:
        answers.append(answer)
        return True

    monkeypatch.setattr(smoke, "is_right", is_right)
    smoke.smoke(url.replace("127.0.0.1", "localhost"), "one", KEY, seconds=0.01)
    assert answers[:2] == [RIGHT, RIGHT]


@pytest.mark.parametrize(
    ("answer", "key", "message"),
    [
        (RIGHT, "", "/predict: .*401"),
        (RIGHT | {"model": "two"}, KEY, "serves model two instead of one"),
        ({"predictions": [{"label": "disaster"}] * 2}, KEY, "/predict answers {'predictions'"),
        ({"predictions": [PREDICTION]}, KEY, "/predict answers {'predictions'"),
        (["nonsense"], KEY, "nonsense"),
        (b"<html>", KEY, "<html>"),
    ],
)
def test_a_wrong_answer_is_named(
    answer: Json, key: str, message: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke.smoke(url, "one", KEY)
    monkeypatch.setattr(Handler, "answer", answer)
    with pytest.raises(InputError, match=message):
        smoke.smoke(url, "one", key)


def test_only_http_is_asked() -> None:
    with pytest.raises(InputError, match="does not start with http"):
        smoke.smoke("file:///etc/passwd")


def test_the_server_of_this_project_passes(pipeline: Project, tmp_path: Path) -> None:
    model = read_manifest(pipeline.folder / "models/classifier" / MANIFEST).version
    proxied = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    proxied |= {"http_proxy": NOWHERE, "API_KEY": KEY}
    with serving(pipeline, tmp_path, API_KEYS=f"{KEY},another-key-of-the-endpoint") as server:
        process = subprocess.run(
            [sys.executable, "-m", "deploy.release.smoke", server.url, "--model", model],
            cwd=ROOT,
            env=proxied,
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.stdout == f"{server.url} is well\n", process.stderr
