"""The HTTP process's side of the workers: a free worker gets the next batch of the queue."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from serve import metrics
from serve.jobs import Job, Part, Queue
from serve.remote_worker import ModelRejectedError, NoWorkerError, RemoteWorker

TICK = 0.1  # seconds between two looks for requests that wait too long
READY_TIMEOUT = 10  # seconds that a new model waits for a worker to try it
HANG = 10  # seconds for a batch, which takes under one
RETRY = {"Retry-After": "1"}  # seconds


class Dispatcher:
    """Distributes texts over the workers, and answers for those that die.

    No batch waits to be filled: a free worker gets the queued texts at once.
    """

    def __init__(self, path: Path, folder: Path, max_queue: int, timeout: float) -> None:
        """Listen for workers at `path`; the first model is that in `folder`."""
        self.path = path
        self.folder = folder
        self.max_queue = max_queue
        self.timeout = timeout
        self.queue = Queue()
        self.workers: list[RemoteWorker] = []
        self.on_broken: Callable[[str], None] = lambda _: None  # the model in use is rejected

    @property
    def ready(self) -> int:
        """How many workers can answer."""
        return sum(worker.ready for worker in self.workers)

    def listen(self) -> None:
        """Open the socket, so that workers can connect before `running`."""
        self.listening = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # a socket's whole path may be too long
            self.listening.bind(self.path.name)
        self.listening.listen()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept workers and time out requests."""
        server = await asyncio.start_unix_server(self._serve_worker, sock=self.listening)
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            server.close()

    async def classify(self, texts: list[str]) -> Job:
        """Return the answered job of some texts.

        Raises:
            HTTPException: 429, the queue is full, or 503, no worker could answer.

        """
        if self.queue.texts and self.queue.texts + len(texts) > self.max_queue:
            metrics.REJECTED.labels("queue").inc()
            raise HTTPException(429, "queue full; retry later", RETRY)
        job = Job(texts)
        self.queue.add(job)
        self._hand_out()
        await job.done
        return job

    async def use(self, folder: Path) -> None:
        """Put another model in use, in all workers or in none; requests go on meanwhile.

        Raises:
            ModelRejectedError: a worker cannot use it; the one before stays.
            NoWorkerError: there was no worker to try it; the one before stays.

        """
        until = time.monotonic() + READY_TIMEOUT
        while not self.ready and time.monotonic() < until:
            await asyncio.sleep(TICK)
        workers = [worker for worker in self.workers if worker.ready]
        outcomes = await asyncio.gather(
            *(worker.load(folder) for worker in workers), return_exceptions=True
        )
        rejected = [outcome for outcome in outcomes if isinstance(outcome, ModelRejectedError)]
        loaded = [w for w, outcome in zip(workers, outcomes, strict=True) if outcome is None]
        if rejected or not loaded:
            for worker in workers:
                worker.send(do="forget")
            raise rejected[0] if rejected else NoWorkerError("no worker is ready; retry later")
        self.folder = folder
        for worker in loaded:
            worker.send(do="swap")
        for worker in set(self.workers) - set(loaded):  # that started with the previous model
            worker.kill()

    def _hand_out(self) -> None:
        for worker in self.workers:
            if self.queue.jobs and worker.ready and not worker.parts:
                worker.parts = list(self.queue.next_batch())
                worker.since = time.monotonic()
                texts = [text for part in worker.parts for text in part.texts]
                metrics.BATCH.observe(len(texts))
                worker.send(do="predict", texts=texts)

    async def _serve_worker(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        worker = RemoteWorker(reader, writer)
        starting: asyncio.Task[None] | None = None
        try:
            worker.pid = (await worker.receive())["hello"]
            self.workers.append(worker)
            starting = asyncio.create_task(self._start(worker))
            while True:
                self._take(worker, await worker.receive())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            if starting:
                starting.cancel()
                self._bury(worker)
        finally:
            writer.close()

    async def _start(self, worker: RemoteWorker) -> None:
        try:
            await worker.load(self.folder)
        except NoWorkerError:
            return
        except ModelRejectedError as error:
            self.on_broken(str(error))
            return
        worker.send(do="swap")
        worker.ready = True
        self._hand_out()

    def _take(self, worker: RemoteWorker, message: dict[str, Any]) -> None:
        if "loaded" in message:
            worker.has_loaded(message["loaded"], message["error"])
            return
        parts, worker.parts = worker.parts, []
        if "failed" in message:
            self._split(parts, message["failed"])
        else:
            answers, start = message["predictions"], 0
            for part in parts:
                size = part.end - part.start
                if part.counts:
                    part.job.answers[part.start : part.end] = answers[start : start + size]
                    part.job.models.add(message["model"])
                    part.job.left -= size
                start += size
        self._hand_out()  # first, so that the worker computes while the answers are written
        for part in parts:
            if part.counts and not part.job.left:
                if len(part.job.models) > 1:  # the model was swapped amid it
                    self._again(part.job)
                else:
                    part.job.end()

    def _split(self, parts: list[Part], reason: str) -> None:
        """Retry the requests of a failed batch one by one; fail a request that was alone."""
        jobs = {part.job for part in parts if part.counts}
        for job in jobs:
            if job.is_alone or len(parts) == 1:
                self._fail(job, HTTPException(500, f"the model failed: {reason}"))
            else:
                job.is_alone = True
                self._again(job)

    def _again(self, job: Job) -> None:
        self.queue.again(job)
        self._hand_out()

    def _bury(self, worker: RemoteWorker) -> None:
        """Fail the requests of a dead worker's batch; the others wait for the next worker."""
        self.workers.remove(worker)
        worker.has_died()
        for part in worker.parts:
            if part.counts:
                metrics.REJECTED.labels("worker").inc()
                self._fail(part.job, HTTPException(503, "the worker died; retry later", RETRY))

    def _fail(self, job: Job, error: HTTPException) -> None:
        self.queue.remove(job)
        job.end(error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            late = time.monotonic() - self.timeout
            sent = {part.job for w in self.workers for part in w.parts if part.counts}
            for job in sent.union(self.queue.jobs):
                if job.received < late:
                    metrics.REJECTED.labels("timeout").inc()
                    self._fail(job, HTTPException(503, "no answer in time; retry later", RETRY))
            for worker in self.workers:
                if worker.parts and worker.since < time.monotonic() - HANG:
                    worker.kill()
