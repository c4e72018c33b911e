"""Learning from a batch: shared, in parts, in a precision, and from where it was left."""

import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer

from common.errors import InputError
from stages.params import Compute, Params, Train
from stages.shared.base_model import WEIGHTS
from stages.shared.batches import Batch, Tweets
from stages.train.trainer import Trainer, precision
from tests.conftest import Project, no_file_beyond

ROWS = 16
COMPUTE = Compute(exact=True, threads=2)

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture
def recipe(p: Params) -> Train:
    return p.train.model_copy(update={"precision": "fp32", "batch_size": ROWS})


@pytest.fixture
def base(pipeline: Project) -> Path:
    return Path(pipeline.params()["model"]["name"])


@pytest.fixture
def tweets(pipeline: Project) -> Tweets:
    tokens = Tokenizer.from_file(str(pipeline.folder / "models/checkpoint/tokenizer.json"))
    return Tweets(pd.read_parquet(pipeline.folder / "data/prepared/train.parquet"), tokens, "some")


@pytest.fixture
def batch(tweets: Tweets) -> Batch:
    return tweets.batch(np.arange(ROWS))


def test_the_lowest_layers_are_kept(base: Path, recipe: Train) -> None:
    whole = Trainer(base, 10, recipe, COMPUTE).model.state_dict()
    AcceleratorState._reset_state(reset_partial_state=True)
    lower = Trainer(base, 10, recipe.model_copy(update={"layers": 1}), COMPUTE).model.state_dict()
    left_out = whole.keys() - lower.keys()
    assert left_out
    assert all(".layer.1." in name for name in left_out)
    assert lower.keys() < whole.keys()
    assert all(torch.equal(lower[name], whole[name]) for name in lower if "classifier" not in name)
    with pytest.raises(InputError, match=r"train.layers: 3, but the base model has 2"):
        Trainer(base, 10, recipe.model_copy(update={"layers": 3}), COMPUTE)


@pytest.fixture
def trainer(base: Path, recipe: Train) -> Trainer:
    return Trainer(base, 10, recipe, COMPUTE)


def gradient(trainer: Trainer, batch: Batch) -> torch.Tensor:
    trainer.optimizer.zero_grad()
    trainer._backward(batch)
    return torch.cat([w.grad.flatten() for w in trainer.model.parameters() if w.grad is not None])


def test_damaged_weights_are_named(base: Path, recipe: Train, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(base, tmp_path / "base"))
    os.truncate(damaged / WEIGHTS, 1000)
    with pytest.raises(InputError, match=rf"{damaged / WEIGHTS} is damaged: "):
        Trainer(damaged, 10, recipe, COMPUTE)


def test_a_full_disk_is_named(trainer: Trainer, tmp_path: Path) -> None:
    weights = trainer.weights()
    with no_file_beyond(2000), pytest.raises(InputError, match="weights could not be written"):
        trainer.save_pretrained(tmp_path, weights)


