"""Requests share workers fairly."""

import asyncio
import math
from pathlib import Path

import pytest
from fastapi import HTTPException

from serve.dispatcher import Dispatcher
from serve.jobs import BATCH, TURN, cost
from tests.serve.fake_worker import MANY, FakeWorker, ask, fit, play, scores


def test_who_waits_together_is_answered_together(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        first = ask(dispatcher, 0.1)
        assert await worker.texts() == ["0.1"]  # at once: nobody else was waiting
        others = [ask(dispatcher, 0.2, 0.3), ask(dispatcher, 0.4)]
        await asyncio.sleep(0)
        await worker.answer(["0.1"])
        texts = await worker.texts()
        assert texts == ["0.2", "0.3", "0.4"]
        await worker.answer(texts)
        assert scores(await first) == [0.1]
        assert [scores(await job) for job in others] == [[0.2, 0.3], [0.4]]
        assert (await first).model == "m"

    play(tmp_path, scene)


def test_a_large_request_takes_turns_with_small_ones(tmp_path: Path) -> None:
    batch, turn = fit(BATCH), fit(TURN)

    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        large = ask(dispatcher, *MANY[: 3 * batch])
        assert len(await worker.texts()) == batch  # while it is alone
        small = ask(dispatcher, 5000)
        await asyncio.sleep(0)
        await worker.answer([str(n) for n in MANY[:batch]])
        texts = await worker.texts()
        assert texts[turn] == "5000"
        assert len(texts) == batch
        await worker.answer(texts)
        assert scores(await small) == [5000]
        rest = 3 * batch - batch - (len(texts) - 1)
        while rest:
            await worker.answer(texts := await worker.texts())
            rest -= len(texts)
        assert scores(await large) == MANY[: 3 * batch]

    play(tmp_path, scene)


def test_long_texts_fill_a_batch_sooner(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        long = asyncio.create_task(dispatcher.classify(["1" + " " * 399] * 2 * fit(BATCH)))
        texts = await worker.texts()
        assert len(texts) == math.ceil(BATCH / cost(texts[0])) < fit(BATCH) / 5
        long.cancel()

    play(tmp_path, scene)


def test_a_full_queue_is_said_at_once(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        ask(dispatcher, 0)
        assert await worker.texts() == ["0"]
        waiting = ask(dispatcher, *range(8))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException) as refused:
            await dispatcher.classify(["1", "2", "3"])
        assert refused.value.status_code == 429
        assert refused.value.headers
        assert int(refused.value.headers["Retry-After"]) > 0
        await worker.answer(["0"])
        await worker.answer(await worker.texts())
        assert len(scores(await waiting)) == 8
        assert dispatcher.queue.texts == 0

    play(tmp_path, scene, max_queue=10)


def test_a_request_larger_than_the_queue_is_answered_when_it_is_alone(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        large = ask(dispatcher, *range(50))
        await worker.answer(await worker.texts())
        assert len(scores(await large)) == 50

    play(tmp_path, scene, max_queue=10)
