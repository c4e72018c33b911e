"""Start, end and orphans of the server's processes."""

import concurrent.futures
import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import litserve as ls
import pytest
from litserve.loops import inference_worker

from serve.server import Server, threads
from serve.settings import Settings
from tests.conftest import HANG, Project
from tests.serve.running import (
    LEAVE,
    children,
    ends,
    free_port,
    has_engine,
    runs,
    serving,
    start,
    wait_until,
)


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


def test_vertex_names_port_and_routes(pipeline: Project, tmp_path: Path) -> None:
    place = tempfile.mkdtemp(prefix="t")  # a socket's path must be short
    server = start(
        pipeline,
        tmp_path / "log",
        TMPDIR=place,
        PORT="9999",
        AIP_HTTP_PORT=str(free_port()),
        AIP_PREDICT_ROUTE="/v1/models/m:predict",
        AIP_HEALTH_ROUTE="/v1/models/m",
    )
    server.wait_until_ready("/v1/models/m")
    body = {"instances": [{"text": "fire"}]}
    answer = httpx.post(f"{server.url}/v1/models/m:predict", json=body).json()
    assert len(answer["predictions"]) == 1
    processes = children(server.process.pid)
    assert len(processes) >= 2
    output = server.stop()
    assert server.process.returncode == 0, output
    assert "Traceback" not in output
    assert "Forcibly" not in output
    assert wait_until(lambda: not any(map(runs, processes)), LEAVE)
    assert list(Path(place).iterdir()) == []  # no copy of the model is left


@pytest.mark.alone
def test_an_end_under_load_answers_what_was_accepted(pipeline: Project, tmp_path: Path) -> None:
    with (
        serving(pipeline, tmp_path, MAX_QUEUE="1000000") as server,
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        body = {"instances": [{"text": f"fire on street {n}"} for n in range(1000)]}
        processes = children(server.process.pid)
        with stopped(server.workers()):
            asked = [pool.submit(client.post, "/predict", json=body) for _ in range(3)]
            assert wait_until(lambda: server.metric("queued_tweets") > 2000)  # so all are in
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: server.health(patience=0.5) != 200)  # before any answer
        output = server.stop()
        assert time.monotonic() - began < LEAVE
        assert server.process.returncode == 0, output
        assert "Forcibly" not in output
        assert [future.result().status_code for future in asked] == [200] * 3
        assert all(len(f.result().json()["predictions"]) == 1000 for f in asked)
        assert "Traceback" not in output
        assert not any(map(runs, processes))


def test_it_ends_well_as_the_first_process_of_a_container(
    pipeline: Project, tmp_path: Path
) -> None:
    unshare = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no process namespaces here")
    server = start(pipeline, tmp_path / "log", *unshare)
    server.wait_until_ready()
    (first,) = children(server.process.pid)
    processes = children(first)
    assert len(processes) >= 2
    with (
        httpx.Client(base_url=server.url, timeout=HANG) as client,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        body = {"instances": [{"text": f"fire on street {n}"} for n in range(1000)]}
        with stopped([pid for pid in processes if has_engine(pid)]):
            asked = [pool.submit(client.post, "/predict", json=body) for _ in range(2)]
            assert wait_until(lambda: server.metric("queued_tweets") > 1000)  # so both are in
            os.kill(first, signal.SIGTERM)
        assert [future.result().status_code for future in asked] == [200, 200]
    assert server.process.wait(timeout=LEAVE) == 0, server.output()
    assert "Forcibly" not in server.output()
    assert not any(map(runs, processes))


def test_a_killed_server_leaves_nothing(pipeline: Project, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir()
    with serving(pipeline, tmp_path, TMPDIR=str(files)) as server:
        processes = children(server.process.pid)
        assert len(processes) >= 2
        assert list(files.glob("*/*/network.onnx"))  # its copy of the model
        server.process.kill()
        server.process.wait()
        assert wait_until(lambda: not any(map(runs, processes)), LEAVE)
    assert not list(files.rglob("*"))


def test_health_tells_when_there_is_no_worker(pipeline: Project, tmp_path: Path) -> None:
    with serving(pipeline, tmp_path) as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: server.health() == 503)
        answer = httpx.post(f"{server.url}/predict", json={"text": "fire"}, timeout=HANG)
        assert answer.status_code == 200  # it waited for the next worker
        assert server.health() == 200


def test_a_dead_http_process_ends_all(pipeline: Project, tmp_path: Path) -> None:
    with serving(pipeline, tmp_path) as server:
        processes = children(server.process.pid)
        os.kill(server.http_process(), signal.SIGKILL)
        assert server.process.wait(timeout=LEAVE) == 1
        assert wait_until(lambda: not any(map(runs, processes)), LEAVE)


def test_an_altered_model_is_not_served(
    pipeline: Project, classifier_folder: Path, tmp_path: Path
) -> None:
    path = classifier_folder / "network.onnx"
    os.truncate(path, path.stat().st_size - 1)
    code, output = ends(pipeline, tmp_path, MODEL_URI=str(classifier_folder))
    assert code == 1
    assert f"error: {path} has been altered" in output
    assert "Traceback" not in output


def test_a_model_that_answers_otherwise_is_not_served(
    pipeline: Project, confused: Path, tmp_path: Path
) -> None:
    code, output = ends(pipeline, tmp_path, MODEL_URI=str(confused))
    assert code == 1
    assert "manifest.json: golden: 'Evacuations as the flood nears' gives" in output
    assert "Traceback" not in output


def test_no_model_is_said(pipeline: Project, tmp_path: Path) -> None:
    code, output = ends(pipeline, tmp_path, MODEL_URI=str(tmp_path))
    assert code == 1
    assert f"error: {tmp_path}/manifest.json is missing" in output
    assert "Traceback" not in output


def test_a_bad_setting_stops_the_start(pipeline: Project, tmp_path: Path) -> None:
    code, output = ends(pipeline, tmp_path, HOST="here")
    assert code == 1
    assert output.startswith("error: HOST: ")
    assert "Traceback" not in output


def test_a_port_in_use_is_said(pipeline: Project, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = ends(pipeline, tmp_path, PORT=str(port))
    assert code == 1
    assert f"error: PORT: {port} on 127.0.0.1" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8, 1.1])
