"""Start, drain, kill and reload of the server's processes; all else is tested in process."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from locked.manifest import verify
from serve.jobs import BATCH_COST, cost
from tests.conftest import HANG, Project
from tests.serve.conftest import put
from tests.serve.running import (
    LEAVE,
    children,
    load,
    logged,
    runs,
    serving,
    start,
    wait_until,
)

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
    assert 10 * 50 * cost("fire in canada") == BATCH_COST
    first, second = verify(classifier_folder).version, verify(eager).version
    settings = {"MODEL_URI": str(classifier_folder), "ADMIN_KEY": KEY, "LOG_LEVEL": "error"}
    with (
        serving(pipeline, tmp_path, WORKERS="2", **settings) as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
    ):
        assert wait_until(lambda: server.metric("ready_workers") == 2)
        answers: list[tuple[int, float, str]] = []
        kills: list[tuple[float, float]] = []

        def ask() -> None:
            answer = client.post("/predict", json=body)
            answers.append((answer.status_code, time.monotonic(), answer.json().get("model", "")))

        def more() -> bool:
            enough = len(answers) + 50
            return wait_until(lambda: len(answers) > enough)

        def reload() -> httpx.Response:
            return client.post("/reload", json={}, headers={"X-API-Key": KEY})

        killed: set[int] = set()
        with load(ask, 24):
            for pid in server.workers():
                assert more()
                began = time.monotonic()
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
                assert wait_until(lambda: not killed & set(children(server.process.pid)))
                assert wait_until(lambda: server.metric("ready_workers") == 2)
                kills.append((began, time.monotonic()))
            put(confused, classifier_folder)
            refused = reload()
            assert refused.status_code == 409
            assert f"{classifier_folder}/manifest.json: golden" in refused.json()["detail"]
            assert more()
            put(eager, classifier_folder)
            assert reload().json() == {"model": second, "previous": first}
            swapped = time.monotonic()
            assert more()
        codes = Counter(code for code, _, _ in answers)
        assert set(codes) <= {200, 503}
        assert 0 < codes[503] <= 20
        lost = [at for code, at, _ in answers if code == 503]
        assert all(any(began < at < ready for began, ready in kills) for at in lost)
        models = [(model, at) for code, at, model in answers if code == 200]
        assert {model for model, _ in models} == {first, second}
        os.kill(server.workers()[0], signal.SIGKILL)
        assert wait_until(lambda: server.metric("ready_workers") == 2)
        assert client.post("/predict", json=body).json()["model"] == second
        assert swapped < models[-1][1]
        assert "Traceback" not in server.output()


def test_an_end_answers_the_accepted_requests(pipeline: Project, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir()
    body = {"instances": [{"text": f"fire on street {n}"} for n in range(1000)]}
    settings = {
        "TMPDIR": str(files),
        "MAX_QUEUE": "1000000",
        "AIP_PREDICT_ROUTE": "/v1/models/m:predict",
        "AIP_HEALTH_ROUTE": "/v1/models/m/",
        "WEB_CONCURRENCY": "auto",
        "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
    }
    server = start(pipeline, tmp_path / "log", **settings)
    server.wait_until_ready("/v1/models/m")
    processes = children(server.process.pid)
    with (
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        with stopped(server.workers()):
            route = "/v1/models/m:predict"
            asked = [pool.submit(client.post, route, json=body) for _ in range(3)]
            assert wait_until(lambda: server.metric("queued_tweets") > 2000)  # so all are in
            late = socket.create_connection(("127.0.0.1", server.port))  # connected, and silent
            assert wait_until(lambda: server.metric("queued_tweets") > 2000)  # so it is accepted
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: refused(server.port))
            assert not any(future.done() for future in asked)
            with late, contextlib.closing(late.makefile("rb")) as reply:
                late.sendall(b"GET /info HTTP/1.1\r\nHost: h\r\n\r\n")
                assert reply.readline().startswith(b"HTTP/1.1 200")
        output = server.stop() if server.process.poll() is None else server.output()
        assert [len(f.result().json()["predictions"]) for f in asked] == [1000] * 3
    assert server.process.returncode == 0, output
    assert "Traceback" not in output
    assert "Forcibly" not in output
    assert wait_until(lambda: not any(map(runs, processes)), LEAVE)
    assert list(files.iterdir()) == []  # no copy of the model is left


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_ends_well_as_the_first_process_of_a_container(
    pipeline: Project, tmp_path: Path
) -> None:
    unshare = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child"]
    probe = [*unshare, sys.executable, "-c", ""]  # in a namespace, a Python in a home may be closed
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("no process namespaces here")
    server = start(pipeline, tmp_path / "log", *unshare)
    server.wait_until_ready()
    (first,) = children(server.process.pid)
    processes = children(first)
    os.kill(first, signal.SIGTERM)
    assert server.process.wait(timeout=HANG) == 0, server.output()
    assert "Forcibly" not in server.output()
    assert not any(map(runs, processes))


def test_a_killed_server_leaves_nothing(pipeline: Project, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir()
    log = tmp_path / "log"
    with serving(pipeline, tmp_path, TMPDIR=str(files), PREDICTION_LOG=str(log)) as server:
        with load(lambda: httpx.post(f"{server.url}/predict", json={"text": "fire"}), 2):
            assert wait_until(lambda: server.metric("prediction_log_lines_total") > 20)
        processes = children(server.process.pid)
        assert len(processes) >= 2
        assert list(files.glob("*/*/network.onnx"))  # its copy of the model
        server.process.kill()
        server.process.wait()
        assert wait_until(lambda: not any(map(runs, processes)))
    assert not list(files.rglob("*"))
    assert len({line["id"] for line in logged(log)}) == len(logged(log)) > 20  # whole lines


def test_a_dead_http_process_ends_all(pipeline: Project, tmp_path: Path) -> None:
    with serving(pipeline, tmp_path) as server:
        (worker,) = server.workers()
        with stopped([worker]):
            os.kill(worker, signal.SIGKILL)
        answer = httpx.post(f"{server.url}/predict", json={"text": "fire"}, timeout=HANG)
        assert answer.status_code in (200, 503)
        server.wait_until_ready()  # it has another worker
        processes = children(server.process.pid)
        os.kill(server.http_process(), signal.SIGKILL)
        assert server.process.wait(timeout=HANG) == 1
        assert wait_until(lambda: not any(map(runs, processes)))


@pytest.mark.parametrize("number", [1, 2])  # children: the worker, then the HTTP process
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
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    server = start(pipeline, tmp_path / "log")
    try:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=HANG) as client:
            for _ in range(1000):  # three times the lines that a pipe holds
                assert client.get("/health").status_code == 200
            assert client.post("/predict", json={"text": "fire"}).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=HANG) == 0
    finally:
        os.close(reader)
        server.process.kill()


def test_a_model_with_other_answers_is_not_served(
    pipeline: Project, confused: Path, tmp_path: Path
) -> None:
    server = start(pipeline, tmp_path / "log", MODEL_URI=str(confused))
    assert server.process.wait(timeout=HANG) == 1
    assert "manifest.json: golden: 'Evacuations as the flood nears' gives" in server.output()
    assert "Traceback" not in server.output()
