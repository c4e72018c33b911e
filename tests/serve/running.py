"""A real server process, asked over HTTP."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import HANG, ROOT, Project

# An environment with the `serve` extra alone may be tried: its oldest packages, or its newest.
SERVE_PYTHON = os.environ.get("SERVE_PYTHON", sys.executable)
LEAVE = 10  # seconds, after which Cloud Run kills; orphans look each second


# Below those that the system gives to outgoing connections: nobody takes one by chance. Processes
# begin at different ones.
PORTS = itertools.cycle(range(10_000, 30_000))
next(itertools.islice(PORTS, os.getpid() * 97 % 20_000, None))


def free_port() -> int:
    """Return a port that nothing listens at; no other call in this process returns it soon."""
    for port in PORTS:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports have no end")


def wait_until(true: Callable[[], bool], seconds: float = HANG) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def runs(pid: int) -> bool:
    return printed("ps", "-o", "stat=", "-p", str(pid))[:1] not in ("", "Z")


def children(pid: int) -> list[int]:
    return [int(child) for child in printed("pgrep", "-P", str(pid)).split()]


# One for all, since each reads the system's certificates; it keeps no connection.
SESSION = httpx.Client(timeout=HANG, limits=httpx.Limits(max_keepalive_connections=0))


class Client:
    """Asks the server at a port."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANG)

    def get(self, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        return SESSION.get(self.url + path, **arguments)

    def post(self, path: str, json: object = None, **arguments: Any) -> httpx.Response:  # noqa: ANN401
        return SESSION.post(self.url + path, json=json, **arguments)

    def predict(self, body: object) -> Any:  # noqa: ANN401 - JSON
        return self.post("/predict", body).raise_for_status().json()

    def metric(self, sample: str) -> float:
        """Return the value of a metric with its labels, 0 if it does not exist."""
        lines = (line.rpartition(" ") for line in self.get("/metrics").text.splitlines())
        return next((float(value) for name, _, value in lines if name == sample), 0.0)


@dataclass
class Running(Client):
    """A started server; its output goes to a file, since a pipe that nobody reads would fill."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return self.get("/health", timeout=5).status_code == 200
            return self.process.poll() is not None

        assert wait_until(is_ready), f"not ready after {HANG} s: {self.output()}"
        assert self.process.poll() is None, self.output()

    def http_process(self) -> int:
        return int(printed("pgrep", "-o", "-P", str(self.process.pid)))  # the oldest

    def workers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if pid != self.http_process()]

    def stop(self, number: int = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        self.process.wait(timeout=HANG)
        return self.output()


def start(project: Project, log: Path, **environment: str) -> Running:
    """Start a server on the project's model."""
    port = free_port()
    defaults = {
        "PORT": str(port),
        "MODEL_URI": str(project.folder / "models/classifier"),
        "FEEDBACK_FILE": str(log.with_name("feedback.jsonl")),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SERVE_PYTHON, "-m", "serve"],
            cwd=ROOT,
            env=project.environment(**defaults | environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, port, log)


@contextmanager
def serving(project: Project, folder: Path, **environment: str) -> Iterator[Running]:
    """Serve until the end of the block; no process is left then, whatever happened in it."""
    server = start(project, folder / "server.log", **environment)
    try:
        server.wait_until_ready()
        yield server
    finally:
        for pid in [*children(server.process.pid), server.process.pid]:
            if server.process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        server.process.wait()


def logged(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
