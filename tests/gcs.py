"""Google Cloud Storage on 127.0.0.1: an emulator whose answers tests can replace."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from typing import Any
from unittest.mock import patch

from gcp_storage_emulator import server
from gcp_storage_emulator.storage import Storage
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

read_data = server._read_data


def read_exactly(handler: Any, query: dict[str, list[str]]) -> Any:  # noqa: ANN401
    """Read a request's body; the emulator itself takes a line's end from a multipart object's."""
    kind = handler.headers.get("Content-Type") or ""
    if not kind.startswith("multipart/related"):
        return read_data(handler, query)
    body = server._decode_raw_data(server._read_raw_data(handler), handler)
    name = re.search(r'boundary="?([^";]+)', kind)
    assert name, kind
    line = b"--" + name[1].encode()
    end = b"\r\n" if body.startswith(line + b"\r\n") else b"\n"  # gcsfs sends bare line feeds
    meta, _, rest = body.removeprefix(line + end).partition(end + line + end)
    headers, _, rest = rest.partition(end + end)
    media = rest[: rest.rindex(end + line + b"--")]
    return {
        "meta": json.loads(meta.partition(end + end)[2]),
        "content": media,
        "content-type": headers.decode().partition(":")[2].strip(),
    }


class Memory(Storage):  # type: ignore[misc] # the emulator ships no types
    """Objects in memory alone; the emulator writes the list of all of them after each."""

    def __init__(self) -> None:
        super().__init__(use_memory_fs=True)

    def _write_config_to_file(self) -> None:
        pass


@dataclass
class Cloud:
    """The emulator's objects, the requests to it, and its answers."""

    url: str = ""
    objects: Memory = field(default_factory=Memory)
    requests: list[str] = field(default_factory=list)
    # Instead of the emulator's, by method and a part of the path.
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)

    def refuse(self, method: str, path: str, status: int, message: str) -> None:
        self.answers[method, path] = status, {"error": {"code": status, "message": message}}

    def client(self) -> storage.Client:
        options = {"api_endpoint": self.url}
        return storage.Client("test", AnonymousCredentials(), client_options=options)


class Handler(server.RequestHandler):  # type: ignore[misc]
    """Gives the test's answer, or the emulator's."""

    def __init__(self, cloud: Cloud, *args: Any) -> None:  # noqa: ANN401
        self.cloud = cloud
        super().__init__(cloud.objects, *args)

    def answer(self) -> None:
        self.cloud.requests.append(f"{self.command} {self.path}")
        for (method, path), answer in self.cloud.answers.items():
            if method == self.command and path in self.path:
                return self.reply(*answer)
        server.Router(self).handle(self.command)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def reply(self, status: int, content: Any) -> None:  # noqa: ANN401
        server._read_raw_data(self)  # unread, it would reset the connection
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Listener(HTTPServer):
    """Goes on quietly when a client hangs up, as one that was killed does."""

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running() -> Iterator[Cloud]:
    """Serve an empty cloud."""
    cloud = Cloud()
    with (
        patch.object(server, "_read_data", read_exactly),
        Listener(("127.0.0.1", 0), partial(Handler, cloud)) as listener,
    ):
        cloud.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield cloud
        finally:
            listener.shutdown()
            thread.join()
