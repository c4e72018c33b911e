"""The real gcloud does what our commands for buckets and roles mean.

gcloud gives a bucket's fields names of its own and edits policies itself; other resources it prints
as Google's APIs return them. tests/deploy/setup checks the words and flags of all commands.
"""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.google import GoogleProject
from deploy.setup.resources import down, read_resources, up

ALL = read_resources(GoogleProject("my-project"), "me/disaster-tweets", "123456789")
GRANTS = ("serve has storage.objectViewer", "score has dataflow.worker")
ROWS = [
    each for each in ALL if each.title.startswith("bucket") or any(g in each.title for g in GRANTS)
]
BUCKET = "/storage/v1/b/my-project-disaster-tweets"
POLICY = {"etag": "AA==", "version": 1}


class Google(ThreadingHTTPServer):
    """Cloud Storage and Resource Manager on 127.0.0.1."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.items: dict[str, dict[str, Any]] = {}  # by path
        self.changes = 0

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the content, or None for a missing resource."""
        self.changes += method in ("DELETE", "PATCH", "PUT") or "policy" in body
        if path.endswith(("/iam", ":getIamPolicy", ":setIamPolicy")):
            path = re.sub("/iam|:[gs]etIamPolicy", "/policy", path)
            if method == "PUT" or "policy" in body:
                self.items[path] = body.get("policy", body)
            return self.items.get(path, POLICY)
        if method == "GET" and path.startswith(f"{BUCKET}/"):  # its objects and folders
            return {"items": []}
        if method == "POST":
            path = f"{path}/{body['name']}"
            self.items[path] = {}
        if path not in self.items:
            return None
        if method == "DELETE":
            return self.items.pop(path)
        self.items[path] |= body
        return self.items[path]


class Handler(BaseHTTPRequestHandler):
    server: Google

    def answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        content = self.server.answer(self.command, path, json.loads(raw or "{}"))
        missing = {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(missing if content is None else content).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """An empty Google Cloud, for the gcloud that this process starts."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    (tmp_path / "token").write_text("secret-token")
    with Google() as server:
        url = f"http://127.0.0.1:{server.server_port}/"
        settings = {
            "CONFIG": str(tmp_path / "gcloud"),
            "AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
            "API_ENDPOINT_OVERRIDES_STORAGE": url,
            "API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": url,
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"CLOUDSDK_{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_buckets_and_roles_are_created_once_updated_and_removed(google: Google) -> None:
    assert up(ROWS) == len(ROWS) == 4
    bucket = google.items[BUCKET]
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert bucket["versioning"] == {"enabled": True}
    assert bucket["softDeletePolicy"]["retentionDurationSeconds"] in (0, "0")
    policy = google.items["/v1/projects/my-project/policy"]
    (binding,) = policy["bindings"]
    assert binding["role"] == "roles/dataflow.worker"
    assert "condition" not in binding

    changes = google.changes
    assert up(ROWS) == 0  # gcloud's answers match the table
    assert google.changes == changes
    bucket["lifecycle"]["rule"].pop()
    assert up(ROWS) == 1

    down(ROWS, delete_data=False)
    policies = [item for path, item in google.items.items() if path.endswith("/policy")]
    assert [policy.get("bindings", []) for policy in policies] == [[], []]
    down(ROWS, delete_data=True)
    assert BUCKET not in google.items
