"""Requests share workers fairly; a worker that fails costs what it had, and nothing else."""

import asyncio
import concurrent.futures
import os
import signal
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException

from serve.dispatcher import Dispatcher
from serve.jobs import BATCH, Job, cost
from serve.remote_worker import ModelRejectedError, NoWorkerError
from tests.conftest import HANG, Project
from tests.serve.fake_worker import MANY, FakeWorker, ask, fit, play
from tests.serve.running import children, load, serving, wait_until


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
        assert [getattr(o, "scores", o) for o in outcomes if isinstance(o, Job)] == [[1], [3]]
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
        assert (await waiting).scores == [2]

    play(tmp_path, scene)


def test_what_waits_too_long_is_told(tmp_path: Path) -> None:
    async def scene(dispatcher: Dispatcher, worker: FakeWorker) -> None:
        worker.writer.close()
        while dispatcher.ready:
            await asyncio.sleep(0.01)
        with pytest.raises(HTTPException) as late:
            await dispatcher.classify(["1"])
        assert (late.value.status_code, late.value.detail) == (503, "too late; try again")
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
        assert (await large).scores == MANY[: fit(BATCH) + 1]

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
        worker.writer.close()
        while dispatcher.ready:
            await asyncio.sleep(0.01)
        using = asyncio.create_task(dispatcher.use(tmp_path / "second"))
        await asyncio.sleep(0.01)
        heir = await FakeWorker.connect(dispatcher.path)
        assert await heir.hear() == {"do": "load", "folder": str(tmp_path / "second")}
        await heir.say(loaded=str(tmp_path / "first"), error=None)  # of an attempt before
        await heir.say(loaded=str(tmp_path / "second"), error="golden: no")
        with pytest.raises(ModelRejectedError, match="golden: no"):
            await using
        assert dispatcher.folder == tmp_path / "first"

    play(tmp_path, scene)


@pytest.mark.alone
def test_a_killed_worker_is_replaced_under_load(pipeline: Project, tmp_path: Path) -> None:
    """Of 24 requests on their way, a worker has at most 10: what its batch holds of them, whole."""
    body = {"instances": [{"text": "fire in canada"}] * 50}
    assert 10 * 50 * cost("fire in canada") == BATCH
    with (
        serving(pipeline, tmp_path, WORKERS="2", LOG_LEVEL="error") as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
    ):
        assert wait_until(lambda: server.metric("ready_workers") == 2)
        answers: list[tuple[int, float]] = []
        kills: list[tuple[float, float]] = []
        killed: set[int] = set()

        def ask() -> None:
            code = client.post("/predict", json=body).status_code
            answers.append((code, time.monotonic()))

        def more() -> bool:
            enough = len(answers) + 50
            return wait_until(lambda: len(answers) > enough)

        with load(ask, 24):
            for pid in server.workers():
                assert more()
                began = time.monotonic()
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
                assert wait_until(lambda: not killed & set(children(server.process.pid)))
                assert wait_until(lambda: server.metric("ready_workers") == 2)
                kills.append((began, time.monotonic()))
                assert server.health() == 200
            assert more()
        codes = Counter(code for code, _ in answers)
        assert set(codes) <= {200, 503}
        assert 0 < codes[503] <= 20
        assert codes[200] > 100
        refused = [at for code, at in answers if code == 503]
        assert all(any(began < at < ready for began, ready in kills) for at in refused)
        assert client.post("/predict", json={"text": "fire"}).status_code == 200
        assert "Traceback" not in server.output()


@pytest.mark.alone
def test_a_hung_worker_is_replaced(pipeline: Project, tmp_path: Path) -> None:
    with (
        serving(pipeline, tmp_path, MAX_QUEUE="20", REQUEST_TIMEOUT="4") as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        body = {"instances": [{"text": "fire"}] * 10}
        asked = [pool.submit(client.post, "/predict", json=body) for _ in range(3)]
        assert wait_until(lambda: server.metric("queued_tweets") == 20)
        refused = client.post("/predict", json=body)
        assert refused.status_code == 429
        assert not any(future.done() for future in asked), "it is refused at once"
        assert int(refused.headers["Retry-After"]) > 0
        assert {future.result().status_code for future in asked} == {503}
        assert all("Retry-After" in future.result().headers for future in asked)
        assert wait_until(lambda: worker not in server.workers())
        assert wait_until(lambda: server.health() == 200)
        assert client.post("/predict", json=body).status_code == 200


@pytest.mark.alone
def test_more_than_can_be_answered_is_refused_and_forgotten(
    pipeline: Project, tmp_path: Path
) -> None:
    with (
        serving(pipeline, tmp_path, MAX_QUEUE="200", LOG_LEVEL="error") as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor(32) as pool,
    ):
        body = {"instances": [{"text": f"fire on street {n}"} for n in range(150)]}
        answers = list(pool.map(lambda _: client.post("/predict", json=body), range(200)))
        codes = Counter(answer.status_code for answer in answers)
        assert set(codes) == {200, 429}
        assert all("Retry-After" in a.headers for a in answers if a.status_code == 429)
        assert server.metric("queued_tweets") == 0
        assert server.metric('rejected_total{reason="queue"}') == codes[429]
        assert client.post("/predict", json=body).status_code == 200
