import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from dvc.cli import main

from tests.conftest import ROOT, Project, copied, exit_status

DVC_YAML = """
stages:
  train:
    cmd: python toy.py train
    params: [train]
    outs: [models/checkpoint, models/classifier]
  evaluate:
    cmd: python toy.py evaluate
    deps: [models/checkpoint]
    params: [evaluate]
    metrics: [models/metrics.json: {cache: false}]
"""
# The loss is a function of the params: two experiments are never equal by chance.
TOY = """
import json, pathlib, re, signal, sys
params = pathlib.Path("params.yaml").read_text()
keys = ("lr", "bootstrap")
values = {key: float(re.search(rf"^  {key}: (\\S+)", params, re.M)[1]) for key in keys}
if sys.argv[1] == "train":
    for folder, name in (("checkpoint", "weights"), ("classifier", "manifest.json")):
        pathlib.Path("models", folder).mkdir(parents=True)
        pathlib.Path("models", folder, name).write_text(str(values["lr"]))
    if values["lr"] == 0.0123:  # to be stopped
        print("started", flush=True)
        signal.pause()
elif values["bootstrap"] == 666:
    sys.exit("error: too many")
else:
    lr = float(pathlib.Path("models/checkpoint/weights").read_text())
    metrics = {"validation_log_loss": lr + values["bootstrap"] / 1e6, "passed": lr < 0.5}
    pathlib.Path("models/metrics.json").write_text(json.dumps(metrics))
"""
STARTED = 0.0123

Call = Callable[..., str]


@pytest.fixture(scope="session")
def trained_toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A quick pipeline with the params of the real one, after `dvc repro`."""
    folder = tmp_path_factory.mktemp("toy") / "project"
    shutil.copytree(
        ROOT / ".dvc", folder / ".dvc", ignore=lambda *_: {"tmp", "cache", "config.local"}
    )
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "toy.py").write_text(TOY)
    (folder / ".gitignore").write_text("/models/checkpoint\n/models/classifier\n")
    project = Project(folder, folder.with_name("site-cache"))
    project.start_git()
    dvc(project, "repro")
    commit(project, "run")
    return project


@pytest.fixture
def toy(trained_toy: Project, tmp_path: Path) -> Project:
    return copied(trained_toy, tmp_path / "toy")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command of this package in this process, check its status, return its output."""

    def called(project: Project, command: str, *arguments: str, status: int = 0) -> str:
        enter(project, monkeypatch)
        if command == "promote":  # GTO orders tags by the second in which they are made
            time.sleep(1 - time.time() % 1)
        monkeypatch.setattr("sys.argv", [command, *arguments])
        monkeypatch.setattr("signal.signal", lambda *_: None)
        monkeypatch.setattr(logging.getLogger("dvc"), "handlers", [])  # of an earlier test's output
        capfd.readouterr()
        code, message = exit_status(import_module(f"experiments.{command}").main)
        printed = "".join([*capfd.readouterr(), message])
        assert code == status, printed
        return printed

    return called


def dvc(project: Project, *command: str) -> None:
    """Run DVC in this process, as its import takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        enter(project, patch)
        assert main([*command]) == 0


def enter(project: Project, patch: pytest.MonkeyPatch) -> None:
    """Let this process work in a project."""
    patch.chdir(project.folder)
    for name in ("PATH", "DVC_SITE_CACHE_DIR"):
        patch.setenv(name, project.environment()[name])


def retrain(project: Project, lr: float) -> None:
    set_lr(project, lr)
    dvc(project, "repro")
    commit(project)


def queue_is_empty(project: Project) -> bool:
    status = project.run("dvc", "queue", "status").stdout
    return "Queued" not in status and "Running" not in status


def commit(project: Project, message: str = "change") -> None:
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", message)


def set_lr(project: Project, lr: float) -> None:
    params = project.folder / "params.yaml"
    params.write_text(re.sub(r"\blr: [^\s,}]+", f"lr: {lr}", params.read_text()))


def start_until_trained(project: Project, *command: str, **extra: str) -> subprocess.Popen[str]:
    """Start a command, and return once its training has begun and waits for a signal."""
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "started\n":
            return process
    pytest.fail("".join(lines))
