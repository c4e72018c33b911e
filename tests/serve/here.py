"""The server's HTTP process and one worker as threads of the test process: no process starts."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import uvicorn

from locked.classifier import Classifier
from locked.store import ModelStore
from serve import logs, settings
from serve.server import UVICORN, Server
from serve.settings import Settings
from serve.worker import DisasterAPI, Worker
from tests.conftest import HANG
from tests.serve.running import Client, wait_until

logging.getLogger("httpx").setLevel(logging.WARNING)  # the client's lines are not the server's
NAMES = {name.upper() for name in Settings.model_fields}


@dataclass
class Here(Client):
    """A server in this process."""

    port: int
    server: Server
    feedback: Path
    lines: list[bytes] = field(default_factory=list)  # of standard output

    def output(self) -> str:
        return b"".join(self.lines).decode()


Serve = Callable[..., AbstractContextManager[Here]]


def configured(**values: str) -> Settings:
    """Return the settings that these variables make, and no others."""
    others = {k: v for k, v in os.environ.items() if k not in NAMES}
    with patch.dict(os.environ, others | values, clear=True):
        return settings.load()


@contextmanager
def here(classifier: Classifier, folder: Path, **values: str) -> Iterator[Here]:
    """Serve a model until the end of the block."""
    (copies := folder / "copies").mkdir()
    feedback = folder / "feedback.jsonl"
    defaults = {"MODEL_URI": str(classifier.folder), "FEEDBACK_FILE": str(feedback)}
    options = configured(**defaults | values)
    server = Server(options, ModelStore(options.model_uri, copies))
    server.dispatcher.listen()
    has_log = bool(options.prediction_log)
    api = DisasterAPI(server.dispatcher.path, 1, options.engine, has_log)
    http = uvicorn.Server(uvicorn.Config(server.app, port=0, lifespan="on", **UVICORN))
    handler, root = logs.JsonHandler(), logging.getLogger()
    level = root.level
    lines: list[bytes] = []
    root.addHandler(handler)
    root.setLevel(options.log_level.upper())
    with patch.object(logs.stdout, "write", lines.append):
        thread = threading.Thread(target=http.run)
        thread.start()
        try:
            assert wait_until(lambda: http.started or not thread.is_alive())
            threading.Thread(target=work, args=(api,), daemon=True).start()
            assert wait_until(lambda: bool(server.dispatcher.ready))
            port = http.servers[0].sockets[0].getsockname()[1]
            yield Here(port, server, feedback, lines)
        finally:
            http.should_exit = True
            thread.join(HANG)
            assert not thread.is_alive(), "a test has left a connection with half a request"
            root.removeHandler(handler)
            root.setLevel(level)


def work(api: DisasterAPI) -> None:
    api.setup("cpu")
    Worker()(api)
