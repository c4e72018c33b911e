"""What the start checks, in this process; and the parts of LitServe that are overridden."""

import inspect
import os
import socket
import subprocess
import sys
from pathlib import Path

import litserve as ls
import pytest
from litserve.loops import inference_worker

from serve import __main__ as start_up
from serve.server import Server, threads
from serve.settings import BadSettingError, Settings
from tests.conftest import ROOT
from tests.serve.here import configured

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


def ended(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    """Start the server in this process, up to its processes; return why it ended."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Server, "run", lambda *_, **__: pytest.fail("it started"))
    with pytest.raises(SystemExit) as end:
        start_up.main([])
    return str(end.value)


def test_a_start_that_cannot_succeed_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, classifier_folder: Path, tmp_path: Path
) -> None:
    (file := tmp_path / "file").touch()
    model = {"MODEL_URI": str(classifier_folder)}
    assert ended(monkeypatch, HOST="here").startswith("error: HOST: ")
    monkeypatch.delenv("HOST")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"error: PORT: {port} on 127.0.0.1" in ended(monkeypatch, PORT=port)
    monkeypatch.setenv("PORT", port)
    log = ended(monkeypatch, PREDICTION_LOG=str(file / "log"), **model)
    assert f"error: PREDICTION_LOG: {file}/log cannot be written: Not a directory" in log
    assert "errno 20" in log
    monkeypatch.delenv("PREDICTION_LOG")
    missing = ended(monkeypatch, MODEL_URI=str(tmp_path))
    assert missing == f"error: {tmp_path}/manifest.json is missing: no locked model here"
    os.truncate(classifier_folder / "network.onnx", 10)
    altered = ended(monkeypatch, **model)
    assert altered.startswith(f"error: {classifier_folder}/network.onnx has been altered")

    def no_folder(**_: str) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", no_folder)
    assert ended(monkeypatch).endswith("Set TMPDIR to one")


def test_help_names_the_settings_and_no_argument_is_taken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        start_up.main(["--help"])
    usage = capsys.readouterr().out
    assert all(name.upper() in usage for name in Settings.model_fields)
    with pytest.raises(SystemExit, match=r"^2$"):
        start_up.main(["models/other"])
    assert "unrecognized arguments: models/other" in capsys.readouterr().err


def test_feedback_that_cannot_be_kept_is_said_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "file").touch()
    start_up.check_places(configured(FEEDBACK_FILE=str(file / "feedback.jsonl")))
    assert f"warning: FEEDBACK_FILE: {file} cannot be written" in capsys.readouterr().err
    with pytest.raises(BadSettingError):
        start_up.check_places(configured(PREDICTION_LOG=str(file)))


@pytest.mark.parametrize(
    ("seen", "settings", "expected"),
    [
        (2, {}, 2),
        (64, {}, 8),  # each takes memory
        (64, {"workers": 16}, 4),
        (2, {"workers": 4}, 1),
        (64, {"threads": 12}, 12),
    ],
)
def test_threads_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, seen: int, settings: dict[str, int], expected: int
) -> None:
    monkeypatch.setattr("serve.server.cpus", lambda: seen)
    assert threads(Settings.model_validate(settings)) == expected


def test_a_process_that_is_just_forked_can_be_ended() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_litserve_has_the_overridden_parts() -> None:
    """An upgrade that changes them fails here."""
    parts = {
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
    assert {name for name in overridden if not name.startswith("__")} == parts.keys()
    source = inspect.getsource(ls.LitServer)
    for name in ("monitor_internal", "uvicorn_graceful_timeout", "_shutdown_event", "_transport"):
        assert f"self.{name}" in source, f"LitServe {ls.__version__} has no {name}: serve/server.py"
    worker = "lit_api device worker_id request_queue transport workers_setup_status"
    called = " ".join(inspect.signature(inference_worker).parameters)
    assert called == f"{worker} callback_runner restart_workers"
    for name, parameters in parts.items():
        actual = " ".join(inspect.signature(getattr(ls.LitServer, name)).parameters)
        assert actual == parameters, (
            f"LitServe {ls.__version__} has another {name}: serve/server.py"
        )
