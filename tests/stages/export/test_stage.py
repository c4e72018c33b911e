"""Quantising and locking."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from common.hashing import sha256_of
from locked.manifest import verify
from stages import params
from stages.export.stage import choose_threshold, export
from stages.shared import onnx_reference
from stages.shared.params import Compute
from tests.conftest import Project

EXACT = Compute(exact=True, threads=2)


def test_the_manifest_says_where_the_model_comes_from(pipeline: Project, base_model: Path) -> None:
    manifest = verify(pipeline.folder / "models/classifier")
    assert manifest.base_model.sha256 == sha256_of(base_model / "model.safetensors")
    train = pipeline.folder / "data/prepared/train.parquet"
    assert manifest.training_data_sha256 == sha256_of(train)
    assert set(manifest.files) == {"network.onnx", "reference.json", "tokenizer.json"}
    assert 0.5 < manifest.metrics["accuracy"] <= 1


def test_the_network_is_int8_and_near_the_checkpoint(pipeline: Project) -> None:
    network = onnx.load(pipeline.folder / "models/classifier/network.onnx")
    numbers: Counter[int] = Counter()
    for stored in network.graph.initializer:
        numbers[stored.data_type] += math.prod(stored.dims)
    # the rest is mostly position vectors, which are few in a model of some size
    assert numbers[onnx.TensorProto.INT8] > 0.75 * numbers.total()
    parity = json.loads((pipeline.folder / "models/parity.json").read_text())
    validation = pd.read_parquet(pipeline.folder / "data/prepared/validation.parquet")
    assert parity["rows"] == len(validation)
    assert 0 < parity["probability_difference_mean"] < 0.02
    assert parity["probability_difference_largest"] < 0.2
    difference = parity["accuracy_int8"] - parity["accuracy_fp32"]
    assert parity["accuracy_difference"] == pytest.approx(difference)


def test_the_network_names_no_place(pipeline: Project) -> None:
    """Paths of the machine that made it would make other bytes elsewhere."""
    content = (pipeline.folder / "models/classifier/network.onnx").read_bytes()
    assert b".py" not in content
    assert b"/site-packages" not in content


def test_golden_answers_are_the_reference(pipeline: Project) -> None:
    model = onnx_reference.classifier(pipeline.folder / "models/classifier", EXACT)
    said = model.probabilities([golden.text for golden in model.manifest.golden])
    assert said.tolist() == [golden.probability for golden in model.manifest.golden]


def test_only_training_tweets_calibrate(pipeline: Project, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "validation", "test"):
        table = pd.read_parquet(pipeline.folder / f"data/prepared/{split}.parquet")
        if split != "train":
            table["text"] = "something else " + table["text"]
        table.to_parquet(data / f"{split}.parquet")
    p = params.load(pipeline.folder / "params.yaml")
    export(pipeline.folder / "models/checkpoint", data, tmp_path / "out", p)
    assert sha256_of(tmp_path / "out/network.onnx") == sha256_of(
        pipeline.folder / "models/classifier/network.onnx"
    )


def test_the_threshold_moves_where_validation_clearly_says_so() -> None:
    truth = np.repeat([0, 1], 200).astype(np.int8)
    low = np.concatenate([np.linspace(0, 0.2, 200), np.linspace(0.25, 0.45, 200)])
    assert 0.2 < choose_threshold(low.astype(np.float32), truth) <= 0.27


def test_the_threshold_stays_where_it_makes_no_clear_difference() -> None:
    chance = np.random.default_rng(1)
    truth = (chance.random(300) < 0.4).astype(np.int8)
    scores = np.clip(0.5 + (truth - 0.5) * 0.5 + chance.normal(0, 0.3, 300), 0, 1)
    assert choose_threshold(scores.astype(np.float32), truth) == 0.5
