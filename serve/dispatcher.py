"""The HTTP process's end: texts wait in one queue, and free workers get the next batch of them."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import HTTPException

from locked.manifest import label
from serve import metrics
from serve.schema import Prediction
from serve.worker import LENGTH, frame

BATCH = 32_000  # cost of a batch; more gains little, and what comes next waits longer
TURN = 8_000  # cost that one request may have in a batch while others wait
REQUESTS = 48  # of a batch: while it computes, others' answers are written and new ones come
TICK = 0.1  # seconds between two looks for what waits too long
LOAD_TIMEOUT = 60  # seconds
READY_TIMEOUT = 10  # seconds that a new model waits for a worker to try it
HANG = 10  # seconds for a batch, which takes under one
RETRY = {"Retry-After": "1"}  # seconds


class ModelRejectedError(Exception):
    """A worker cannot use a model; the message says why."""


class NoWorkerError(Exception):
    """No worker lives long enough to try a model, which says nothing of the model."""


@dataclass(eq=False)
class Job:
    """The texts of one request, and what comes of them."""

    texts: list[str]
    done: Callable[["Job"], None]
    received: float = field(default_factory=time.monotonic)
    attempt: int = 0
    given: int = 0  # texts that were handed to workers
    left: int = 0  # texts without an answer
    scores: list[float] = field(default_factory=list)
    models: set[tuple[str, float]] = field(default_factory=set)  # that answered
    error: HTTPException | None = None
    alone: bool = False  # shares no batch, since one that it was in failed

    def __post_init__(self) -> None:
        """Begin."""
        self.reset()

    @property
    def model(self) -> str:
        """The version of the model that answered."""
        return next(iter(self.models))[0]

    def predictions(self) -> list[Prediction]:
        """Return what the model says of each text."""
        _, threshold = next(iter(self.models))
        return [
            Prediction.model_construct(label=label(score, threshold), probability=score)
            for score in self.scores
        ]

    def reset(self) -> None:
        """Begin again; what still comes of the attempt before does not count."""
        self.attempt += 1
        self.given, self.left = 0, len(self.texts)
        self.scores, self.models = [0.0] * self.left, set()


class Part(NamedTuple):
    """The texts of a job that go to a worker together."""

    job: Job
    attempt: int
    start: int
    end: int

    @property
    def counts(self) -> bool:
        """Whether its answer is still waited for."""
        return self.attempt == self.job.attempt and self.job.error is None


class Remote:
    """A connected worker, as the HTTP process sees it."""

    def __init__(self, writer: asyncio.StreamWriter, pid: int) -> None:
        self.writer = writer
        self.pid = pid
        self.ready = False
        self.parts: list[Part] = []  # the batch it has
        self.since = 0.0
        self.loading: asyncio.Future[str | None] | None = None
        self.asked: str | None = None  # the folder that it is loading from

    def send(self, **message: object) -> None:
        """Send a message."""
        self.writer.write(frame(message))

    async def load(self, folder: Path) -> None:
        """Have a model made ready beside the one in use.

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


