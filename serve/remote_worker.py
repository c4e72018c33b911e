"""A worker as the HTTP process sees it, at the other end of its socket."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from serve.jobs import Part
from serve.worker import LENGTH, frame

LOAD_TIMEOUT = 60  # seconds


class ModelRejectedError(Exception):
    """A worker cannot use a model; the message says why."""


class NoWorkerError(Exception):
    """No worker lives long enough to try a model, which says nothing of the model."""


class RemoteWorker:
    """A connected worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.pid = 0  # until it says hello
        self.ready = False
        self.parts: list[Part] = []  # the batch it has
        self.since = 0.0
        self.loading: asyncio.Future[str | None] | None = None
        self.asked: str | None = None  # the folder that it is loading from

    def send(self, **message: object) -> None:
        """Send a message."""
        self.writer.write(frame(message))

    async def load(self, folder: Path) -> None:
        """Let the worker load a model beside the one in use.

        Raises:
            ModelRejectedError: it cannot be used.
            NoWorkerError: the worker died.

        """
        self.loading, self.asked = asyncio.get_running_loop().create_future(), str(folder)
        self.send(do="load", folder=self.asked)
        try:
            async with asyncio.timeout(LOAD_TIMEOUT):
                problem = await self.loading
        except TimeoutError:
            problem = f"{folder}: not loaded within {LOAD_TIMEOUT} seconds"
        if problem:
            raise ModelRejectedError(problem)

    def has_loaded(self, folder: str, problem: str | None) -> None:
        """Note the outcome of a load; only the last one asked for counts."""
        if self.loading and not self.loading.done() and folder == self.asked:
            self.loading.set_result(problem)

    def has_died(self) -> None:
        """Fail the load under way, if there is one."""
        if self.loading and not self.loading.done():
            self.loading.set_exception(NoWorkerError("the worker died; retry later"))

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            IncompleteReadError: the worker is gone.

        """
        (length,) = LENGTH.unpack(await self.reader.readexactly(LENGTH.size))
        message: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        return message

    def kill(self) -> None:
        """Kill the process; LitServe starts another."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
