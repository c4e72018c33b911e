"""What the start checks, in this process; and the parts of LitServe that are overridden."""

import inspect
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import litserve as ls
import pytest
from litserve.loops import inference_worker

from serve import __main__ as start_up
from serve.server import Protocol, Server, count_threads
from serve.settings import Settings
from tests.conftest import ROOT

FORK = """
import functools, os, signal
from serve.__main__ import _end
signal.signal(signal.SIGTERM, functools.partial(_end, None, os.getpid()))
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
child = os.fork()
if not child:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_start_that_cannot_succeed_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, classifier_folder: Path, tmp_path: Path
) -> None:
    def error(**values: str) -> str:
        """Start the server in this process, up to its processes; return why it ended."""
        with monkeypatch.context() as changed, pytest.raises(SystemExit) as end:
            for name, value in values.items():
                changed.setenv(name, value)
            start_up.main([])
        return str(end.value)

    monkeypatch.setattr(Server, "run", lambda *_, **__: pytest.fail("it started"))
    (file := tmp_path / "file").touch()
    assert error(HOST="here").startswith("error: HOST: ")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        assert f"error: PORT: {port} on 127.0.0.1" in error(PORT=port)
    monkeypatch.setenv("PORT", port)
    log = error(PREDICTION_LOG=str(file / "log"), MODEL_URI=str(classifier_folder))
    assert f"error: PREDICTION_LOG: {file}/log cannot be written: Not a directory" in log
    missing = error(MODEL_URI=str(tmp_path))
    assert missing == f"error: {tmp_path}/manifest.json is missing: no locked model here"
    os.truncate(classifier_folder / "network.onnx", 10)
    altered = error(MODEL_URI=str(classifier_folder))
    assert altered.startswith(f"error: {classifier_folder}/network.onnx has been altered")

    def no_folder(**_: str) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", no_folder)
    assert error().endswith("Set TMPDIR to a writable one")


def test_the_start_names_settings_and_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for argument, status in (("--help", 0), ("models/other", 2)):
        with pytest.raises(SystemExit, match=f"^{status}$"):
            start_up.main([argument])
    printed = capsys.readouterr()
    assert all(name.upper() in printed.out for name in Settings.model_fields)
    assert "unrecognized arguments: models/other" in printed.err


def test_the_limit_of_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]
    monkeypatch.setattr(Protocol, "max_connections", 0)  # put back afterwards
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.__setitem__(0, both[0]))
    start_up.raise_file_limit()
    assert limits == [4096, 4096]
    assert Protocol.max_connections == 4096 - start_up.OTHER_FILES


def test_threads_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, workers, chosen, expected in (
        *((2, 1, 0, 2), (64, 1, 0, 8)),  # not 64: each takes memory
        *((64, 16, 0, 4), (2, 4, 0, 1), (64, 1, 12, 12)),
    ):
        monkeypatch.setattr("serve.server.cpus", lambda seen=cpus: seen)
        settings = Settings.model_construct(workers=workers, threads=chosen)
        assert count_threads(settings) == expected


def test_a_process_that_is_just_forked_can_be_ended() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_litserve_has_the_overridden_parts() -> None:
    """An upgrade that changes them fails here."""
    names = {name for name in vars(Server) if hasattr(ls.LitServer, name) and name[:2] != "__"}
    functions = [inference_worker, *(getattr(ls.LitServer, name) for name in sorted(names))]
    assert [f"{f.__name__}: {' '.join(inspect.signature(f).parameters)}" for f in functions] == [
        "inference_worker: lit_api device worker_id request_queue transport workers_setup_status "
        "callback_runner restart_workers",
        "_init_manager: self num_api_servers",
        "_start_server: self port num_uvicorn_servers log_level sockets uvicorn_worker_type kwargs",
        "launch_inference_worker: self lit_api",
        "launch_single_inference_worker: self lit_api worker_id",
        "lifespan: self app",
        "verify_worker_status: self",
    ]
    source = inspect.getsource(ls.LitServer)
    for name in ("monitor_internal", "uvicorn_graceful_timeout", "_shutdown_event", "_transport"):
        assert f"self.{name}" in source, name