class Dispatcher:
    """Shares out texts over the workers, and stands in for those that die.

    Requests take turns, so that one of many texts does not hold up the others. No batch is waited
    for: a free worker gets at once what is there.
    """

    def __init__(self, path: Path, folder: Path, max_queue: int, timeout: float) -> None:
        """Listen for workers at `path`; the first model is that in `folder`."""
        self.path = path
        self.folder = folder
        self.max_queue = max_queue
        self.timeout = timeout
        self.queue: deque[Job] = deque()
        self.queued = 0  # texts
        self.remotes: list[Remote] = []
        self.on_broken: Callable[[str], None] = lambda _: None  # the model in use is rejected

    @property
    def ready(self) -> bool:
        """Whether a worker can answer."""
        return any(remote.ready for remote in self.remotes)

    def listen(self) -> None:
        """Let workers connect, even before this runs."""
        self.listening = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # a socket's whole path may be too long
            self.listening.bind(self.path.name)
        self.listening.listen()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept workers and watch the clock."""
        server = await asyncio.start_unix_server(self._serve_worker, sock=self.listening)
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            server.close()

    def submit(self, texts: list[str], done: Callable[[Job], None]) -> None:
        """Queue texts; `done` is called once, with all answers or with an error.

        Raises:
            HTTPException: 429, the queue is full.

        """
        if self.queued and self.queued + len(texts) > self.max_queue:
            metrics.REJECTED.labels("queue").inc()
            raise HTTPException(429, "more is asked than can be answered; try again", RETRY)
        self.queue.append(Job(texts, done))
        self.queued += len(texts)
        self._hand_out()

    async def classify(self, texts: list[str]) -> Job:
        """Wait for the answers to texts.

        Raises:
            HTTPException: 429, the queue is full, or 503, no worker could answer.

        """
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self.submit(texts, lambda job: None if future.done() else future.set_result(job))
        job = await future
        if job.error:
            raise job.error
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
        remotes = [remote for remote in self.remotes if remote.ready]
        outcomes = await asyncio.gather(
            *(remote.load(folder) for remote in remotes), return_exceptions=True
        )
        rejected = [outcome for outcome in outcomes if isinstance(outcome, ModelRejectedError)]
        loaded = [r for r, outcome in zip(remotes, outcomes, strict=True) if outcome is None]
        if rejected or not loaded:
            for remote in remotes:
                remote.send(do="forget")
            raise rejected[0] if rejected else NoWorkerError("no worker is ready; try again")
        self.folder = folder
        for remote in loaded:
            remote.send(do="swap")
        for remote in set(self.remotes) - set(loaded):  # that began with the model before
            _kill(remote)

    def _hand_out(self) -> None:
        for remote in self.remotes:
            if self.queue and remote.ready and not remote.parts:
                remote.parts = list(self._next_parts())
                remote.since = time.monotonic()
                texts = [
                    text for part in remote.parts for text in part.job.texts[part.start : part.end]
                ]
                metrics.BATCH.observe(len(texts))
                remote.send(do="predict", texts=texts)

    def _next_parts(self) -> Iterator[Part]:
        room = BATCH
        for _ in range(REQUESTS):
            if not self.queue or room <= 0:
                return
            job = self.queue.popleft()
            if job.alone and room < BATCH:
                self.queue.appendleft(job)
                return
            if not job.given:
                metrics.QUEUE_WAIT.observe(time.monotonic() - job.received)
            start, spent = job.given, 0
            share = min(room, TURN if self.queue else BATCH)
            while job.given < len(job.texts) and spent < share:
                spent += cost(job.texts[job.given])
                job.given += 1
            if job.given < len(job.texts):
                self.queue.append(job)
            self.queued -= job.given - start
            room = 0 if job.alone else room - spent
            yield Part(job, job.attempt, start, job.given)

    async def _serve_worker(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        remote: Remote | None = None
        try:
            hello = await _receive(reader)
            remote = Remote(writer, hello["hello"])
            self.remotes.append(remote)
            starting = asyncio.create_task(self._start(remote))
            while True:
                self._take(remote, await _receive(reader))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            if remote:
                starting.cancel()
                self._bury(remote)
        finally:
            writer.close()

    async def _start(self, remote: Remote) -> None:
        try:
            await remote.load(self.folder)
        except NoWorkerError:
            return
        except ModelRejectedError as error:
            self.on_broken(str(error))
            return
        remote.send(do="swap")
        remote.ready = True
        self._hand_out()

    def _take(self, remote: Remote, message: dict[str, Any]) -> None:
        if "loaded" in message:
            if remote.loading and not remote.loading.done() and message["loaded"] == remote.asked:
                remote.loading.set_result(message["error"])
            return
        parts, remote.parts = remote.parts, []
        if "failed" in message:
            self._part(parts, message["failed"])
        else:
            scores = iter(message["scores"])
            for part in parts:
                said = [next(scores) for _ in range(part.start, part.end)]
                if part.counts:
                    part.job.scores[part.start : part.end] = said
                    part.job.models.add(tuple(message["model"]))
                    part.job.left -= len(said)
        self._hand_out()  # first, so that the worker computes while the answers are written
        for part in parts:
            if part.counts and not part.job.left:
                if len(part.job.models) > 1:  # the model was swapped amid it
                    self._again(part.job)
                else:
                    part.job.done(part.job)

    def _part(self, parts: list[Part], reason: str) -> None:
        """Try the requests of a batch that failed one by one; fail the one that was alone."""
        jobs = {part.job for part in parts if part.counts}
        for job in jobs:
            if job.alone or len(parts) == 1:
                self._fail(job, HTTPException(500, f"the model failed: {reason}"))
            else:
                job.alone = True
                self._again(job)

    def _again(self, job: Job) -> None:
        self._unqueue(job)
        job.reset()
        self.queue.appendleft(job)
        self.queued += len(job.texts)
        self._hand_out()

    def _bury(self, remote: Remote) -> None:
        """Tell the requests that a dead worker had that they are lost; the others wait for one."""
        self.remotes.remove(remote)
        if remote.loading and not remote.loading.done():
            remote.loading.set_exception(NoWorkerError("the worker died; try again"))
        for part in remote.parts:
            if part.counts:
                self._fail(part.job, HTTPException(503, "the worker died; try again", RETRY))

    def _fail(self, job: Job, error: HTTPException) -> None:
        self._unqueue(job)
        if job.error is None:
            job.error = error
            job.done(job)

    def _unqueue(self, job: Job) -> None:
        with contextlib.suppress(ValueError):
            self.queue.remove(job)
            self.queued -= len(job.texts) - job.given

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            late = time.monotonic() - self.timeout
            given = {part.job for r in self.remotes for part in r.parts if part.counts}
            for job in given.union(self.queue):
                if job.received < late:
                    metrics.REJECTED.labels("timeout").inc()
                    self._fail(job, HTTPException(503, "too late; try again", RETRY))
            for remote in self.remotes:
                if remote.parts and remote.since < time.monotonic() - HANG:
                    _kill(remote)


def cost(text: str) -> int:
    """Estimate what a text costs: its characters, as far as a model may read them."""
    return 50 + min(len(text), 500)


def _kill(remote: Remote) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(remote.pid, signal.SIGKILL)


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    message: dict[str, Any] = json.loads(await reader.readexactly(length))
    return message
