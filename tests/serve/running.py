"""A real server process, asked over HTTP."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

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


def runs(pid: int) -> bool:
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


def children(pid: int) -> list[int]:
    command = ["pgrep", "-P", str(pid)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [int(child) for child in output.split()]


def has_engine(pid: int) -> bool:
    if not Path("/proc").exists():
        pytest.skip("only Linux tells, in /proc, which process has the engine")
    try:
        loaded = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
    return "libopenvino.so" in loaded or "onnxruntime_pybind" in loaded


def metric(url: str, sample: str) -> float:
    """Return the value of a metric with its labels, 0 if it does not exist."""
    for line in httpx.get(f"{url}/metrics", timeout=HANG).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == sample:
            return float(value)
    return 0.0


@dataclass
class Running:
    """A started server; its output goes to a file, since a pipe that nobody reads would fill."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        return self.log.read_text()

    def health(self, path: str = "/health", patience: float = 5) -> int:
        """Return the status of /health, or 0 if nobody answers."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=patience).status_code
        except httpx.TransportError:
            return 0

    def wait_until_ready(self, path: str = "/health") -> None:
        if not wait_until(lambda: self.health(path) == 200 or self.process.poll() is not None):
            pytest.fail(f"not ready after {HANG} s: {self.output()}")
        assert self.process.poll() is None, self.output()

    def workers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if has_engine(pid)]

    def http_process(self) -> int:
        return min(pid for pid in children(self.process.pid) if not has_engine(pid))

    def metric(self, sample: str) -> float:
        return metric(self.url, sample)

    def stop(self, number: int = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        self.process.wait(timeout=HANG)
        return self.output()


def start(project: Project, log: Path, *before: str, **environment: str) -> Running:
    """Start a server on the project's model; `before` comes before its command."""
    port = int(environment.get("AIP_HTTP_PORT") or environment.setdefault("PORT", str(free_port())))
    environment.setdefault("MODEL_URI", str(project.folder / "models/classifier"))
    environment.setdefault("FEEDBACK_FILE", str(log.with_name("feedback.jsonl")))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*before, SERVE_PYTHON, "-m", "serve"],
            cwd=ROOT,
            env=project.environment(**environment),
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


@contextmanager
def load(ask: Callable[[], object], threads: int) -> Iterator[None]:
    """Ask again and again, by many threads at once, until the end of the block."""
    is_over = threading.Event()

    def again() -> None:
        while not is_over.is_set():
            ask()

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        asking = [pool.submit(again) for _ in range(threads)]
        try:
            yield
        finally:
            is_over.set()
    for future in asking:
        future.result()


def logged(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
