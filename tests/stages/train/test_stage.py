"""Fine-tuning: its outputs and log, what stops it, and how it resumes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from common.errors import InputError
from common.hashing import sha256_of
from stages.params import Params
from stages.train import stage
from stages.train.stage import EVENT_SHARE, add_event, train
from tests.conftest import HANG, ROOT, Project

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture
def data(pipeline: Project, tmp_path: Path) -> Path:
    """Few tweets, as the stage reads them."""
    (tmp_path / "data/prepared").mkdir(parents=True)
    for name in ("prepared/train", "prepared/validation", "prepared/test", "targets"):
        table = pd.read_parquet(pipeline.folder / f"data/{name}.parquet").head(160)
        table.to_parquet(tmp_path / f"data/{name}.parquet")
    return tmp_path / "data"


def run(data: Path, p: Params, folder: Path, **recipe: object) -> dict[str, float]:
    p = p.model_copy(update={"train": p.train.model_copy(update=recipe)})
    model, history, checkpoints = (folder / name for name in ("model", "history", "checkpoints"))
    return train(data / "prepared", data / "targets.parquet", model, history, checkpoints, p)


def curve(history: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(history / f"plots/metrics/{name}.tsv", sep="\t")


def outputs(models: Path) -> dict[str, str]:
    """Every file that the stage leaves, with its hash."""
    files = [p for f in ("checkpoint", "training") for p in (models / f).rglob("*") if p.is_file()]
    return {str(path.relative_to(models)): sha256_of(path) for path in files}


def test_curves_have_every_step_and_the_best_epoch_is_kept(pipeline: Project, p: Params) -> None:
    history = pipeline.folder / "models/training"
    losses, rates = curve(history, "train/loss"), curve(history, "train/learning_rate")
    assert losses["step"].tolist() == list(range(1, len(losses) + 1))
    rows = len(pd.read_parquet(pipeline.folder / "data/prepared/train.parquet"))
    batches = -(-rows // p.train.batch_size)
    assert rates["learning_rate"].max() == pytest.approx(p.train.lr)
    assert rates["learning_rate"].argmax() == int(p.train.warmup * batches * p.train.epochs)
    assert losses["loss"].tail(batches).mean() < losses["loss"].head(batches).mean()
    assert (curve(history, "train/gradient_norm")["gradient_norm"] > 0).all()
    speed = curve(pipeline.folder / "models/speed", "tweets_per_second")
    assert speed["step"].tolist() == losses["step"].tolist()
    epochs = curve(history, "validation/loss")
    assert epochs["step"].tolist() == [batches * (e + 1) for e in range(len(epochs))]
    summary = json.loads((history / "metrics.json").read_text())
    assert summary["best_loss"] == pytest.approx(epochs["loss"].min())
    assert summary["best_epoch"] == epochs["loss"].argmin() + 1


def test_training_stops_when_validation_gets_no_better(
    data: Path, p: Params, tmp_path: Path
) -> None:
    best = run(data, p, tmp_path, epochs=30, lr=0.02, patience=2)
    losses = curve(tmp_path / "history", "validation/loss")["loss"]
    assert len(losses) == losses.argmin() + 1 + 2 < 30
    assert best["loss"] == pytest.approx(losses.min())
    assert not any((tmp_path / "checkpoints").iterdir()), "a run that is done needs no checkpoint"


def test_a_divergence_says_the_step_and_leaves_no_checkpoint(
    data: Path, p: Params, tmp_path: Path
) -> None:
    wild = {"lr": 0.9, "weight_decay": 100.0, "warmup": 0.0, "max_grad_norm": 1e9}  # x -89 a step
    reason = r"diverged: the loss is \S+ at step \d+; try a lower train.lr than 0.9"
    with pytest.raises(InputError, match=reason):
        run(data, p, tmp_path, epochs=9, **wild)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("rows", [slice(None, None, -1), slice(9)], ids=["order", "count"])
def test_targets_of_other_tweets_are_refused(
    data: Path, p: Params, tmp_path: Path, rows: slice
) -> None:
    targets = pd.read_parquet(data / "targets.parquet")
    targets[rows].reset_index(drop=True).to_parquet(data / "targets.parquet")
    with pytest.raises(InputError, match=r"targets\.parquet has other tweets .* `dvc repro`"):
        run(data, p, tmp_path)


@pytest.fixture
def project(pipeline: Project, tmp_path: Path) -> Project:
    """The prepared project, to be trained in."""
    folder = tmp_path / "project"
    for name in ("stages", "locked", "reader", "deploy", "data"):
        shutil.copytree(pipeline.folder / name, folder / name)
    shutil.copy(pipeline.folder / "params.yaml", folder)
    return Project(folder, pipeline.site_cache)


def killed(project: Project, step: int, number: signal.Signals) -> tuple[int, str]:
    """End the stage's process when its curve has so many rows; return its status and output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stages", "train"],
        cwd=project.folder,
        env=project.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    losses = project.folder / "models/training/plots/metrics/train/loss.tsv"
    give_up = time.monotonic() + HANG
    while process.poll() is None and time.monotonic() < give_up:
        with suppress(FileNotFoundError):
            if losses.read_text().count("\n") > step:
                break
        time.sleep(0.005)
    os.kill(process.pid, number)
    output = process.communicate(timeout=HANG)[0]
    return process.returncode, output


