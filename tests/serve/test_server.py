"""Start, drain, kill and reload of the server's processes; all else is tested in process."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from locked.manifest import verify
from serve.jobs import BATCH_COST, estimate_cost
from tests.conftest import HANG, Project
from tests.serve.running import LEAVE, Running, children, logged, runs, serving, start, wait_until

KEY = "only-for-the-tests-of-reload"


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Let processes do nothing during the block."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def test_under_load_workers_die_and_models_change(
    pipeline: Project, classifier_folder: Path, eager: Path, confused: Path, tmp_path: Path
) -> None:
    """Of 24 requests under way, a worker has at most 10: those of its batch, whole."""
    body = {"instances": [{"text": "fire in canada"}] * 50}
    assert 10 * 50 * estimate_cost("fire in canada") == BATCH_COST
    first, second = verify(classifier_folder).version, verify(eager).version
    settings = {"MODEL_URI": str(classifier_folder), "ADMIN_KEY": KEY, "LOG_LEVEL": "error"}
    with (
        serving(pipeline, tmp_path, WORKERS="2", **settings) as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
    ):
        answers: list[tuple[int, float, str]] = []
        kills: list[tuple[float, float]] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                answer = client.post("/predict", json=body)
                model = answer.json().get("model", "")
                answers.append((answer.status_code, time.monotonic(), model))

        def more() -> bool:
            enough = len(answers) + 50
            return wait_until(lambda: len(answers) > enough)

        def both_are_ready() -> bool:
            return wait_until(lambda: server.metric("ready_workers") == 2)

        def kill(pid: int) -> None:
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda: pid not in children(server.process.pid))
            assert both_are_ready()
            kills.append((began, time.monotonic()))

        def reload(model: Path) -> httpx.Response:
            shutil.copytree(model, classifier_folder, dirs_exist_ok=True)
            return client.post("/reload", headers={"X-API-Key": KEY})

        assert both_are_ready()
        with concurrent.futures.ThreadPoolExecutor(24) as pool, contextlib.ExitStack() as stack:
            stack.callback(is_over.set)
            asking = [pool.submit(ask) for _ in range(24)]
            for pid in server.workers():
                assert more()
                kill(pid)
            refused = reload(confused)
            assert refused.status_code == 409
            assert f"{classifier_folder}/manifest.json: golden" in refused.json()["detail"]
            assert more()
            assert reload(eager).json() == {"model": second}
            assert more()
        assert not any(future.exception() for future in asking)
        assert {code for code, _, _ in answers} <= {200, 503}
        lost = [at for code, at, _ in answers if code == 503]
        assert 0 < len(lost) <= 20
        assert all(any(began < at < ready for began, ready in kills) for at in lost)
        assert {model for code, _, model in answers if code == 200} == {first, second}
        kill(server.workers()[0])
        assert client.post("/predict", json=body).json()["model"] == second
        assert "Traceback" not in server.output()


def test_an_end_answers_the_accepted_requests(pipeline: Project, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir()
    body = {"instances": [{"text": f"fire on street {n}"} for n in range(1000)]}
    settings = {"TMPDIR": str(files), "MAX_QUEUE": "1000000"}
    foreign = {"WEB_CONCURRENCY": "auto", "PROMETHEUS_MULTIPROC_DIR": "/nowhere"}
    with (
        serving(pipeline, tmp_path, **settings, **foreign) as server,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        processes = children(server.process.pid)
        with stopped(server.workers()):
            asked = [pool.submit(server.predict, body) for _ in range(3)]
            assert wait_until(lambda: server.metric("queued_tweets") > 2000)  # so all are in
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: refuses(server))
            assert not any(future.done() for future in asked)
        assert server.process.wait(timeout=HANG) == 0, server.output()
        assert [len(f.result()["predictions"]) for f in asked] == [1000] * 3
    assert "Traceback" not in server.output()
    assert "Forcibly" not in server.output()
    assert wait_until(lambda: not any(map(runs, processes)), LEAVE)
    assert list(files.iterdir()) == []  # no copy of the model is left


def refuses(server: Running) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("name", ["main", "http"])
def test_a_killed_process_ends_all(pipeline: Project, tmp_path: Path, name: str) -> None:
    (files := tmp_path / "files").mkdir()
    log = tmp_path / "log"
    with serving(pipeline, tmp_path, TMPDIR=str(files), PREDICTION_LOG=str(log)) as server:
        server.predict({"instances": ["fire"] * 100})
        assert wait_until(lambda: server.metric("prediction_log_lines_total") == 100)
        processes = children(server.process.pid)
        assert len(processes) >= 2
        assert list(files.glob("*/*/network.onnx"))  # its copy of the model
        os.kill(server.process.pid if name == "main" else server.http_process(), signal.SIGKILL)
        assert server.process.wait(timeout=HANG) == (-signal.SIGKILL if name == "main" else 1)
        assert wait_until(lambda: not any(map(runs, processes)))
    assert not list(files.rglob("*"))
    assert len({line["id"] for line in logged(log)}) == 100  # whole lines


@pytest.mark.parametrize("number", [1, 2])  # the HTTP process, then the worker
def test_it_can_be_ended_as_it_starts(pipeline: Project, tmp_path: Path, number: int) -> None:
    server = start(pipeline, tmp_path / "log")
    assert wait_until(lambda: len(children(server.process.pid)) >= number)
    processes = children(server.process.pid)
    output = server.stop()
    assert server.process.returncode == 0, output
    assert "Traceback" not in output
    assert wait_until(lambda: not any(map(runs, processes)))


def test_standard_output_that_nobody_reads_holds_nothing_up(
    pipeline: Project, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "server.log")
    reader = os.open(tmp_path / "server.log", os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(reader), serving(pipeline, tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=HANG) as client:
            for _ in range(600):  # twice the lines that a pipe holds
                assert client.get("/health").status_code == 200
            assert client.post("/predict", json={"text": "fire"}).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=HANG) == 0


def test_a_model_with_other_answers_is_not_served(
    pipeline: Project, confused: Path, tmp_path: Path
) -> None:
    server = start(pipeline, tmp_path / "log", MODEL_URI=str(confused))
    assert server.process.wait(timeout=HANG) == 1
    assert "manifest.json: golden: 'Evacuations as the flood nears' gives" in server.output()
    assert "Traceback" not in server.output()
