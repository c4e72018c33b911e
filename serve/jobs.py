"""The queue of texts: requests take turns, so that a large one does not hold up the others."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastapi import HTTPException

from serve import metrics
from serve.worker import Prediction

BATCH = 32_000  # cost of a batch; more gains little, and the requests after it wait longer
TURN = 8_000  # cost of one request's share of a batch while others wait
REQUESTS = 48  # of a batch: while it computes, others' answers are written and new ones come


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Job:
    """The texts of one request, and their answers."""

    texts: list[str]
    done: "asyncio.Future[None]" = field(default_factory=_future)
    received: float = field(default_factory=time.monotonic)
    attempt: int = 0
    sent: int = 0  # texts that workers have or had
    left: int = 0  # texts without an answer
    answers: list[Any] = field(default_factory=list)  # [label, probability, features] of each text
    models: set[str] = field(default_factory=set)  # versions that answered
    is_alone: bool = False  # shares no batch, because its last batch failed

    def __post_init__(self) -> None:
        """Begin the first attempt."""
        self.reset()

    @property
    def model(self) -> str:
        """The version of the model that answered."""
        return next(iter(self.models))

    def predictions(self) -> list[Prediction]:
        """Return what the model says of each text."""
        return [Prediction(*answer) for answer in self.answers]

    def reset(self) -> None:
        """Begin another attempt; answers to the previous one do not count."""
        self.attempt += 1
        self.sent, self.left = 0, len(self.texts)
        self.answers, self.models = [None] * self.left, set()

    def end(self, error: HTTPException | None = None) -> None:
        """Wake the waiting request, if it has not been cancelled."""
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


class Part(NamedTuple):
    """The texts of a job that go to a worker together."""

    job: Job
    attempt: int
    start: int
    end: int

    @property
    def counts(self) -> bool:
        """Whether a request still waits for its answer."""
        return self.attempt == self.job.attempt and not self.job.done.done()

    @property
    def texts(self) -> list[str]:
        """The texts for the worker."""
        return self.job.texts[self.start : self.end]


class Queue:
    """Jobs with texts that no worker has."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.texts = 0  # that wait

    def add(self, job: Job) -> None:
        """Append a job."""
        self.jobs.append(job)
        self.texts += len(job.texts)

    def again(self, job: Job) -> None:
        """Put a job first, for another attempt."""
        self.remove(job)
        job.reset()
        self.jobs.appendleft(job)
        self.texts += len(job.texts)

    def remove(self, job: Job) -> None:
        """Take a job out, if it waits."""
        with contextlib.suppress(ValueError):
            self.jobs.remove(job)
            self.texts -= len(job.texts) - job.sent

    def next_batch(self) -> Iterator[Part]:
        """Take out the next batch for a worker."""
        room = BATCH
        for _ in range(REQUESTS):
            if not self.jobs or room <= 0:
                return
            job = self.jobs.popleft()
            if job.is_alone and room < BATCH:
                self.jobs.appendleft(job)
                return
            if not job.sent:
                metrics.QUEUE_WAIT.observe(time.monotonic() - job.received)
            start, spent = job.sent, 0
            share = min(room, TURN if self.jobs else BATCH)
            while job.sent < len(job.texts) and spent < share:
                spent += cost(job.texts[job.sent])
                job.sent += 1
            if job.sent < len(job.texts):
                self.jobs.append(job)
            self.texts -= job.sent - start
            room = 0 if job.is_alone else room - spent
            yield Part(job, job.attempt, start, job.sent)


def cost(text: str) -> int:
    """Estimate what a text costs: its characters, as far as a model may read them."""
    return 50 + min(len(text), 500)