def test_the_model_goes_before_the_group_of_processes(
    trainer: Trainer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last to hold the group, DistributedDataParallel may wait for ever."""
    trainer.step(batch, is_stopping=False)
    model, left = weakref.ref(trainer.model), []
    monkeypatch.setattr(trainer.accelerator, "end_training", lambda: left.append(model()))
    trainer.end()
    assert left == [None]


def test_parts_add_up_to_the_gradient_of_the_batch(trainer: Trainer, batch: Batch) -> None:
    trainer.model.eval()  # no dropout, whose chance differs by part
    whole = gradient(trainer, batch)
    for part in (8, 5, 1):
        trainer.part = part
        assert torch.allclose(gradient(trainer, batch), whole, atol=1e-6)
    assert whole.abs().max() > 1e-3


def test_a_batch_too_large_for_the_memory_is_taken_in_parts(
    trainer: Trainer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = trainer._logits

    def on_a_small_device(batch: Batch) -> torch.Tensor:
        if len(batch["input_ids"]) > 5:
            torch.empty(2**50)  # what PyTorch says of too much memory, really said
        return logits(batch)

    monkeypatch.setattr(trainer, "_logits", on_a_small_device)
    before = torch.get_rng_state()
    trainer.fit_into_memory(batch)
    assert trainer.part == ROWS // 4
    assert torch.equal(torch.get_rng_state(), before), "an attempt takes no random numbers"
    assert all(w.grad is None for w in trainer.model.parameters())
    step = trainer.step(batch, is_stopping=False)
    assert step.rows == ROWS
    assert not step.is_stopping


def test_a_batch_that_fits_leaves_others_whole(trainer: Trainer, batch: Batch) -> None:
    """The last batch of an epoch, or one machine's share of it, may be smaller than the rest."""
    trainer.fit_into_memory({key: rows[: ROWS // 2] for key, rows in batch.items()})
    assert trainer.part == ROWS


def test_a_batch_that_never_fits_is_an_error(
    trainer: Trainer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_logits", lambda batch: torch.empty(2**50))
    with pytest.raises(InputError, match=r"not even one tweet .* fits into memory"):
        trainer.fit_into_memory(batch)


def test_a_restored_learner_learns_the_same(
    base: Path, recipe: Train, batch: Batch, tmp_path: Path
) -> None:
    trainer = Trainer(base, 10, recipe, COMPUTE)
    trainer.step(batch, is_stopping=False)
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    expected = [trainer.step(batch, is_stopping=False) for _ in range(3)]
    weights = trainer.weights()
    AcceleratorState._reset_state(reset_partial_state=True)

    other = Trainer(base, 10, recipe.model_copy(update={"seed": 9}), COMPUTE)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [other.step(batch, is_stopping=False) for _ in range(3)] == expected
    assert all(torch.equal(w, weights[name]) for name, w in other.weights().items())
    assert expected[0].loss != expected[1].loss


def test_validation_is_over_all_rows_without_chance(trainer: Trainer, tweets: Tweets) -> None:
    metrics = trainer.validate(tweets)
    assert metrics == trainer.validate(tweets)
    trainer.part = 7
    again = trainer.validate(tweets)
    assert again["accuracy"] == metrics["accuracy"]
    assert again["loss"] == pytest.approx(metrics["loss"], abs=1e-6)
    trainer.model.eval()
    with torch.no_grad():
        losses = [
            trainer._losses(tweets.batch(np.array([row]))).item() for row in range(len(tweets))
        ]
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_batch_smaller_than_the_processes_is_refused(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer.share(np.arange(3)).tolist() == [0, 1, 2]
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 4)
    assert trainer.share(np.arange(9)).tolist() == [0, 4, 8]
    with pytest.raises(InputError, match=r"train.batch_size: .* 3 cannot be shared by 4 processes"):
        trainer.share(np.arange(3))


def test_lower_layers_learn_more_slowly(base: Path, recipe: Train) -> None:
    recipe = recipe.model_copy(update={"layer_decay": 0.5, "lr": 0.08, "weight_decay": 0.3})
    trainer = Trainer(base, 10, recipe, COMPUTE)
    # initial_lr, since the warm-up starts at zero
    rates = {
        id(w): (group["initial_lr"], group["weight_decay"])
        for group in trainer.optimizer.param_groups
        for w in group["params"]
    }
    named = {name: rates[id(w)] for name, w in trainer.model.named_parameters()}
    assert named["classifier.weight"] == (0.08, 0.3)
    assert named["classifier.bias"] == (0.08, 0.0)
    assert named["bert.encoder.layer.1.output.dense.weight"] == (0.04, 0.3)
    assert named["bert.encoder.layer.0.output.LayerNorm.weight"] == (0.02, 0.0)
    assert named["bert.embeddings.word_embeddings.weight"] == (0.01, 0.3)


def test_frozen_word_vectors_stay(base: Path, recipe: Train, batch: Batch) -> None:
    trainer = Trainer(base, 10, recipe.model_copy(update={"freeze_embeddings": True}), COMPUTE)
    before = trainer.weights()
    for _ in range(3):
        trainer.step(batch, is_stopping=False)
    after = trainer.weights()
    changed = {name for name, w in after.items() if not torch.equal(w, before[name])}
    assert "bert.embeddings.word_embeddings.weight" not in changed
    assert {"classifier.weight", "bert.encoder.layer.0.output.dense.weight"} <= changed


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_is_that_of_the_recipe(base: Path, recipe: Train, dropout: float) -> None:
    trainer = Trainer(base, 10, recipe.model_copy(update={"dropout": dropout}), COMPUTE)
    rates_of_dropout = {m.p for m in trainer.model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates_of_dropout == {dropout}


def test_soft_targets_pull_between_the_labels(trainer: Trainer, batch: Batch) -> None:
    trainer.model.eval()
    losses = {
        target: trainer._losses(batch | {"targets": torch.full((ROWS,), target)})
        for target in (0.0, 0.25, 1.0)
    }
    assert torch.allclose(losses[0.25], 0.75 * losses[0.0] + 0.25 * losses[1.0])


@pytest.mark.parametrize(
    ("param", "exact", "reason"),
    [("fp16", False, "fp16 needs a GPU"), ("bf16", True, "take fp32, or compute.exact: false")],
)
def test_a_precision_that_a_cpu_cannot_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, param: str, exact: bool, reason: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert precision("bf16", exact=False, config={}) == "bf16"
    with pytest.raises(InputError, match=f"train.precision: .*{reason}"):
        precision(param, exact, {})


@pytest.mark.parametrize(
    ("gpu", "capability", "cpu", "exact", "chosen"),
    [
        (True, (7, 5), {}, True, "fp16"),  # T4
        (True, (8, 0), {}, True, "bf16"),
        (False, None, {"avx512_bf16": True}, False, "bf16"),
        (False, None, {"avx512_bf16": True}, True, "no"),
        (False, None, {"avx512_bf16": False}, False, "no"),
    ],
)
def test_auto_takes_what_the_hardware_has(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    capability: tuple[int, int] | None,
    cpu: dict[str, bool],
    exact: bool,
    chosen: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: cpu)
    assert precision("auto", exact, {}) == chosen
    if chosen == "fp16":
        assert precision("auto", exact, {"model_type": "deberta-v2"}) == "no"
