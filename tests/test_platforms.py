"""The project needs nothing that only Linux or x86-64 has."""

import os
import sys
from pathlib import Path

import httpx
import pytest

from serve import __main__ as serve_main
from tests.conftest import Project
from tests.serve.running import serving

# Python reads this as it starts; then the files and functions of Linux do not exist.
MAC = """\
import builtins, io, os, platform

def elsewhere(function):
    def on_a_mac(path, *more, **others):
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(("/proc", "/sys/")):
            with real(os.environ["ASKED"], "a") as log:
                log.write(f"{path}\\n")
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *more, **others)
    return on_a_mac

real = builtins.open
builtins.open = io.open = elsewhere(real)
for name in ("stat", "listdir", "scandir"):
    setattr(os, name, elsewhere(getattr(os, name)))
for name in ("sched_getaffinity", "sched_setaffinity", "process_cpu_count"):
    if hasattr(os, name):
        delattr(os, name)
if "SYSTEM" in os.environ:
    platform.system, platform.machine = lambda: os.environ["SYSTEM"], lambda: "arm64"
"""


@pytest.fixture
def mac(tmp_path: Path) -> dict[str, str]:
    """Variables with which a Python process misses what a Mac has not."""
    (tmp_path / "sitecustomize.py").write_text(MAC)
    return {"PYTHONPATH": str(tmp_path), "ASKED": str(tmp_path / "asked")}


def test_the_server_answers_on_a_mac(
    pipeline: Project, tmp_path: Path, mac: dict[str, str]
) -> None:
    with serving(pipeline, tmp_path, SYSTEM="Darwin", **mac) as server:
        answer = httpx.post(f"{server.url}/predict", json={"text": "fire on the hill"})
        assert answer.status_code == 200
        output = server.stop()
    assert server.process.returncode == 0
    assert "Traceback" not in output
    assert "/sys/fs/cgroup/cpu.max" in (tmp_path / "asked").read_text()  # so the disguise works


def test_the_training_needs_nothing_of_linux(unchanged: Project, mac: dict[str, str]) -> None:
    before = unchanged.lock()
    disguise = [f"{name}={value}" for name, value in mac.items()]
    unchanged.run("env", *disguise, "dvc", "repro", "--force", "--single-item", "train")
    assert unchanged.lock() == before
    assert "/proc/cpuinfo" in Path(mac["ASKED"]).read_text()


def test_a_mac_lets_the_server_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-B", "-m", "serve"])
    monkeypatch.setenv(serve_main.FORK_VARIABLE, "")
    monkeypatch.delenv(serve_main.FORK_VARIABLE)
    serve_main._allow_fork()
    assert started == []
    monkeypatch.setattr(sys, "platform", "darwin")
    serve_main._allow_fork()
    assert started == [[sys.executable, "-B", "-m", "serve"]]
    assert os.environ[serve_main.FORK_VARIABLE] == "YES"
    serve_main._allow_fork()  # in the restarted process
    assert len(started) == 1
