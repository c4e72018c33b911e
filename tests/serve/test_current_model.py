"""Another model takes the place of the one in use, under load, and a bad one does not."""

import concurrent.futures
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from locked.manifest import verify
from tests.conftest import HANG, Project
from tests.serve.conftest import altered
from tests.serve.running import Running, children, load, serving, wait_until

KEY = "only-for-the-tests-of-reload"
ADMIN = {"X-API-Key": KEY}


@pytest.fixture
def place(pipeline: Project, tmp_path: Path) -> Path:
    """Where a server looks for its model."""
    return altered(pipeline.folder / "models/classifier", tmp_path / "place")


@pytest.fixture
def own(pipeline: Project, place: Path, tmp_path: Path) -> Iterator[Running]:
    with serving(
        pipeline, tmp_path, MODEL_URI=str(place), ADMIN_KEY=KEY, WORKERS="2", LOG_LEVEL="warning"
    ) as server:
        assert wait_until(lambda: server.metric("ready_workers") == 2)
        yield server


def put(model: Path, place: Path) -> None:
    shutil.rmtree(place)
    shutil.copytree(model, place)


def reload(server: Running, **body: bool) -> httpx.Response:
    return httpx.post(f"{server.url}/reload", json=body, headers=ADMIN, timeout=HANG)


@pytest.mark.alone
def test_another_model_under_load(own: Running, place: Path, eager: Path) -> None:
    first, second = verify(place), verify(eager)
    texts = [f"this mixtape is fire {n}" for n in range(40)]
    body = {"instances": [{"text": text} for text in texts]}
    answers: list[httpx.Response] = []

    def more() -> bool:
        enough = len(answers) + 20
        return wait_until(lambda: len(answers) > enough)

    with (
        httpx.Client(base_url=own.url, timeout=HANG) as client,
        load(lambda: answers.append(client.post("/predict", json=body)), 8),
    ):
        assert more()
        put(eager, place)
        said = reload(own)
        assert said.status_code == 200, said.text
        assert said.json() == {"model": second.version, "previous": first.version}
        fresh = client.post("/predict", json={"text": texts[0]}).json()
        assert (fresh["model"], fresh["label"]) == (second.version, "disaster")
        assert more()
        back = reload(own, previous=True)
        assert back.json() == {"model": first.version, "previous": second.version}
        assert more()
    assert {answer.status_code for answer in answers} == {200}
    used = {answer.json()["model"] for answer in answers}
    assert used == {first.version, second.version}
    thresholds = {first.version: first.threshold, second.version: second.threshold}
    for answer in answers:
        threshold = thresholds[answer.json()["model"]]
        for one in answer.json()["predictions"]:
            assert (one["label"] == "disaster") == (one["probability"] >= threshold)
    assert own.metric('model_swaps_total{outcome="done"}') == 2
    assert own.metric(f'model_info{{version="{first.version}"}}') == 1
    assert own.metric(f'model_info{{version="{second.version}"}}') == 0
    assert "Traceback" not in own.output()


def test_a_bad_model_leaves_the_old_one(own: Running, place: Path, confused: Path) -> None:
    first = verify(place).version
    put(confused, place)
    said = reload(own)
    assert said.status_code == 409
    assert "manifest.json: golden: 'Evacuations as the flood nears' gives" in said.json()["detail"]
    (place / "network.onnx").write_bytes(b"nothing")
    said = reload(own)
    assert said.status_code == 409
    assert said.json()["detail"].startswith(f"{place}/network.onnx has been altered")
    shutil.rmtree(place)
    said = reload(own)
    assert said.status_code == 409
    assert "manifest.json is missing" in said.json()["detail"]
    assert httpx.get(f"{own.url}/info").json()["model"]["version"] == first
    answer = httpx.post(f"{own.url}/predict", json={"text": "fire"})
    assert (answer.status_code, answer.json()["model"]) == (200, first)
    assert own.metric('model_swaps_total{outcome="rejected"}') == 3


def test_there_is_nothing_to_go_back_to_at_first(own: Running) -> None:
    said = reload(own, previous=True)
    assert said.status_code == 409
    assert "no other model" in said.json()["detail"]


def test_a_replaced_worker_has_the_model_in_use(own: Running, place: Path, eager: Path) -> None:
    put(eager, place)
    assert reload(own).status_code == 200
    killed = own.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not {*killed} & {*children(own.process.pid)})  # else still counted
    assert wait_until(lambda: own.metric("ready_workers") == 2)
    answer = httpx.post(f"{own.url}/predict", json={"text": "fire"}).json()
    assert answer["model"] == verify(eager).version


@pytest.mark.alone
def test_a_bad_model_is_not_taken_while_workers_die(
    own: Running, place: Path, confused: Path
) -> None:
    first = verify(place).version
    put(confused, place)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for pid in own.workers():
            os.kill(pid, signal.SIGKILL)
        said = pool.submit(reload, own).result()
    assert said.status_code in (409, 503), said.text
    assert wait_until(lambda: own.metric("ready_workers") == 2)
    answer = httpx.post(f"{own.url}/predict", json={"text": "fire"})
    assert (answer.status_code, answer.json()["model"]) == (200, first)


def test_without_its_key_nobody_reloads(own: Running) -> None:
    for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}):
        answer = httpx.post(f"{own.url}/reload", json={}, headers=headers)
        assert answer.status_code == 401
        assert KEY not in answer.text


def test_without_an_admin_key_there_is_no_reload(server: Running) -> None:
    assert httpx.post(f"{server.url}/reload", json={}, headers=ADMIN).status_code == 404


def test_a_server_that_polls_finds_the_next_model(
    pipeline: Project, place: Path, eager: Path, confused: Path, tmp_path: Path
) -> None:
    with serving(pipeline, tmp_path, MODEL_URI=str(place), MODEL_POLL="0.2") as server:

        def version() -> str:
            return str(httpx.get(f"{server.url}/info").json()["model"]["version"])

        put(confused, place)
        assert wait_until(lambda: "golden" in server.output())
        manifest = (eager / "manifest.json").read_bytes()
        (place / "manifest.json").write_bytes(manifest)
        (place / "network.onnx").rename(place / "later")  # an upload that is not complete
        assert wait_until(lambda: "missing" in server.output())
        (place / "later").rename(place / "network.onnx")
        assert wait_until(lambda: version() == verify(eager).version)
