"""The last layer of the exported network."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from locked.classifier import Network, log_odds
from stages.export.last_layer import LastLayer, last_layer, vector_network, with_last_layer
from stages.params import Compute
from stages.shared.onnx_reference import evaluator
from tests.conftest import Project

TEXTS = ["Flood in the valley", "this album is fire", "!", "crash " * 90]


def test_vectors_and_layer_give_the_answers(pipeline: Project) -> None:
    folder = pipeline.folder / "models/network"
    columns = vector_network(folder, 64, Compute(exact=True, threads=2)).uncalibrated(TEXTS)
    answers = Network(folder, 64, 2, evaluator).uncalibrated(TEXTS)
    assert columns[:, 0].tolist() == answers.tolist()
    layer = last_layer(onnx.load(folder / "network.onnx"))
    product = columns[:, 1:].astype(float) @ layer.weight + layer.bias
    # the layer's input is rounded to 8 bits in the network
    assert product == pytest.approx(log_odds(answers), abs=0.05)
    assert np.ptp(product) > 0.1


def test_another_layer_answers_by_its_weights(pipeline: Project, tmp_path: Path) -> None:
    folder = pipeline.folder / "models/network"
    model = onnx.load(folder / "network.onnx")
    vectors = vector_network(folder, 64, Compute(exact=True, threads=2)).uncalibrated(TEXTS)[:, 1:]
    weight = np.random.default_rng(0).normal(0, 1, (vectors.shape[1],))
    changed = with_last_layer(model, LastLayer(last_layer(model).vector, weight, -0.25))
    onnx.save(changed, tmp_path / "network.onnx")
    tokenizer = (folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    answers = Network(tmp_path, 64, 2, evaluator).uncalibrated(TEXTS)
    expected = 1 / (1 + np.exp(-(vectors.astype(float) @ weight - 0.25)))
    assert answers == pytest.approx(expected, abs=1e-6)
    assert "model.classifier.weight" not in {tensor.name for tensor in changed.graph.initializer}