def test_it_can_be_ended_as_it_starts(pipeline: Project, tmp_path: Path, seconds: float) -> None:
    server = start(pipeline, tmp_path / "log")
    time.sleep(seconds)
    processes = children(server.process.pid)
    output = server.stop()
    assert server.process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in output
    assert wait_until(lambda: not any(map(runs, processes)), LEAVE)


@pytest.mark.parametrize(
    ("seen", "settings", "expected"),
    [
        (2, {}, 2),
        (64, {}, 8),  # each takes memory
        (64, {"workers": 16}, 4),
        (2, {"workers": 4}, 1),
        (64, {"threads": 12}, 12),
        (1, {"threads": 2, "workers": 3}, 2),
    ],
)
def test_threads_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, seen: int, settings: dict[str, int], expected: int
) -> None:
    monkeypatch.setattr("serve.server.cpus", lambda: seen)
    assert threads(Settings.model_validate(settings)) == expected


@pytest.mark.alone
def test_an_end_resets_no_new_connection(pipeline: Project, tmp_path: Path) -> None:
    """Who connects anew for each request is answered or refused, as long as others are answered."""

    def ask_anew(url: str, outcomes: list[str]) -> None:
        while "refused" not in outcomes:
            try:
                outcomes.append(str(httpx.post(url, json={"text": "fire"}).status_code))
            except httpx.ConnectError:
                outcomes.append("refused")
            except httpx.TransportError as error:
                outcomes.append(type(error).__name__)

    def refused(port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except TimeoutError:  # tries again within the kernel
            pass
        return False

    with (
        serving(pipeline, tmp_path) as server,
        concurrent.futures.ThreadPoolExecutor(17) as pool,
    ):
        (worker,) = server.workers()
        outcomes: list[list[str]] = [[] for _ in range(16)]
        url = f"{server.url}/predict"
        for each in outcomes:
            pool.submit(ask_anew, url, each)
        assert wait_until(lambda: all(len(each) > 5 for each in outcomes))
        with stopped([worker]):
            long = pool.submit(httpx.post, url, json={"instances": ["fire " * 100] * 120})
            assert wait_until(lambda: server.metric("queued_tweets") > 60)
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: refused(server.port), 3)
            assert not long.done()  # those in flight are still waited for
        assert long.result().status_code == 200
        assert wait_until(lambda: all("refused" in each for each in outcomes), LEAVE)
        server.stop()
    said = {outcome for each in outcomes for outcome in each}
    assert said == {"200", "refused"}


def test_litserve_has_what_is_leant_on() -> None:
    """An upgrade that changes it fails here, and not in the dark."""
    leant_on = {
        "_init_manager": "self num_api_servers",
        "launch_inference_worker": "self lit_api",
        "launch_single_inference_worker": "self lit_api worker_id",
        "verify_worker_status": "self",
        "lifespan": "self app",
        "_start_server": (
            "self port num_uvicorn_servers log_level sockets uvicorn_worker_type kwargs"
        ),
    }
    overridden = {name for name in vars(Server) if hasattr(ls.LitServer, name)}
    assert {name for name in overridden if not name.startswith("__")} == leant_on.keys()
    source = inspect.getsource(ls.LitServer)
    for name in ("monitor_internal", "uvicorn_graceful_timeout", "_shutdown_event", "_transport"):
        assert f"self.{name}" in source, f"LitServe {ls.__version__} has no {name}: serve/server.py"
    worker = "lit_api device worker_id request_queue transport workers_setup_status"
    called = " ".join(inspect.signature(inference_worker).parameters)
    assert called == f"{worker} callback_runner restart_workers"
    for name, parameters in leant_on.items():
        found = " ".join(inspect.signature(getattr(ls.LitServer, name)).parameters)
        assert found == parameters, f"LitServe {ls.__version__} has another {name}: serve/server.py"
