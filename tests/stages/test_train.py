"""Fine-tuning: what is kept, what is logged, and what stops it."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from stages import params
from stages.io import InputError
from stages.params import Params
from stages.train import _precision, train
from tests.conftest import Project


def quick(project: Project, **recipe: object) -> Params:
    p = params.load(project.folder / "params.yaml")
    return p.model_copy(update={"train": p.train.model_copy(update=recipe)})


def curve(history: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(history / f"plots/metrics/{name}.tsv", sep="\t")


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


def test_training_stops_when_validation_gets_no_better(pipeline: Project, tmp_path: Path) -> None:
    p = quick(pipeline, epochs=30, lr=0.02, patience=2)
    train(pipeline.folder / "data/prepared", tmp_path / "model", tmp_path / "history", p)
    losses = curve(tmp_path / "history", "validation/loss")["loss"]
    assert len(losses) == losses.argmin() + 1 + 2 < 30


def test_another_seed_gives_other_weights(pipeline: Project, tmp_path: Path) -> None:
    p = quick(pipeline, seed=7, epochs=1)
    train(pipeline.folder / "data/prepared", tmp_path / "model", tmp_path / "history", p)
    other = load_file(tmp_path / "model/model.safetensors")
    weights = load_file(pipeline.folder / "models/checkpoint/model.safetensors")
    assert other.keys() == weights.keys()
    assert not torch.equal(other["classifier.weight"], weights["classifier.weight"])


def test_a_divergence_says_the_step_and_leaves_no_checkpoint(
    pipeline: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stages.train.collate",
        lambda rows, pad_id: {
            "inputs_embeds": torch.full((len(rows), 4, 32), float("nan")),
            "labels": torch.zeros(len(rows), dtype=torch.long),
        },
    )
    with pytest.raises(InputError, match=r"diverged: the loss is nan at step 1; try a lower"):
        train(
            pipeline.folder / "data/prepared", tmp_path / "model", tmp_path / "h", quick(pipeline)
        )
    assert not (tmp_path / "model").exists()


def test_fp16_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"train.precision: fp16 needs a GPU"):
        _precision("fp16")


@pytest.mark.parametrize(
    ("gpu", "capability", "cpu", "chosen"),
    [
        (True, (7, 5), {}, "fp16"),  # T4
        (True, (8, 0), {}, "bf16"),
        (False, None, {"avx512_bf16": True}, "bf16"),
        (False, None, {"avx512_bf16": False}, "no"),
    ],
)
def test_auto_takes_what_the_hardware_has(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    capability: tuple[int, int] | None,
    cpu: dict[str, bool],
    chosen: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: cpu)
    assert _precision("auto") == chosen
