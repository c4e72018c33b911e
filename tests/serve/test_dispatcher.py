"""Requests share workers fairly; a worker that fails costs its own batch, and nothing else."""

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fastapi import HTTPException

from serve import dispatcher as dispatcher_module
from serve.dispatcher import Dispatcher, ModelRejectedError, RemoteWorker
from serve.jobs import BATCH_COST, BATCH_REQUESTS, TURN_COST, Job, Queue, estimate_cost

MANY = [float(n) for n in range(1000, 4000)]  # texts of one length
TEXT_COST = estimate_cost(str(MANY[0]))
BATCH_TEXTS, TURN_TEXTS = math.ceil(BATCH_COST / TEXT_COST), math.ceil(TURN_COST / TEXT_COST)
SECOND = Path("second")  # a folder of another model
NO_PROCESS = 2**30  # beyond every system's process ids; killing 0 would end the tests themselves


class FakeWorker(RemoteWorker):
    """A worker's end of the socket, played by the test, so that it says when it answers."""

    @classmethod
    async def start(cls, dispatcher: Dispatcher) -> "FakeWorker":
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(dispatcher.path.parent):  # a socket's whole path may be too long
            connection.connect(dispatcher.path.name)
        worker = cls(*await asyncio.open_unix_connection(sock=connection))
        worker.send(hello=NO_PROCESS)
        assert await worker.receive() == {"do": "load", "folder": str(dispatcher.folder)}
        return worker

    async def accept(self) -> "FakeWorker":
        """Accept the model that it was told to load."""
        self.send(error=None)
        assert await self.receive() == {"do": "swap"}
        return self

    async def texts(self) -> list[str]:
        return list((await self.receive())["texts"])

    async def answer(self, texts: list[str] | None = None, model: str = "m") -> list[str]:
        """Score each text, or each of the next batch, by the number it is."""
        texts = texts or await self.texts()
        self.send(predictions=[["disaster", float(text), None] for text in texts], model=model)
        return texts


Scene = Callable[[Dispatcher, FakeWorker], Awaitable[None]]


def scene(max_queue: int = 10_000, timeout: float = 30) -> Callable[[Scene], Callable[..., None]]:
    """Run a test with a dispatcher and one worker that is ready."""

    def decorate(play: Scene) -> Callable[..., None]:
        async def whole(folder: Path) -> None:
            dispatcher = Dispatcher(folder / "workers.sock", folder / "first", max_queue, timeout)
            dispatcher.listen()
            async with dispatcher.accept_workers():
                await play(dispatcher, await (await FakeWorker.start(dispatcher)).accept())

        return lambda tmp_path: asyncio.run(asyncio.wait_for(whole(tmp_path), 30))

    return decorate


async def scores(*requests: Awaitable[Job]) -> list[list[float]]:
    return [[p.probability for p in (await request).predictions()] for request in requests]


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


async def batches(*requests: list[str]) -> list[list[tuple[int, int, int]]]:
    """Queue requests; return each batch as numbers of a request, its first text and its end."""
    queue, jobs = Queue(), [Job(texts) for texts in requests]
    for job in jobs:
        queue.add(job)
    batches_of_parts = []
    while queue.jobs:
        batches_of_parts.append(
            [(jobs.index(job), start, end) for job, start, end in queue.take_batch()]
        )
    assert queue.size == 0
    return batches_of_parts


