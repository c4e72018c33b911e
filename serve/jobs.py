"""The queue of texts: requests take turns, so that one of many does not hold up the others."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fastapi import HTTPException

from locked.labels import label
from serve import metrics
from serve.schema import Prediction

BATCH = 32_000  # cost of a batch; more gains little, and what comes next waits longer
TURN = 8_000  # cost that one request may have in a batch while others wait
REQUESTS = 48  # of a batch: while it computes, others' answers are written and new ones come


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Job:
    """The texts of one request, and what comes of them."""

    texts: list[str]
    done: "asyncio.Future[None]" = field(default_factory=_future)
    received: float = field(default_factory=time.monotonic)
    attempt: int = 0
    given: int = 0  # texts that were handed to workers
    left: int = 0  # texts without an answer
    scores: list[float] = field(default_factory=list)
    models: set[tuple[str, float]] = field(default_factory=set)  # that answered
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

    def end(self, error: HTTPException | None = None) -> None:
        """Let go on who waits, unless that is over."""
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
        """Whether its answer is still waited for."""
        return self.attempt == self.job.attempt and not self.job.done.done()

    @property
    def texts(self) -> list[str]:
        """What the worker is to answer."""
        return self.job.texts[self.start : self.end]


class Queue:
    """Jobs whose texts were not all handed out."""

    def __init__(self) -> None:
        self.jobs: deque[Job] = deque()
        self.texts = 0  # that wait

    def add(self, job: Job) -> None:
        """Let a job wait behind the others."""
        self.jobs.append(job)
        self.texts += len(job.texts)

    def again(self, job: Job) -> None:
        """Let a job begin anew, before the others."""
        self.remove(job)
        job.reset()
        self.jobs.appendleft(job)
        self.texts += len(job.texts)

    def remove(self, job: Job) -> None:
        """Let a job wait no longer, if it does."""
        with contextlib.suppress(ValueError):
            self.jobs.remove(job)
            self.texts -= len(job.texts) - job.given

    def next_batch(self) -> Iterator[Part]:
        """Take out what a worker gets next."""
        room = BATCH
        for _ in range(REQUESTS):
            if not self.jobs or room <= 0:
                return
            job = self.jobs.popleft()
            if job.alone and room < BATCH:
                self.jobs.appendleft(job)
                return
            if not job.given:
                metrics.QUEUE_WAIT.observe(time.monotonic() - job.received)
            start, spent = job.given, 0
            share = min(room, TURN if self.jobs else BATCH)
            while job.given < len(job.texts) and spent < share:
                spent += cost(job.texts[job.given])
                job.given += 1
            if job.given < len(job.texts):
                self.jobs.append(job)
            self.texts -= job.given - start
            room = 0 if job.alone else room - spent
            yield Part(job, job.attempt, start, job.given)


def cost(text: str) -> int:
    """Estimate what a text costs: its characters, as far as a model may read them."""
    return 50 + min(len(text), 500)
