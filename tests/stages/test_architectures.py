"""Base models of other architectures, tiny, from their weights to an answer of each engine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from common.errors import InputError
from common.hashing import sha256_of
from locked.classifier import TOLERANCE, Classifier
from locked.engines import ENGINES
from stages import params
from stages.distill.stage import distill
from stages.export.stage import export
from stages.params import Params
from stages.shared.base_model import FILES, configuration, locate, positions
from stages.shared.onnx_reference import evaluator
from stages.train.stage import train
from tests.conftest import Project

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # as RoBERTa numbers them


def byte_pairs(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def pieces(texts: list[str]) -> Tokenizer:
    """SentencePiece's unigrams, as ALBERT, XLM-RoBERTa and DeBERTa-v3 have them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


Kind = tuple[str, Callable[[list[str]], Tokenizer], dict[str, Any]]
KINDS: dict[str, Kind] = {
    "albert": ("albert", pieces, {**SIZE, "embedding_size": 16}),
    "bertweet": ("roberta", byte_pairs, {**SIZE, "max_position_embeddings": 130}),
    "deberta-v3": (
        "deberta-v2",
        pieces,
        {
            **SIZE,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "distilbert": (
        "distilbert",
        byte_pairs,
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    ),
    "electra": ("electra", byte_pairs, {**SIZE, "embedding_size": 16}),
    "ModernBERT": (
        "modernbert",
        byte_pairs,
        {**SIZE, "cls_token_id": 0, "sep_token_id": 2, "local_attention": 16},
    ),
    "roberta": ("roberta", byte_pairs, {**SIZE, "max_position_embeddings": 514}),
    "xlm-roberta": ("xlm-roberta", pieces, {**SIZE, "max_position_embeddings": 514}),
}


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """Accelerate keeps its state for the life of a process; each test has its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def make(folder: Path, name: str, texts: list[str]) -> Path:
    """Make a base model with random weights, and a head for three labels that is of no use."""
    kind, learnt, values = KINDS[name]
    tokenizer = learnt(texts)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    numbers = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "num_labels": 3}
    config = AutoConfig.for_model(
        kind, vocab_size=tokenizer.get_vocab_size(), **{**numbers, **values}
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def pinned(p: Params, base: Path, max_length: int) -> Params:
    values = p.model_dump()
    values["model"] = {
        "name": str(base),
        "sha256": {part: sha256_of(base / file) for part, file in FILES.items()},
        "max_length": max_length,
    }
    values["train"] |= {"epochs": 1, "precision": "fp32"}
    return Params.model_validate(values)


@pytest.mark.parametrize("name", KINDS)
def test_an_architecture_comes_to_an_answer(name: str, pipeline: Project, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split, rows in (("train", 160), ("validation", 60), ("test", 20)):
        table = pd.read_parquet(pipeline.folder / f"data/prepared/{split}.parquet").head(rows)
        table.to_parquet(data / f"{split}.parquet")
    texts = pd.read_parquet(data / "train.parquet")["text"].tolist()
    base = make(tmp_path / "base", name, texts)
    p = pinned(params.load(pipeline.folder / "params.yaml"), base, 64)
    distill(data, tmp_path / "targets.parquet", p)
    train(data, tmp_path / "targets.parquet", tmp_path / "model", tmp_path / "h", tmp_path / "c", p)
    parity = export(tmp_path / "model", data, tmp_path / "classifier", p)
    assert parity["probability_difference_largest"] < 0.1
    asked = [*texts[:40], "", "a " * 200]
    defined = Classifier(tmp_path / "classifier", 2, evaluator).uncalibrated(asked)
    assert np.ptp(defined) > 1e-5  # it is no constant
    for engine in ENGINES:
        pytest.importorskip(engine)
        model = Classifier(tmp_path / "classifier", 2, engine)
        model.check()
        assert np.abs(model.uncalibrated(asked) - defined).max() < TOLERANCE


def test_more_tokens_than_positions_are_refused_at_once(pipeline: Project, tmp_path: Path) -> None:
    base = make(tmp_path / "base", "bertweet", ["some words"] * 9)
    p = params.load(pipeline.folder / "params.yaml")
    assert locate(pinned(p, base, 128).model) == base
    with pytest.raises(InputError, match=r"max_length: 136, but .* has 128 positions; take 128 or"):
        locate(pinned(p, base, 136).model)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5"}, None),
    ],
)
def test_positions(config: dict[str, Any], expected: int | None) -> None:
    assert positions(config) == expected


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        configuration(tmp_path)


def test_a_body_without_all_its_weights_is_refused(
    pipeline: Project, base_model: Path, tmp_path: Path
) -> None:
    from stages.train.learner import Learner

    config = AutoConfig.from_pretrained(base_model, num_hidden_layers=3)
    AutoModel.from_pretrained(base_model).save_pretrained(tmp_path / "base")
    config.save_pretrained(tmp_path / "base")
    p = params.load(pipeline.folder / "params.yaml")
    recipe = p.train.model_copy(update={"precision": "fp32"})
    with pytest.raises(InputError, match=r"lacks 16 of the weights .*layer\.2\."):
        Learner(tmp_path / "base", 10, recipe, p.compute)
