"""Sends batches of queued texts from the HTTP process to free workers."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from typing import Any

from serve import metrics
from serve.errors import rejection
from serve.jobs import Job, Part, Queue

LENGTH = struct.Struct("!i")  # of a message, as in multiprocessing.connection
BATCH_TIMEOUT = 10  # seconds for a batch, which takes under one


class ModelRejectedError(Exception):
    """A worker cannot use a model; the message is the reason."""


class RemoteWorker:
    """A worker process, as the HTTP process knows it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.pid = 0
        self.is_ready = False
        self.batch: list[Part] = []  # the parts that it is computing
        self.timer: asyncio.TimerHandle | None = None  # of the batch
        self.loading: asyncio.Future[str | None] | None = None  # the reason of a rejection, or None

    def send(self, **message: object) -> None:
        """Send a message."""
        text = json.dumps(message).encode()
        self.writer.write(LENGTH.pack(len(text)) + text)

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            IncompleteReadError: the worker is gone.

        """
        (length,) = LENGTH.unpack(await self.reader.readexactly(LENGTH.size))
        message: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        return message

    async def load(self, folder: Path) -> None:
        """Have the worker load a model beside the one in use.

        Raises:
            ModelRejectedError: the worker cannot use it.
            HTTPException: 503, the worker died; the model may be sound.

        """
        self.loading = asyncio.get_running_loop().create_future()
        self.send(do="load", folder=str(folder))
        if problem := await self.loading:
            raise ModelRejectedError(problem)

    def compute(self, batch: list[Part]) -> None:
        """Send a batch; kill the worker if it takes too long."""
        self.batch = batch
        self.timer = asyncio.get_running_loop().call_later(BATCH_TIMEOUT, self.kill)
        texts = [text for job, start, end in batch for text in job.texts[start:end]]
        metrics.BATCH.observe(len(texts))
        self.send(do="predict", texts=texts)

    def release(self) -> list[Part]:
        """Return the batch, which is finished or lost, and stop its timer."""
        if self.timer:
            self.timer.cancel()
        batch, self.batch = self.batch, []
        return batch

    def kill(self) -> None:
        """Kill the process; LitServe starts another."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Dispatcher:
    """Sends queued texts to free workers, and fails the requests of a worker that dies.

    No batch waits until it is full: a free worker gets the queued texts at once.
    """

    def __init__(self, path: Path, folder: Path, max_queue: int, timeout: float) -> None:
        """Take the path of the workers' socket, and the folder of the first model."""
        self.path = path
        self.folder = folder
        self.max_queue = max_queue
        self.timeout = timeout
        self.queue = Queue()
        self.workers: list[RemoteWorker] = []
        self.on_rejected: Callable[[str], None] = lambda _: None  # for the model in use

    @property
    def ready(self) -> list[RemoteWorker]:
        """The workers that can answer."""
        return [worker for worker in self.workers if worker.is_ready]

    def listen(self) -> None:
        """Open the socket, so that workers can connect before `accept_workers`."""
        self.listener = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # a socket's whole path may be too long
            self.listener.bind(self.path.name)
        self.listener.listen()

    @contextlib.asynccontextmanager
    async def accept_workers(self) -> AsyncIterator[None]:
        """Accept workers until the end of the block."""
        server = await asyncio.start_unix_server(self._serve_worker, sock=self.listener)
        try:
            yield
        finally:
            server.close()

    async def classify(self, texts: list[str]) -> Job:
        """Queue texts; return their job once all of them have an answer.

        Raises:
            HTTPException: 429, the queue is full; 503, the worker died or took too long.

        """
        if self.queue.size and self.queue.size + len(texts) > self.max_queue:
            raise rejection(429, "queue full; retry later", "queue")
        job = Job(texts)
        self.queue.add(job)
        self._hand_out()
        try:
            async with asyncio.timeout(self.timeout):
                await job.outcome
        except TimeoutError as error:
            raise rejection(503, "no answer in time; retry later", "timeout") from error
        finally:
            if job.sent < len(texts):
                self.queue.remove(job)
        return job

    async def use(self, folder: Path) -> None:
        """Put another model in use in all workers or in none; meanwhile requests are answered.

        Raises:
            ModelRejectedError: a worker cannot use it; the old model stays in use.
            HTTPException: 503, no worker is ready; the old model stays in use.

        """
        workers = self.ready
        outcomes = await asyncio.gather(
            *(worker.load(folder) for worker in workers), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, ModelRejectedError):
                raise outcome
        loaded_workers = [w for w, result in zip(workers, outcomes, strict=True) if result is None]
        if not loaded_workers:
            raise rejection(503, "no worker is ready; retry later")
        self.folder = folder
        for worker in self.workers:
            if worker in loaded_workers:
                worker.send(do="swap")
            else:  # it is loading the old model
                worker.kill()

    def _hand_out(self) -> None:
        for worker in self.workers:
            if self.queue.jobs and worker.is_ready and not worker.batch:
                worker.compute(list(self.queue.take_batch()))

    async def _serve_worker(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        worker = RemoteWorker(reader, writer)
        disconnections = asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        with contextlib.suppress(*disconnections):
            worker.pid = (await worker.receive())["hello"]
            self.workers.append(worker)
            try:
                worker.send(do="load", folder=str(self.folder))
                if problem := (await worker.receive())["error"]:
                    self.on_rejected(problem)
                    return
                worker.send(do="swap")
                worker.is_ready = True
                self._hand_out()
                while True:
                    self._receive(worker, await worker.receive())
            finally:
                self._remove(worker)
                writer.close()

    def _receive(self, worker: RemoteWorker, message: dict[str, Any]) -> None:
        if "error" in message:
            if worker.loading and not worker.loading.done():
                worker.loading.set_result(message["error"])
            return
        batch, answers = worker.release(), iter(message["predictions"])
        for job, start, end in batch:
            job.answers[start:end] = islice(answers, end - start)
            job.models.add(message["model"])
        self._hand_out()  # first, so that the worker computes while the answers are written
        for job, _, _ in batch:
            if None in job.answers or job.outcome.done():
                continue
            if len(job.models) == 1:
                job.outcome.set_result(None)
            else:  # the model changed between its batches
                job.begin()
                self.queue.add(job)
                self._hand_out()

    def _remove(self, worker: RemoteWorker) -> None:
        """Remove a dead worker and fail the requests of its batch; the others stay in the queue."""
        self.workers.remove(worker)
        if worker.loading and not worker.loading.done():
            worker.loading.set_exception(rejection(503, "the worker died; retry later"))
        for job, _, _ in worker.release():
            if not job.outcome.done():
                error = rejection(503, "the worker died; retry later", "worker")
                job.outcome.set_exception(error)
