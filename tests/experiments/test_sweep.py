"""A sweep runs its trials, continues where it was stopped, and names the best."""

import itertools
import re

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from common.errors import InputError
from experiments import sweep as module
from tests.conftest import Project
from tests.experiments.conftest import Call

SPACE = {"train.lr": FloatDistribution(1e-5, 1e-3, log=True)}


def names(project: Project) -> set[str]:
    return set(project.run("dvc", "exp", "list", "--name-only").stdout.split())


def test_a_sweep_continues_survives_a_failed_trial_and_names_the_best(
    toy: Project, call: Call
) -> None:
    arguments = ("train.lr=tag(log,interval(1e-4,1e-2))", "evaluate.bootstrap=100,110")
    logs = toy.folder / "models/sweeps/sweep"
    logs.mkdir(parents=True)
    (logs / "sweep-1.log").touch()  # of a trial that was killed
    call(toy, "sweep", *arguments, "--trials", "2", "--jobs", "2")
    assert names(toy) == {"sweep-2", "sweep-3"}
    assert toy.run("git", "status", "--porcelain").stdout == ""

    printed = call(toy, "sweep", *arguments, "--trials", "3")
    assert names(toy) == {"sweep-2", "sweep-3", "sweep-4"}
    keys = ("train.lr", "evaluate.bootstrap")
    losses = {experiment: loss for experiment, _, loss in module.read_trials("sweep", keys)}
    best = min(losses, key=lambda name: losses[name])
    assert f"best of 3: validation_log_loss {losses[best]:.4f} with " in printed
    assert f"    dvc exp apply {best}\n" in printed

    printed = call(toy, "sweep", "evaluate.bootstrap=100,110", status=1)
    assert re.search(r"error: sweep-\d has train.lr=.*\. Choose another --name", printed)

    narrower = ("sweep", "train.lr=1e-5,2e-5", "evaluate.bootstrap=100,110")
    assert "sweep is a sweep over other params" in call(toy, *narrower, status=1)

    picky = ("sweep", "evaluate.bootstrap=666,666", "--name", "picky", "--trials", "1")
    assert "failed; the logs are in models/sweeps/picky" in call(toy, *picky, status=1)
    assert "error: too many" in (toy.folder / "models/sweeps/picky/picky-1.log").read_text()
    for name, value in (("--jobs", "0"), ("--trials", "0"), ("--name", "a/b")):
        assert name in call(toy, *picky, name, value, status=2)


@pytest.mark.parametrize(
    "case",  # trials, event, error, message
    [
        (0, "echo changed > toy.py", InputError, "not committed yet: toy.py"),
        (2, "echo changed > toy.py", InputError, "not committed yet: toy.py"),
        (2, "git commit --quiet --allow-empty --message new", InputError, "there is a new commit"),
        (2, "", KeyboardInterrupt, "^$"),
    ],
)
def test_a_sweep_stops_at_ctrl_c_or_where_the_workspace_changes(
    toy: Project, monkeypatch: pytest.MonkeyPatch, case: tuple[int, str, type[BaseException], str]
) -> None:
    trials, event, error, message = case
    monkeypatch.chdir(toy.folder)
    monkeypatch.setattr("time.sleep", lambda _: None)
    numbers = itertools.count(1)

    def run_trial(*_: object, **__: object) -> float:
        if next(numbers) == trials:
            toy.run("bash", "-c", event)
            if not event:
                raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(module, "run_trial", run_trial)
    if trials == 0:
        toy.run("bash", "-c", event)
    with pytest.raises(error, match=message):
        module.sweep("x", SPACE, 99, 1)
    assert next(numbers) < 20


def test_trials_learn_from_those_before(toy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's choices come closer to the best, here at 3e-4; a failed trial counts for nothing."""
    monkeypatch.chdir(toy.folder)

    def run_trial(_: str, name: str, values: dict[str, float], is_alone: bool) -> float | None:
        assert is_alone
        return None if name.endswith("-1") else abs(values["train.lr"] - 3e-4)

    monkeypatch.setattr(module, "run_trial", run_trial)
    study = module.sweep("x", SPACE, 40, 1)
    trials = study.get_trials(states=[TrialState.COMPLETE])
    values = [trial.value or 0 for trial in trials]
    assert len(values) == 39
    assert sorted(values[20:])[10] < sorted(values[:19])[9]
