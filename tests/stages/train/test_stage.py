"""Fine-tuning: its outputs and log, what stops it, and how it resumes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from common.errors import InputError
from common.hashing import sha256_of
from stages import params
from stages.params import Params
from stages.train.stage import train
from tests.conftest import HANG, Project

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


def quick(project: Project, **recipe: object) -> Params:
    p = params.load(project.folder / "params.yaml")
    return p.model_copy(update={"train": p.train.model_copy(update=recipe)})


def run(project: Project, folder: Path, p: Params) -> dict[str, float]:
    data = project.folder / "data"
    return train(
        data / "prepared",
        data / "targets.parquet",
        folder / "model",
        folder / "history",
        folder / "checkpoints",
        p,
    )


def curve(history: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(history / f"plots/metrics/{name}.tsv", sep="\t")


def outputs(models: Path) -> dict[str, str]:
    """Every file that the stage leaves, with its hash."""
    files = [p for f in ("checkpoint", "training") for p in (models / f).rglob("*") if p.is_file()]
    return {str(path.relative_to(models)): sha256_of(path) for path in files}


def test_the_epoch_with_the_lowest_loss_is_kept(pipeline: Project) -> None:
    history = pipeline.folder / "models/training"
    losses = curve(history, "validation/loss")
    summary = json.loads((history / "metrics.json").read_text())
    assert summary["best_loss"] == pytest.approx(losses["loss"].min())
    assert summary["best_epoch"] == losses["loss"].argmin() + 1


def test_learning_curves_have_every_step_and_epoch(pipeline: Project) -> None:
    history = pipeline.folder / "models/training"
    losses, rates = curve(history, "train/loss"), curve(history, "train/learning_rate")
    steps = len(losses)
    assert losses["step"].tolist() == list(range(1, steps + 1))
    rows = len(pd.read_parquet(pipeline.folder / "data/prepared/train.parquet"))
    recipe = pipeline.params()["train"]
    batches = -(-rows // recipe["batch_size"])
    epochs = curve(history, "validation/loss")["step"].tolist()
    assert epochs == [batches * (e + 1) for e in range(len(epochs))]
    assert rates["learning_rate"].max() == pytest.approx(recipe["lr"])
    assert rates["learning_rate"].argmax() == int(recipe["warmup"] * batches * recipe["epochs"])
    assert losses["loss"].tail(batches).mean() < losses["loss"].head(batches).mean()
    assert (curve(history, "train/gradient_norm")["gradient_norm"] > 0).all()
    speed = curve(pipeline.folder / "models/speed", "tweets_per_second")
    assert speed["step"].tolist() == losses["step"].tolist()


def test_training_stops_when_validation_gets_no_better(pipeline: Project, tmp_path: Path) -> None:
    best = run(pipeline, tmp_path, quick(pipeline, epochs=30, lr=0.02, patience=2))
    losses = curve(tmp_path / "history", "validation/loss")["loss"]
    assert len(losses) == losses.argmin() + 1 + 2 < 30
    assert best["loss"] == pytest.approx(losses.min())


def test_another_seed_gives_other_weights(pipeline: Project, tmp_path: Path) -> None:
    run(pipeline, tmp_path, quick(pipeline, seed=7, epochs=1))
    other = load_file(tmp_path / "model/model.safetensors")
    weights = load_file(pipeline.folder / "models/checkpoint/model.safetensors")
    assert other.keys() == weights.keys()
    assert not torch.equal(other["classifier.weight"], weights["classifier.weight"])
    assert not any((tmp_path / "checkpoints").iterdir()), "a run that is done needs no checkpoint"


def test_a_divergence_says_the_step_and_leaves_no_checkpoint(
    pipeline: Project, tmp_path: Path
) -> None:
    wild = {"lr": 0.9, "weight_decay": 100.0, "warmup": 0.0, "max_grad_norm": 1e9}  # x -89 a step
    with pytest.raises(
        InputError, match=r"diverged: the loss is \S+ at step \d+; try a lower train.lr than 0.9"
    ):
        run(pipeline, tmp_path, quick(pipeline, **wild))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("spoil", ["order", "rows"])
def test_targets_of_other_tweets_are_refused(pipeline: Project, tmp_path: Path, spoil: str) -> None:
    targets = pd.read_parquet(pipeline.folder / "data/targets.parquet")
    targets = targets[::-1].reset_index(drop=True) if spoil == "order" else targets.head(9)
    targets.to_parquet(tmp_path / "targets.parquet")
    with pytest.raises(InputError, match=r"targets\.parquet has other tweets .* `dvc repro`"):
        train(
            pipeline.folder / "data/prepared",
            tmp_path / "targets.parquet",
            tmp_path / "model",
            tmp_path / "history",
            tmp_path / "checkpoints",
            quick(pipeline),
        )


class Killed:
    """The stage as a process, ended when its curve has so many rows."""

    def __init__(self, project: Project, step: int, number: signal.Signals) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages", "train"],
            cwd=project.folder,
            env=project.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        curve = project.folder / "models/training/plots/metrics/train/loss.tsv"
        give_up = time.monotonic() + HANG
        while process.poll() is None and time.monotonic() < give_up:
            if curve.exists() and curve.read_text().count("\n") > step:
                break
            time.sleep(0.005)
        os.kill(process.pid, number)
        self.output = process.communicate(timeout=HANG)[0]
        self.status = process.returncode


@pytest.fixture
def project(pipeline: Project, tmp_path: Path) -> Project:
    """The prepared project, to be trained in."""
    folder = tmp_path / "project"
    for name in ("stages", "locked", "reader", "deploy", "data"):
        shutil.copytree(pipeline.folder / name, folder / name)
    shutil.copy(pipeline.folder / "params.yaml", folder)
    return Project(folder, pipeline.site_cache)


def test_a_killed_run_ends_with_the_very_bytes_of_a_whole_one(
    pipeline: Project, project: Project
) -> None:
    whole = outputs(pipeline.folder / "models")
    assert len(whole) > 5
    steps = len(curve(pipeline.folder / "models/training", "train/loss"))
    first = Killed(project, steps // 4, signal.SIGKILL)
    assert first.status == -signal.SIGKILL
    assert "resuming" not in first.output

    stopped = Killed(project, steps // 2, signal.SIGTERM)
    assert stopped.status == 128 + signal.SIGTERM
    assert "resuming from the checkpoint of step" in stopped.output
    saved = next(line for line in stopped.output.splitlines() if line.startswith("train: SIGTERM"))
    step = int(saved.split("step ")[1].split(":")[0])

    last = Killed(project, 3 * steps // 4, signal.SIGKILL)
    assert f"resuming from the checkpoint of step {step} in" in last.output
    project.run("python", "-m", "stages", "train")
    assert outputs(project.folder / "models") == whole
    assert not any((project.folder / "models/checkpoints").iterdir())


def losses(project: Project) -> list[float]:
    return [*curve(project.folder / "models/training", "train/loss")["loss"]]


def test_two_processes_learn_what_one_does(project: Project) -> None:
    values = project.params()
    # Without dropout, whose chance differs by process: the rest is the order of sums.
    values["compute"]["threads"] = 1
    values["train"] |= {"epochs": 1, "precision": "fp32", "dropout": 0.0, "lr": 0.001}
    project.set_params(values)
    project.run("python", "-m", "stages", "train")
    alone = losses(project)
    launch = "accelerate launch --config_file deploy/accelerate/two-cpus.yaml -m stages train"
    output = project.run(*launch.split())
    assert output.stdout.count("epoch 1: validation loss") == 1, "one of them reports"
    assert losses(project) != alone
    assert losses(project) == pytest.approx(alone, abs=1e-5)
