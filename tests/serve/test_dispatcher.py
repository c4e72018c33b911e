"""Requests share workers fairly; a worker that fails costs what it had, and nothing else."""

import asyncio
from pathlib import Path

import pytest
from fastapi import HTTPException

from serve import dispatcher as dispatcher_module
from serve.dispatcher import Dispatcher
from serve.jobs import BATCH, Job
from serve.remote_worker import ModelRejectedError, NoWorkerError
from tests.serve.fake_worker import MANY, FakeWorker, ask, fit, play, scores


def test_a_batch_that_fails_is_tried_one_by_one(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        busy = ask(dispatcher, 0)
        await worker.texts()
        jobs = [ask(dispatcher, 1), ask(dispatcher, 2), ask(dispatcher, 3)]
        await asyncio.sleep(0)
        await worker.answer(["0"])
        await busy
        tried = []
        for _ in range(4):
            tried.append(texts := await worker.texts())
            if "2" in texts:
                await worker.say(failed="RuntimeError")
            else:
                await worker.answer(texts)
        assert tried[0] == ["1", "2", "3"]
        assert sorted(tried[1:]) == [["1"], ["2"], ["3"]]
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [scores(o) for o in outcomes if isinstance(o, Job)] == [[1], [3]]
        assert isinstance(outcomes[1], HTTPException)
        assert outcomes[1].status_code == 500

    play(tmp_path, scene)


def test_a_dead_worker_takes_its_own_requests_along(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        lost = ask(dispatcher, 1)
        await worker.texts()
        waiting = ask(dispatcher, 2)
        await asyncio.sleep(0)
        assert dispatcher.ready
        worker.writer.close()
        with pytest.raises(HTTPException) as died:
            await lost
        assert died.value.status_code == 503
        assert not dispatcher.ready
        heir = await FakeWorker.connect(dispatcher.path)
        await heir.answer(await heir.texts())
        assert scores(await waiting) == [2]

    play(tmp_path, scene)


def test_what_waits_too_long_is_told(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        await worker.leave(dispatcher)
        with pytest.raises(HTTPException) as late:
            await dispatcher.classify(["1"])
        assert (late.value.status_code, late.value.detail) == (
            503,
            "no answer in time; retry later",
        )
        assert dispatcher.queue.texts == 0

    play(tmp_path, scene, timeout=0.2)


def test_one_request_is_answered_by_one_model(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        large = ask(dispatcher, *MANY[: fit(BATCH) + 1])
        texts = await worker.texts()
        using = asyncio.create_task(dispatcher.use(tmp_path / "second"))
        assert (await worker.hear())["do"] == "load"
        await worker.say(loaded=str(tmp_path / "second"), error=None)
        assert await worker.hear() == {"do": "swap"}
        await using
        await worker.answer(texts, "first")
        await worker.answer(await worker.texts(), "second")  # the rest: from another model
        again = await worker.texts()
        assert again == texts
        await worker.answer(again, "second")
        await worker.answer(await worker.texts(), "second")
        assert (await large).model == "second"
        assert scores(await large) == MANY[: fit(BATCH) + 1]

    play(tmp_path, scene)


def test_a_model_that_one_worker_rejects_is_used_by_none(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        other = await FakeWorker.connect(dispatcher.path)
        using = asyncio.create_task(dispatcher.use(tmp_path / "second"))
        for each, error in ((worker, None), (other, "golden: no")):
            assert (await each.hear())["do"] == "load"
            await each.say(loaded=str(tmp_path / "second"), error=error)
        with pytest.raises(ModelRejectedError, match="golden: no"):
            await using
        for each in (worker, other):
            assert await each.hear() == {"do": "forget"}
        assert dispatcher.folder == tmp_path / "first"

    play(tmp_path, scene)


def test_a_worker_that_dies_says_nothing_of_the_model(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        broken: list[str] = []
        dispatcher.on_broken = broken.append
        unlucky = FakeWorker(*await asyncio.open_unix_connection(dispatcher.path))
        await unlucky.say(hello=0)
        assert (await unlucky.hear())["do"] == "load"
        unlucky.writer.close()
        using = asyncio.create_task(dispatcher.use(tmp_path / "second"))
        assert (await worker.hear())["do"] == "load"
        worker.writer.close()
        with pytest.raises(NoWorkerError):
            await using
        assert dispatcher.folder == tmp_path / "first"
        assert not broken

    play(tmp_path, scene)


def test_no_model_is_taken_untried(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        await worker.leave(dispatcher)
        using = asyncio.create_task(dispatcher.use(tmp_path / "second"))
        await asyncio.sleep(0)
        heir = await FakeWorker.connect(dispatcher.path)
        assert await heir.hear() == {"do": "load", "folder": str(tmp_path / "second")}
        await heir.say(loaded=str(tmp_path / "first"), error=None)  # of an attempt before
        await heir.say(loaded=str(tmp_path / "second"), error="golden: no")
        with pytest.raises(ModelRejectedError, match="golden: no"):
            await using
        assert dispatcher.folder == tmp_path / "first"

    play(tmp_path, scene)


def test_a_hung_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "HANG", 0.1)

    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        killed = asyncio.Event()
        monkeypatch.setattr(dispatcher.workers[0], "kill", killed.set)
        lost = ask(dispatcher, 1)
        await worker.texts()
        await killed.wait()
        worker.writer.close()
        with pytest.raises(HTTPException):
            await lost

    play(tmp_path, scene)
