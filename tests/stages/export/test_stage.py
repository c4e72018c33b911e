"""Quantising."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from common.hashing import sha256_of
from stages import params
from stages.export.stage import export
from tests.conftest import Project


def test_the_network_is_int8_and_near_the_checkpoint(pipeline: Project) -> None:
    network = onnx.load(pipeline.folder / "models/network/network.onnx")
    numbers: Counter[int] = Counter()
    for stored in network.graph.initializer:
        numbers[stored.data_type] += math.prod(stored.dims)
    # the rest is mostly position vectors, which are few in a model of some size
    assert numbers[onnx.TensorProto.INT8] > 0.75 * numbers.total()
    parity = json.loads((pipeline.folder / "models/parity.json").read_text())
    validation = pd.read_parquet(pipeline.folder / "data/prepared/validation.parquet")
    assert parity["rows"] == len(validation)
    assert 0 < parity["probability_difference_mean"] < 0.02
    assert len(np.load(pipeline.folder / "models/network/validation.npy")) == len(validation)
    assert parity["probability_difference_largest"] < 0.2
    difference = parity["accuracy_int8"] - parity["accuracy_fp32"]
    assert parity["accuracy_difference"] == pytest.approx(difference)


def test_the_network_names_no_place(pipeline: Project) -> None:
    """Paths of the machine that made it would make other bytes elsewhere."""
    content = (pipeline.folder / "models/network/network.onnx").read_bytes()
    assert b".py" not in content
    assert b"/site-packages" not in content


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
        pipeline.folder / "models/network/network.onnx"
    )