def test_requests_take_turns() -> None:
    small, turn, batch, max_requests = [str(MANY[0])], TURN_TEXTS, BATCH_TEXTS, BATCH_REQUESTS
    assert batch == 4 * turn
    # As many as fit, while it is alone
    assert asyncio.run(batches(small * 2 * batch)) == [[(0, 0, batch)], [(0, batch, 2 * batch)]]
    many = asyncio.run(batches(small * 3 * turn, *[small] * (max_requests + 1)))
    assert many[0] == [(0, 0, turn), *((n, 0, 1) for n in range(1, max_requests))]
    assert many[1:] == [[(max_requests, 0, 1), (max_requests + 1, 0, 1), (0, turn, 3 * turn)]]
    assert asyncio.run(batches(*[small * 2 * turn] * 3)) == [
        [(0, 0, turn), (1, 0, turn), (2, 0, turn), (0, turn, 2 * turn)],
        [(1, turn, 2 * turn), (2, turn, 2 * turn)],
    ]
    long = ["x" * 450]  # of which fewer fit
    assert asyncio.run(batches(long * batch))[0] == [(0, 0, BATCH_COST // 500)]
    assert estimate_cost("x" * 1000) == estimate_cost("x" * 500) > estimate_cost("x" * 499)


@scene(max_queue=10)
async def test_the_queue_has_a_limit(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    large = await ask(dispatcher, *range(50))  # one is answered, however large, if none waits
    texts = await worker.texts()
    waiting = [await ask(dispatcher, *range(8)), await ask(dispatcher, 1, 2)]
    assert await error_of(dispatcher.classify(["3"])) == (429, True)
    await worker.answer(texts)
    await worker.answer()
    assert await scores(large, *waiting) == [[*range(50)], [*range(8)], [1, 2]]
    assert dispatcher.queue.size == 0


@scene()
async def test_a_dead_worker_costs_its_batch(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    busy, cancelled = await ask(dispatcher, 0), await ask(dispatcher, 1)
    lost = await ask(dispatcher, *MANY[: 2 * BATCH_TEXTS])
    await worker.answer()
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
    await next_worker.accept()  # before any request
    await next_worker.answer()
    assert await scores(waiting, later) == [[2], [3]]


@scene(timeout=0.1)
async def test_no_request_waits_too_long(dispatcher: Dispatcher, worker: FakeWorker) -> None:
    computed, waiting = await ask(dispatcher, 1), await ask(dispatcher, 2)
    assert await error_of(computed) == await error_of(waiting) == (503, True)
    assert dispatcher.queue.size == 0
    await worker.answer()  # which no request waits for any more
    dispatcher.timeout = 30
    again = await ask(dispatcher, 3)
    await worker.answer()
    assert await scores(again) == [[3]]


@scene()
async def test_one_request_is_answered_by_one_model(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    large = await ask(dispatcher, *MANY[: BATCH_TEXTS + 1])
    first = await worker.texts()
    using = asyncio.create_task(dispatcher.use(SECOND))
    assert await worker.receive() == {"do": "load", "folder": str(SECOND)}
    starting = await FakeWorker.start(dispatcher)  # with the previous model
    killed = asyncio.Event()
    dispatcher.workers[1].kill = killed.set  # type: ignore[method-assign]
    await worker.accept()
    await using
    assert killed.is_set()
    starting.writer.close()
    assert dispatcher.folder == SECOND
    await worker.answer(first, "first")
    await worker.answer(model="second")  # the rest: from another model
    assert await worker.answer(model="second") == first
    await worker.answer(model="second")
    assert (await large).model == "second"
    assert await scores(large) == [MANY[: BATCH_TEXTS + 1]]


@scene()
async def test_a_model_that_one_worker_rejects_is_used_by_none(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    other, first = await (await FakeWorker.start(dispatcher)).accept(), dispatcher.folder
    using = asyncio.create_task(dispatcher.use(SECOND))
    for each, error in ((worker, None), (other, "golden: no")):
        assert (await each.receive())["do"] == "load"
        each.send(error=error)
    with pytest.raises(ModelRejectedError, match="golden: no"):
        await using
    assert dispatcher.folder == first
    both = [await ask(dispatcher, 1), await ask(dispatcher, 2)]
    for each in (worker, other):
        await each.answer()  # the next message: no swap
    assert await scores(*both) == [[1], [2]]


@scene()
async def test_a_worker_that_dies_says_nothing_of_the_model(
    dispatcher: Dispatcher, worker: FakeWorker
) -> None:
    problems: list[str] = []
    dispatcher.on_rejected = problems.append
    (await FakeWorker.start(dispatcher)).writer.close()
    first = dispatcher.folder
    using = asyncio.create_task(dispatcher.use(SECOND))
    assert (await worker.receive())["do"] == "load"
    worker.writer.close()
    assert await error_of(using) == (503, True)
    assert await error_of(dispatcher.use(SECOND)) == (503, True)
    assert (dispatcher.folder, problems) == (first, [])
    (await FakeWorker.start(dispatcher)).send(error="golden: no")
    while not problems:
        await asyncio.sleep(0)
    assert (problems, dispatcher.ready) == (["golden: no"], [])


def test_a_hung_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @scene()
    async def play(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        killed, remote = asyncio.Event(), dispatcher.workers[0]
        monkeypatch.setattr(remote, "kill", killed.set)
        answered = await ask(dispatcher, 0)
        await worker.answer()
        await answered
        assert remote.timer
        assert remote.timer.cancelled()
        monkeypatch.setattr(dispatcher_module, "BATCH_TIMEOUT", 0)
        lost = await ask(dispatcher, 1)
        await worker.texts()
        await killed.wait()
        worker.writer.close()
        assert await error_of(lost) == (503, True)

    play(tmp_path)
