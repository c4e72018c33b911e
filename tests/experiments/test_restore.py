"""The way back: after an experiment that was stopped, and in a merge."""

import os
import signal

import pytest
from dvc.repo import Repo

from tests.conftest import Project
from tests.experiments.conftest import STARTED, Call, commit, dvc, retrain, start_until_trained

RESTORED = "params.yaml, dvc.lock and all outputs are those of the last commit\n"


def is_as_committed(project: Project) -> bool:
    branch = project.run("git", "branch", "--show-current").stdout
    with Repo(project.folder) as repo:
        return branch == "main\n" and not repo.status()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_experiment_that_was_stopped(
    toy: Project, call: Call, number: signal.Signals
) -> None:
    (toy.folder / "toy.py").open("a").write("# my own change stays")
    process = start_until_trained(toy, "dvc", "exp", "run", "-S", f"train.lr={STARTED}")
    if number == signal.SIGKILL:
        printed = call(toy, "restore", status=1)
        assert f"(PID {process.pid})" in printed, "an experiment that runs is left alone"
    os.killpg(process.pid, number)
    assert process.wait() != 0
    printed = call(toy, "restore")
    assert printed.endswith(RESTORED)
    assert f"+  lr: {STARTED}" in printed
    assert is_as_committed(toy)
    assert toy.run("git", "status", "--porcelain").stdout == " M toy.py\n"


def test_in_a_merge_of_two_branches_that_both_trained(toy: Project, call: Call) -> None:
    toy.run("git", "checkout", "--quiet", "-b", "other")
    for branch, lr in (("other", 0.2), ("main", 0.3)):
        toy.run("git", "checkout", "--quiet", "--force", branch)
        retrain(toy, lr)
    assert toy.run("git", "merge", "other", check=False).returncode == 1
    assert "<<<<<<<" in (toy.folder / "dvc.lock").read_text()
    for command in ("report", "promote"):
        printed = call(toy, command, status=1)
        assert "dvc.lock, models/metrics.json, params.yaml: a merge is not finished" in printed
        assert "then: python -m experiments.restore && dvc repro" in printed
    toy.run("git", "checkout", "--theirs", "params.yaml")
    call(toy, "restore")
    assert toy.params()["train"]["lr"] == 0.2, "params.yaml is left to people"
    dvc(toy, "repro")
    commit(toy, "merged")
    assert is_as_committed(toy)
