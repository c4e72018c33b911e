"""Quantising."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from common.hashing import sha256_of
from locked.classifier import log_odds
from stages.export.last_layer import last_layer
from stages.export.stage import export
from stages.params import Params
from stages.shared.outputs import CHECKPOINT, NETWORK, PREPARED
from tests.conftest import Project


def test_the_network_is_int8_and_near_the_checkpoint(pipeline: Project) -> None:
    path = pipeline.folder / NETWORK / "network.onnx"
    network = onnx.load(path)
    numbers: Counter[int] = Counter()
    for stored in network.graph.initializer:
        numbers[stored.data_type] += math.prod(stored.dims)
    # the rest is mostly position vectors, which are few in a model of some size
    assert numbers[onnx.TensorProto.INT8] > 0.75 * numbers.total()
    parity = json.loads((pipeline.folder / "models/parity.json").read_text())
    validation = pd.read_parquet(pipeline.folder / PREPARED / "validation.parquet")
    assert parity["rows"] == len(validation)
    assert 0 < parity["probability_difference_mean"] < 0.02
    assert len(np.load(path.with_name("validation.npy"))) == len(validation)
    assert parity["probability_difference_largest"] < 0.2
    difference = parity["accuracy_int8"] - parity["accuracy_fp32"]
    assert parity["accuracy_difference"] == pytest.approx(difference)
    # The last layer that `lock` adapts; its input is rounded to 8 bits in the network.
    columns, layer = np.load(path.with_name("validation.npy")).astype(float), last_layer(network)
    assert columns[:, 1:] @ layer.weight + layer.bias == pytest.approx(
        log_odds(columns[:, 0]), abs=0.05
    )
    assert np.ptp(columns[:, 0]) > 0.1
    # Paths of the machine that made it would make other bytes elsewhere.
    assert b".py" not in path.read_bytes()
    assert b"/site-packages" not in path.read_bytes()


def test_only_training_tweets_calibrate(pipeline: Project, p: Params, tmp_path: Path) -> None:
    data = Path(shutil.copytree(pipeline.folder / PREPARED, tmp_path / "data"))
    for split in ("validation", "test"):
        table = pd.read_parquet(data / f"{split}.parquet").head(9)
        table.assign(text="something else " + table["text"]).to_parquet(data / f"{split}.parquet")
    export(pipeline.folder / CHECKPOINT, data, tmp_path / "out", p)
    hashes = {sha256_of(f / "network.onnx") for f in (tmp_path / "out", pipeline.folder / NETWORK)}
    assert len(hashes) == 1
