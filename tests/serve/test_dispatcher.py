"""Requests share workers fairly; a worker that fails costs its own batch, and nothing else."""

import asyncio
import contextlib
import json
import math
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException

from serve import dispatcher as dispatcher_module
from serve.dispatcher import Dispatcher, ModelRejectedError
from serve.jobs import BATCH_COST, BATCH_REQUESTS, TURN_COST, Job, cost
from serve.worker import Prediction, Worker

MANY = [float(n) for n in range(1000, 4000)]  # texts of one length
BATCH_TEXTS, TURN_TEXTS = (math.ceil(room / cost(str(MANY[0]))) for room in (BATCH_COST, TURN_COST))
NO_PROCESS = 2**30  # beyond every system's process ids; killing 0 would end the tests themselves


class FakeWorker:
    """A worker's end of the socket, played by the test, so that it says when it answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def start(cls, dispatcher: Dispatcher) -> "FakeWorker":
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(dispatcher.path.parent):  # a socket's whole path may be too long
            connection.connect(dispatcher.path.name)
        worker = cls(*await asyncio.open_unix_connection(sock=connection))
        await worker.say(hello=NO_PROCESS)
        assert await worker.hear() == {"do": "load", "folder": str(dispatcher.folder)}
        return worker

    @classmethod
    async def connect(cls, dispatcher: Dispatcher) -> "FakeWorker":
        worker = await cls.start(dispatcher)
        await worker.say(error=None)
        assert await worker.hear() == {"do": "swap"}
        return worker

    async def say(self, **message: Any) -> None:  # noqa: ANN401
        text = json.dumps(message).encode()
        self.writer.write(struct.pack("!i", len(text)) + text)
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        (length,) = struct.unpack("!i", await self.reader.readexactly(4))
        return dict(json.loads(await self.reader.readexactly(length)))

    async def leave(self, dispatcher: Dispatcher) -> None:
        self.writer.close()
        while dispatcher.ready:
            await asyncio.sleep(0)

    async def texts(self) -> list[str]:
        return list((await self.hear())["texts"])

    async def answer(self, texts: list[str], model: str = "m") -> None:
        """Score each text by the number it is; -1 fails."""
        scores = [["disaster", float(t), None] if t != "-1" else "RuntimeError" for t in texts]
        await self.say(predictions=scores, model=model)


Scene = Callable[[Dispatcher, FakeWorker], Awaitable[None]]


def scene(max_queue: int = 10_000, timeout: float = 30) -> Callable[[Scene], Callable[..., None]]:
    """Run a test with a dispatcher and one worker that is ready."""

    def decorate(play: Scene) -> Callable[..., None]:
        async def whole(folder: Path) -> None:
            dispatcher = Dispatcher(folder / "workers.sock", folder / "first", max_queue, timeout)
            dispatcher.listen()
            async with dispatcher.running():
                await play(dispatcher, await FakeWorker.connect(dispatcher))

        return lambda tmp_path: asyncio.run(asyncio.wait_for(whole(tmp_path), 30))

    return decorate


def scores(job: Job) -> list[float]:
    return [prediction.probability for prediction in job.predictions()]


async def ask(dispatcher: Dispatcher, *numbers: float) -> asyncio.Task[Job]:
    """Put a request into the queue."""
    task = asyncio.create_task(dispatcher.classify([str(n) for n in numbers]))
    await asyncio.sleep(0)
    return task


async def error_of(task: Awaitable[object]) -> tuple[int, bool]:
    """Return the status of a request that fails, and whether it may be repeated."""
    with pytest.raises(HTTPException) as failure:
        await task
    return failure.value.status_code, "Retry-After" in (failure.value.headers or {})


@scene()
async def test_waiting_requests_share_a_batch(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    first = await ask(dispatcher, 0.1)
    assert await worker.texts() == ["0.1"]  # at once: no other was waiting
    others = [await ask(dispatcher, 0.2, 0.3), await ask(dispatcher, 0.4)]
    await worker.answer(["0.1"])
    await worker.answer(texts := await worker.texts())
    assert texts == ["0.2", "0.3", "0.4"]
    assert [scores(await job) for job in (first, *others)] == [[0.1], [0.2, 0.3], [0.4]]
    assert (await first).model == "m"


@scene()
async def test_a_large_request_takes_turns_with_small_ones(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    large = await ask(dispatcher, *MANY[: 3 * BATCH_TEXTS])
    await worker.texts()
    small = [await ask(dispatcher, 5000 + n) for n in range(BATCH_REQUESTS + 1)]
    await worker.answer([str(n) for n in MANY[:BATCH_TEXTS]])  # as many as fit, while it is alone
    texts = await worker.texts()
    assert texts[TURN_TEXTS : TURN_TEXTS + BATCH_REQUESTS - 1] == [
        str(5000 + n) for n in range(BATCH_REQUESTS - 1)
    ]
    assert len(texts) == TURN_TEXTS + BATCH_REQUESTS - 1
    assert dispatcher.queue.size == 2 * BATCH_TEXTS - TURN_TEXTS + 2
    await worker.answer(texts)
    rest = 2 * BATCH_TEXTS - TURN_TEXTS + 2
    while rest:
        await worker.answer(texts := await worker.texts())
        rest -= len(texts)
    assert scores(await large) == MANY[: 3 * BATCH_TEXTS]
    assert [scores(await job) for job in small] == [[5000 + n] for n in range(BATCH_REQUESTS + 1)]


@scene()
async def test_large_requests_take_turns(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    await ask(dispatcher, 0)
    await worker.texts()
    size, turn = 2 * TURN_TEXTS, TURN_TEXTS
    a, b, c = (MANY[start : start + size] for start in (0, size, 2 * size))
    jobs = [await ask(dispatcher, *numbers) for numbers in (a, b, c)]
    await worker.answer(["0"])
    await worker.answer(first := await worker.texts())
    await worker.answer(second := await worker.texts())
    turns = [*a[:turn], *b[:turn], *c[:turn], *a[turn:], *b[turn:], *c[turn:]]
    assert first + second == [str(n) for n in turns]
    assert len(first) == BATCH_TEXTS
    assert [scores(await job) for job in jobs] == [a, b, c]


@scene()
async def test_long_texts_fill_a_batch_sooner(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    long = ["1" + " " * 449] * 2 * BATCH_TEXTS
    assert BATCH_COST % cost(long[0]) == 0
    task = asyncio.create_task(dispatcher.classify(long))
    assert len(await worker.texts()) == BATCH_COST // cost(long[0]) < BATCH_TEXTS / 5
    task.cancel()
    assert cost("x" * 1000) == cost("x" * 500) > cost("x" * 499)


@scene(max_queue=10)
async def test_the_queue_has_a_limit(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    large = await ask(dispatcher, *range(50))  # one is answered, however large, if none waits
    await worker.texts()
    waiting = [await ask(dispatcher, *range(8)), await ask(dispatcher, 1, 2)]
    assert await error_of(dispatcher.classify(["3"])) == (429, True)
    await worker.answer([str(n) for n in range(50)])
    await worker.answer(await worker.texts())
    assert [len(scores(await job)) for job in (large, *waiting)] == [50, 8, 2]
    assert dispatcher.queue.size == 0


@scene()
async def test_a_text_that_fails_the_model_costs_its_request(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    busy = await ask(dispatcher, 0)
    await worker.texts()
    jobs = [await ask(dispatcher, 1), await ask(dispatcher, 2, -1, 3), await ask(dispatcher, 4)]
    await worker.answer(["0"])
    await worker.answer(await worker.texts())
    assert await error_of(jobs[1]) == (500, False)
    assert [scores(await job) for job in (busy, jobs[0], jobs[2])] == [[0], [1], [4]]


def test_a_worker_finds_the_text_that_fails() -> None:
    def predict(texts: list[str]) -> list[Prediction]:
        return [Prediction("disaster", 1 / float(text), None) for text in texts]

    worker = Worker()
    worker.api = SimpleNamespace(predict=predict)
    assert [p[1] for p in worker.predict(["1", "2"])] == [1, 0.5]
    assert [p[1] for p in worker.predict(["1", "0", "2"])] == [1, "e", 0.5]  # ZeroDivisionError
    assert worker.predict(["0"]) == ["ZeroDivisionError"]


@scene()
async def test_a_dead_worker_costs_its_batch(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    busy, cancelled = await ask(dispatcher, 0), await ask(dispatcher, 1)
    lost = await ask(dispatcher, *MANY[: 2 * BATCH_TEXTS])
    await worker.answer(await worker.texts())
    await worker.texts()
    await busy
    waiting = await ask(dispatcher, 2)
    cancelled.cancel()
    assert dispatcher.ready
    worker.writer.close()
    assert await error_of(lost) == (503, True)
    assert not dispatcher.ready
    assert dispatcher.queue.size == 1  # without the rest of the lost one
    next_worker = await FakeWorker.start(dispatcher)
    later = await ask(dispatcher, 3)
    await next_worker.say(error=None)
    assert await next_worker.hear() == {"do": "swap"}  # before any request
    await next_worker.answer(await next_worker.texts())
    assert [scores(await job) for job in (waiting, later)] == [[2], [3]]


@scene(timeout=0.1)
async def test_no_request_waits_too_long(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    computed, waiting = await ask(dispatcher, 1), await ask(dispatcher, 2)
    assert await error_of(computed) == await error_of(waiting) == (503, True)
    assert dispatcher.queue.size == 0
    await worker.answer(await worker.texts())  # which no request waits for any more
    dispatcher.timeout = 30
    again = await ask(dispatcher, 3)
    await worker.answer(await worker.texts())
    assert scores(await again) == [3]


@scene()
async def test_one_request_is_answered_by_one_model(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    large = await ask(dispatcher, *MANY[: BATCH_TEXTS + 1])
    first = await worker.texts()
    second = dispatcher.path.with_name("second")
    using = asyncio.create_task(dispatcher.use(second))
    assert await worker.hear() == {"do": "load", "folder": str(second)}
    starting = await FakeWorker.start(dispatcher)  # with the previous model
    killed = asyncio.Event()
    dispatcher.workers[1].kill = killed.set  # type: ignore[method-assign]
    await worker.say(error=None)
    assert await worker.hear() == {"do": "swap"}
    await using
    assert killed.is_set()
    starting.writer.close()
    assert dispatcher.folder == second
    await worker.answer(first, "first")
    await worker.answer(await worker.texts(), "second")  # the rest: from another model
    assert await worker.texts() == first
    await worker.answer(first, "second")
    await worker.answer(await worker.texts(), "second")
    assert (await large).model == "second"
    assert scores(await large) == MANY[: BATCH_TEXTS + 1]


@scene()
async def test_a_model_that_one_worker_rejects_is_used_by_none(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    other, folder = await FakeWorker.connect(dispatcher), dispatcher.folder
    using = asyncio.create_task(dispatcher.use(dispatcher.path.with_name("second")))
    for each, error in ((worker, None), (other, "golden: no")):
        assert (await each.hear())["do"] == "load"
        await each.say(error=error)
    with pytest.raises(ModelRejectedError, match="golden: no"):
        await using
    assert dispatcher.folder == folder
    both = [await ask(dispatcher, 1), await ask(dispatcher, 2)]
    for each in (worker, other):
        await each.answer(await each.texts())  # which are the next message: no swap
    assert [scores(await job) for job in both] == [[1], [2]]


@scene()
async def test_a_worker_that_dies_says_nothing_of_the_model(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    problems: list[str] = []
    dispatcher.on_rejected = problems.append
    (await FakeWorker.start(dispatcher)).writer.close()
    folder = dispatcher.folder
    using = asyncio.create_task(dispatcher.use(dispatcher.path.with_name("second")))
    assert (await worker.hear())["do"] == "load"
    worker.writer.close()
    assert await error_of(using) == (503, True)
    assert await error_of(dispatcher.use(dispatcher.path.with_name("second"))) == (503, True)
    assert dispatcher.folder == folder
    assert not problems
    await (await FakeWorker.start(dispatcher)).say(error="golden: no")
    while not problems:
        await asyncio.sleep(0)
    assert problems == ["golden: no"]
    assert not dispatcher.ready


def test_a_hung_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @scene()
    async def play(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        killed, remote = asyncio.Event(), dispatcher.workers[0]
        monkeypatch.setattr(remote, "kill", killed.set)
        answered = await ask(dispatcher, 0)
        await worker.answer(await worker.texts())
        await answered
        assert remote.limit
        assert remote.limit.cancelled()
        monkeypatch.setattr(dispatcher_module, "BATCH_TIMEOUT", 0)
        lost = await ask(dispatcher, 1)
        await worker.texts()
        await killed.wait()
        worker.writer.close()
        assert await error_of(lost) == (503, True)

    play(tmp_path)
