"""The queue of texts: requests take turns, so that a large one does not delay the others."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from serve import metrics
from serve.worker import Prediction

BATCH_COST = 32_000  # of a batch; a larger one gains little and delays the requests behind it
TURN_COST = 8_000  # of one request's share of a batch, while other requests wait
BATCH_REQUESTS = 48  # of a batch: meanwhile the HTTP process writes responses and reads requests


class Job:
    """The texts of one request, and their answers."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.received = time.monotonic()
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begin()

    def begin(self) -> None:
        """Forget all answers, to start or repeat the job."""
        self.sent = 0  # number of texts that have been sent to workers
        self.answers: list[Any] = [None] * len(self.texts)  # each as a Prediction's fields
        self.models: set[str] = set()  # the versions of the models that answered

    @property
    def model(self) -> str:
        """The version of the model that answered."""
        return next(iter(self.models))

    def predictions(self) -> list[Prediction]:
        """Return the model's answers to the texts."""
        return [Prediction(*answer) for answer in self.answers]


class Part(NamedTuple):
    """The texts of a job that go to a worker together."""

    job: Job
    start: int
    end: int


class Queue:
    """The jobs with texts that have not been sent to a worker."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.size = 0  # waiting texts

    def add(self, job: Job) -> None:
        """Append a job."""
        self.jobs.append(job)
        self.size += len(job.texts)

    def remove(self, job: Job) -> None:
        """Remove a job, if it is in the queue."""
        with contextlib.suppress(ValueError):
            self.jobs.remove(job)
            self.size -= len(job.texts) - job.sent

    def take_batch(self) -> Iterator[Part]:
        """Remove and yield the parts of the next batch for a worker."""
        room = BATCH_COST
        for _ in range(BATCH_REQUESTS):
            if not self.jobs or room <= 0:
                return
            job = self.jobs.popleft()
            if not job.sent:
                metrics.QUEUE_WAIT.observe(time.monotonic() - job.received)
            start, spent = job.sent, 0
            share = min(room, TURN_COST if self.jobs else BATCH_COST)
            while job.sent < len(job.texts) and spent < share:
                spent += estimate_cost(job.texts[job.sent])
                job.sent += 1
            if job.sent < len(job.texts):
                self.jobs.append(job)
            self.size -= job.sent - start
            room -= spent
            yield Part(job, start, job.sent)


def estimate_cost(text: str) -> int:
    """Return the estimated cost of a text, in characters; a model reads only the beginning."""
    return 50 + min(len(text), 500)
