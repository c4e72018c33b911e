"""A sweep tries what it is told to, goes on where it was stopped, and says what was best."""

import json
import os
import re
import signal
import subprocess
from xml.etree import ElementTree

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

import experiments.sweep
from common.errors import InputError
from experiments.sweep import picture
from stages import params
from stages.params import Params
from tests.conftest import ROOT, Project
from tests.serve.running import wait_until


@pytest.fixture(scope="module")
def p() -> Params:
    return params.load(ROOT / "params.yaml")


def names(project: Project) -> list[str]:
    return project.run("dvc", "exp", "list", "--name-only").stdout.split()


def sweep(project: Project, *arguments: str) -> tuple[int, str]:
    done = project.run("python", "-m", "experiments.sweep", *arguments, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_sweep_goes_on_where_it_was_killed(project: Project) -> None:
    code, said = sweep(project, "train.lr=1e-3,4e-3,2")
    assert (code, "train.lr=2: train.lr: Input should be less than 1" in said) == (1, True)
    assert names(project) == []

    values = ["evaluate.bootstrap=100,110", "evaluate.seed=1,2", "--jobs", "2"]
    process = subprocess.Popen(
        ["python", "-m", "experiments.sweep", *values],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert wait_until(lambda: len(names(project)) >= 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = names(project)
    assert len(before) < 4
    code, said = sweep(project, *values)
    assert code == 0, said
    assert set(before) < set(names(project))
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)[1]["experiments"]
    tried = {}
    for experiment in shown:
        if experiment["name"] not in names(project):
            continue  # killed
        data = experiment["revs"][0]["data"]
        used = data["params"]["params.yaml"]["data"]["evaluate"]
        tried[experiment["name"]] = (used["bootstrap"], used["seed"])
    assert sorted(tried.values()) == [(100, 1), (100, 2), (110, 1), (110, 2)]
    drawn = (project.folder / "models/sweeps/sweep/sweep.svg").read_text()
    ElementTree.fromstring(drawn)  # noqa: S314 - our own
    assert "evaluate.seed" in drawn
    assert project.run("git", "status", "--porcelain").stdout == ""

    code, _ = sweep(project, *values)
    assert (code, sorted(names(project))) == (0, sorted(tried)), "nothing is left to try"
    for other in (["evaluate.seed=1,2"], ["evaluate.bootstrap=100,120", "evaluate.seed=1,2"]):
        code, said = sweep(project, *other)
        assert (code, "--name" in said) == (1, True), said


def test_a_search_survives_a_trial_that_fails(project: Project) -> None:
    """In a space where some values are no good, the others are still tried."""
    script = project.folder / "stages/evaluate/stage.py"
    checked = (
        "params.load()\n    if p.evaluate.bootstrap > 150:\n        raise InputError('too many')"
    )
    script.write_text(
        script.read_text().replace(
            "    report = evaluate(CLASSIFIER, PREPARED, EVALUATION, params.load())",
            f"    p = {checked}\n    report = evaluate(CLASSIFIER, PREPARED, EVALUATION, p)",
        )
    )
    project.run("git", "commit", "--quiet", "--all", "--message", "picky")
    code, said = sweep(
        project, "--trials", "4", "--name", "rows", "evaluate.bootstrap=interval(100,200)"
    )
    failed = re.findall(r"(rows-\d) failed: (\S+) says why", said)
    done = names(project)
    assert len(done) + len(failed) == 4
    assert failed
    assert (code == 0) == bool(done)
    for _, log in failed:
        assert "error: too many" in (project.folder / log).read_text()


def test_the_best_is_the_lowest_loss(project: Project) -> None:
    code, said = sweep(project, "export.calibration_rows=1,60", "--jobs", "2")
    assert code == 0, said
    losses = {name: float(loss) for name, loss in re.findall(r"(sweep-\d)  \w+ (0\.\d+)", said)}
    assert len(losses) == 2
    assert len(set(losses.values())) > 1
    best = min(losses, key=lambda name: losses[name])
    assert f"best of 2: validation_log_loss {losses[best]:.4f}" in said
    project.run(*re.findall(r"dvc exp apply sweep-\d", said)[0].split())
    figures = json.loads((project.folder / "models/metrics.json").read_text())
    assert figures["validation_log_loss"] == pytest.approx(losses[best], abs=1e-4)


def test_uncommitted_changes_are_not_swept(project: Project) -> None:
    with (project.folder / "README.md").open("a") as file:
        file.write("changed")
    code, said = sweep(project, "train.lr=1e-3,4e-3")
    assert (code, "not committed yet: README.md" in said) == (1, True), said


def test_a_sweep_stops_when_it_is_told_to_or_the_workspace_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr("time.sleep", lambda _: None)
    space = {"train.seed": CategoricalDistribution(range(99))}
    tried = []

    def run_until_ctrl_c(*_: object, **__: object) -> float:
        tried.append(1)
        if len(tried) == 2:
            raise KeyboardInterrupt
        return 0.5

    monkeypatch.setattr(experiments.sweep, "_run", run_until_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        experiments.sweep.sweep("x", space, None, 1)
    assert len(tried) < 20

    def run_and_edit(*_: object, **__: object) -> float:
        (project.folder / "README.md").write_text("changed")
        return 0.5

    monkeypatch.setattr(experiments.sweep, "_run", run_and_edit)
    with pytest.raises(InputError, match=r"not committed yet: README.md"):
        experiments.sweep.sweep("x", space, None, 1)


@pytest.mark.parametrize("wrong", [["--jobs", "0"], ["--trials", "0"], ["--name", "a/b"]])
def test_options_that_cannot_be_are_said(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sweep", "train.lr=0.1,0.2", *wrong])
    with pytest.raises(SystemExit, match="2"):
        experiments.sweep.main()
    assert wrong[0] in capsys.readouterr().err


def test_the_picture_has_every_param() -> None:
    study = optuna.create_study(study_name="sweep x")
    study.optimize(
        lambda t: (
            t.suggest_float("train.lr", 1e-5, 1e-3, log=True)
            + t.suggest_categorical("train.epochs", [1, 2])
        ),
        12,
    )
    drawn = picture(study)
    for word in ("sweep x", "train.lr", "train.epochs", "validation_log_loss", "importance"):
        assert word in drawn