def test_a_killed_run_ends_with_the_very_bytes_of_a_whole_one(
    pipeline: Project, project: Project
) -> None:
    whole = outputs(pipeline.folder / "models")
    assert len(whole) > 5
    steps = len(curve(pipeline.folder / "models/training", "train/loss"))
    status, output = killed(project, steps // 3, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert "resuming" not in output
    status, output = killed(project, 2 * steps // 3, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert "resuming from the checkpoint of step" in output
    saved = next(line for line in output.splitlines() if line.startswith("train: SIGTERM"))
    step = int(saved.split("step ")[1].split(":")[0])
    last = project.run("python", "-m", "stages", "train")
    assert f"resuming from the checkpoint of step {step} in" in last.stderr
    assert outputs(project.folder / "models") == whole
    assert not any((project.folder / "models/checkpoints").iterdir())


def test_two_processes_learn_what_one_does(
    project: Project, data: Path, p: Params, tmp_path: Path
) -> None:
    # Without dropout, whose chance differs by process: the rest is the order of sums.
    recipe = {"epochs": 1, "precision": "fp32", "dropout": 0.0, "lr": 0.001}
    run(data, p, tmp_path / "alone", **recipe)
    shutil.copytree(data, project.folder / "data", dirs_exist_ok=True)
    values = project.params()
    values["train"] |= recipe
    project.set_params(values)
    launch = "accelerate launch --config_file deploy/accelerate/two-cpus.yaml -m stages train"
    output = project.run(*launch.split())
    assert output.stdout.count("epoch 1: validation loss") == 1, "one of them reports"
    alone, together = (
        curve(history, "train/loss")["loss"].tolist()
        for history in (tmp_path / "alone/history", project.folder / "models/training")
    )
    assert together != alone
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_labels_of_an_event_are_learnt(pipeline: Project, p: Params, tmp_path: Path) -> None:
    texts = [f"{letters} {n}" for letters in ("q w q w", "z x z x") for n in range(10)]
    truth = [1] * 10 + [0] * 10
    pd.DataFrame({"text": texts, "label": truth}).to_csv(tmp_path / "event.csv", index=False)
    tweets = pd.read_parquet(pipeline.folder / "data/prepared/train.parquet")
    learnt = add_event(tweets, tmp_path / "event.csv", [])
    assert learnt.head(len(tweets))["text"].equals(tweets["text"])
    assert (len(learnt) - len(tweets)) / len(learnt) == pytest.approx(EVENT_SHARE, abs=0.02)
    data = pipeline.folder / "data"
    model, history, checkpoints = (tmp_path / name for name in ("model", "history", "checkpoints"))
    files = data / "prepared", data / "targets.parquet", model, history, checkpoints
    train(*files, p, tmp_path / "event.csv")
    right = []
    for folder in (pipeline.folder / "models/checkpoint", model):
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = [torch.tensor([tokens.encode(text).ids]) for text in texts]
        with torch.no_grad():
            calls = [network(one).logits.argmax().item() for one in ids]
        right.append(sum(call == label for call, label in zip(calls, truth, strict=True)))
    assert right[0] < 20 == right[1]


def test_a_label_of_a_tweet_that_judges_is_an_error(data: Path, p: Params, tmp_path: Path) -> None:
    for split in ("validation", "test"):
        tweet = pd.read_parquet(data / f"prepared/{split}.parquet")["text"][0]
        texts = [f"RT @friend: {tweet}", *(f"tweet {n}" for n in range(11))]
        table = pd.DataFrame({"text": texts, "label": [0, 1] * 6})
        table.to_csv(event := tmp_path / "event.csv", index=False)
        files = data / "prepared", data / "targets.parquet", tmp_path, tmp_path, tmp_path
        with pytest.raises(
            InputError, match=r"these tweets are in the .* Remove them: 'RT @friend"
        ):
            train(*files, p, event)


def test_the_labels_are_among_the_inputs_of_a_checkpoint(
    data: Path, p: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    event = tmp_path / "event.csv"
    event.write_text("text,label\n" + "".join(f"tweet {n},{n % 2}\n" for n in range(10)))
    inputs: list[Path] = []

    def checkpoints(_place: Path, _run: object, files: list[Path]) -> None:
        inputs.extend(files)
        raise InputError("far enough")

    monkeypatch.setattr(stage, "Checkpoints", checkpoints)
    with pytest.raises(InputError, match="far enough"):
        train(data / "prepared", data / "targets.parquet", tmp_path, tmp_path, tmp_path, p, event)
    assert event in inputs


@pytest.mark.parametrize("name", ["none.csv", "storm.csv"])
def test_only_a_file_with_labels_is_learnt(
    p: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    events: list[Path | None] = []
    monkeypatch.setattr(stage, "train", lambda *inputs: events.append(inputs[-1]))
    monkeypatch.setenv("RANK", "1")  # it writes nothing
    stage.main(p.model_copy(update={"train": p.train.model_copy(update={"event": name})}))
    assert events == [None if name == "none.csv" else Path("data/labels/storm.csv")]
    assert (ROOT / "data/labels/none.csv").read_text() == "text,label\n"


def test_too_little_memory_of_a_gpu_is_an_error(p: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(stage, "train", train)
    with pytest.raises(InputError, match=r"lower train.batch_size or model.max_length"):
        stage.main(p)
