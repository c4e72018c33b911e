"""Base models of other architectures, tiny, with random weights."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification

from common.hashing import sha256_of
from locked.classifier import TOLERANCE, Classifier
from locked.engines import ENGINES
from stages import params
from stages.distill.stage import distill
from stages.export.stage import export
from stages.params import Params
from stages.shared.base_model import FILES
from stages.shared.onnx_reference import evaluator
from stages.train.stage import train
from tests.conftest import Project

SIZE = {"hidden_size": 32, "intermediate_size": 64}
SIZE |= {"num_hidden_layers": 2, "num_attention_heads": 2}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # as RoBERTa numbers them


def byte_pairs(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def pieces(texts: list[str]) -> Tokenizer:
    """SentencePiece's unigrams, as ALBERT, XLM-RoBERTa and DeBERTa-v3 have them.

    `UnigramTrainer` makes another vocabulary in each process, so frequent words are counted here.
    """
    counts = Counter(f"▁{word}" for text in texts for word in text.split())
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:500]
    characters = sorted({character for word in counts for character in word})
    scores = {
        **dict.fromkeys([*SPECIAL, *characters], -20.0),
        **{word: math.log(counts[word] / counts.total()) for word in frequent},
    }
    tokenizer = Tokenizer(models.Unigram([*scores.items()], unk_id=SPECIAL.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
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
            **{"relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm"},
            **{"share_att_key": True, "pos_att_type": ["p2c", "c2p"]},
            **{"position_biased_input": False, "type_vocab_size": 0},
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


def check_architecture(name: str, pipeline: Project, tmp_path: Path) -> None:
    """Train and export a tiny model of an architecture; each engine must answer alike."""
    (data := tmp_path / "data").mkdir()
    for split, rows in (("train", 160), ("validation", 60), ("test", 20)):
        table = pd.read_parquet(pipeline.folder / f"data/prepared/{split}.parquet").head(rows)
        table.to_parquet(data / f"{split}.parquet")
    texts = pd.read_parquet(data / "train.parquet")["text"].tolist()
    base = make(tmp_path / "base", name, texts)
    p = pinned(params.load(pipeline.folder / "params.yaml"), base, 64)
    targets, groups = tmp_path / "targets.parquet", tmp_path / "groups.parquet"
    distill(data, targets, groups, p)
    train(data, targets, tmp_path / "model", tmp_path / "history", tmp_path / "checkpoints", p)
    parity, _ = export(tmp_path / "model", data, groups, tmp_path / "classifier", p)
    assert parity["probability_difference_largest"] < 0.1
    asked = [*texts[:40], "", "a " * 200]
    defined = Classifier(tmp_path / "classifier", 2, evaluator).uncalibrated(asked)
    assert np.ptp(defined) > 1e-5  # it is no constant
    for engine in ENGINES:
        pytest.importorskip(engine)
        model = Classifier(tmp_path / "classifier", 2, engine)
        model.check()
        assert np.abs(model.uncalibrated(asked) - defined).max() < TOLERANCE
