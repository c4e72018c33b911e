"""Learning from a batch: shared, in parts, in a precision, and from where it was left."""

import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer

from common.errors import InputError
from stages.params import Compute, Params
from stages.shared.base_model import WEIGHTS
from stages.shared.batches import Batch, Tweets
from stages.train.trainer import Trainer, choose_precision
from tests.conftest import Project, no_file_beyond

ROWS = 16
Make = Callable[..., Trainer]

pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture
def make(p: Params) -> Make:
    def trainer(base: str | Path = p.model.name, **changes: object) -> Trainer:
        AcceleratorState._reset_state(reset_partial_state=True)
        recipe = p.train.model_copy(update={"precision": "fp32", "batch_size": ROWS, **changes})
        return Trainer(Path(base), 10, recipe, Compute(exact=True, threads=2))

    return trainer


@pytest.fixture
def trainer(make: Make) -> Trainer:
    return make()


@pytest.fixture
def tweets(pipeline: Project) -> Tweets:
    tokens = Tokenizer.from_file(str(pipeline.folder / "models/checkpoint/tokenizer.json"))
    table = pd.read_parquet(pipeline.folder / "data/prepared/train.parquet").head(100)
    return Tweets(table, tokens, "some")


@pytest.fixture
def batch(tweets: Tweets) -> Batch:
    return tweets.batch(np.arange(ROWS))


def test_the_lowest_layers_are_kept(make: Make) -> None:
    whole, lower = (make(layers=layers).model.state_dict() for layers in (None, 1))
    left_out = whole.keys() - lower.keys()
    assert left_out
    assert all(".layer.1." in name for name in left_out)
    assert all(torch.equal(lower[name], whole[name]) for name in lower if "classifier" not in name)
    with pytest.raises(InputError, match=r"train.layers: 3, but the base model has 2"):
        make(layers=3)


def test_damaged_weights_and_a_full_disk_are_named(make: Make, p: Params, tmp_path: Path) -> None:
    trainer, base = make(), Path(shutil.copytree(p.model.name, tmp_path / "base"))
    with no_file_beyond(2000), pytest.raises(InputError, match="weights could not be written"):
        trainer.save_pretrained(tmp_path, trainer.weights())
    os.truncate(base / WEIGHTS, 1000)
    with pytest.raises(InputError, match=rf"{base / WEIGHTS} is damaged: "):
        make(base)


def test_the_model_goes_before_the_group_of_processes(
    trainer: Trainer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last to hold the group, DistributedDataParallel may wait for ever."""
    trainer.step(batch, is_stopping=False)
    model, left = weakref.ref(trainer.model), []
    monkeypatch.setattr(trainer.accelerator, "end_training", lambda: left.append(model()))
    trainer.end()
    assert left == [None]


def test_a_restored_learner_learns_the_same(make: Make, batch: Batch, tmp_path: Path) -> None:
    trainer = make()
    trainer.step(batch, is_stopping=False)
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    expected = [trainer.step(batch, is_stopping=False) for _ in range(3)]
    weights = trainer.weights()
    other = make(seed=9)
    assert not torch.equal(other.weights()["classifier.weight"], weights["classifier.weight"])
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [other.step(batch, is_stopping=False) for _ in range(3)] == expected
    assert all(torch.equal(w, weights[name]) for name, w in other.weights().items())
    assert expected[0].loss != expected[1].loss


def test_validation_is_over_all_rows_without_chance(trainer: Trainer, tweets: Tweets) -> None:
    metrics = trainer.validate(tweets)
    trainer.model.eval()
    with torch.no_grad():
        losses = [trainer._losses(tweets.batch(np.array([row]))) for row in range(len(tweets))]
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_batch_smaller_than_the_processes_is_refused(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer.share(np.arange(3)).tolist() == [0, 1, 2]
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 4)
    assert trainer.share(np.arange(9)).tolist() == [0, 4, 8]
    with pytest.raises(InputError, match=r"train.batch_size: .* 3 cannot be shared by 4 processes"):
        trainer.share(np.arange(3))


def test_lower_layers_learn_more_slowly(make: Make) -> None:
    trainer = make(layer_decay=0.5, lr=0.08, weight_decay=0.3)
    # initial_lr, since the warm-up starts at zero
    groups = trainer.optimizer.param_groups
    rates = {id(w): (g["initial_lr"], g["weight_decay"]) for g in groups for w in g["params"]}
    named = {name: rates[id(w)] for name, w in trainer.model.named_parameters()}
    assert named["classifier.weight"] == (0.08, 0.3)
    assert named["classifier.bias"] == (0.08, 0.0)
    assert named["bert.encoder.layer.1.output.dense.weight"] == (0.04, 0.3)
    assert named["bert.encoder.layer.0.output.LayerNorm.weight"] == (0.02, 0.0)
    assert named["bert.embeddings.word_embeddings.weight"] == (0.01, 0.3)


def test_dropout_is_the_recipes_and_frozen_word_vectors_stay(make: Make, batch: Batch) -> None:
    trainer = make(freeze_embeddings=True, dropout=0.3)
    assert {m.p for m in trainer.model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    before = trainer.weights()
    for _ in range(2):  # the first learning rate is 0
        trainer.step(batch, is_stopping=False)
    changed = {name for name, w in trainer.weights().items() if not torch.equal(w, before[name])}
    assert "bert.embeddings.word_embeddings.weight" not in changed
    assert {"classifier.weight", "bert.encoder.layer.0.output.dense.weight"} <= changed


def test_soft_targets_pull_between_the_labels(trainer: Trainer, batch: Batch) -> None:
    trainer.model.eval()
    low, soft, high = (
        trainer._losses(batch | {"targets": torch.full((ROWS,), target)})
        for target in (0.0, 0.25, 1.0)
    )
    assert torch.allclose(soft, 0.75 * low + 0.25 * high)


@pytest.mark.parametrize(
    ("param", "gpu", "cpu_has_bf16", "exact", "chosen"),
    [
        ("auto", (7, 5), False, True, "fp16"),  # T4
        ("auto", (8, 0), False, True, "bf16"),
        ("auto", None, True, False, "bf16"),
        ("auto", None, True, True, "no"),
        ("auto", None, False, False, "no"),
        ("bf16", None, True, False, "bf16"),
        ("bf16", None, True, True, "take fp32, or compute.exact: false"),
        ("fp16", None, True, False, "fp16 needs a GPU"),
    ],
)
def test_the_precision_is_one_that_the_hardware_has(
    param: str, gpu: tuple[int, int] | None, cpu_has_bf16: bool, exact: bool, chosen: str
) -> None:
    with (
        patch("torch.cuda.is_available", return_value=gpu is not None),
        patch("torch.cuda.get_device_capability", return_value=gpu),
        patch("torch.cpu.get_capabilities", return_value={"avx512_bf16": cpu_has_bf16}),
    ):
        if " " in chosen:
            with pytest.raises(InputError, match=f"train.precision: .*{chosen}"):
                choose_precision(param, exact, {})
            return
        assert choose_precision(param, exact, {}) == chosen
        if chosen == "fp16":
            assert choose_precision(param, exact, {"model_type": "deberta-v2"}) == "no"
