"""The definition of a locked network's answers."""

import numpy as np
import pytest
import torch

from locked.classifier import Classifier
from stages.params import Compute
from stages.shared import onnx_reference
from tests.conftest import Project


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_torchs(approximate: str) -> None:
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x), approximate=approximate)
    (output,) = onnx_reference.Gelu._run(None, x, approximate)  # type: ignore[arg-type]
    np.testing.assert_allclose(output, expected, atol=1e-6)
    assert output.dtype == np.float32


def test_elements_are_gathered_from_many_rows() -> None:
    data = np.arange(300).reshape(100, 3)
    indices = np.tile([[2, 0]], (100, 1))
    (output,) = onnx_reference.GatherElements._run(None, data, indices, 1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(output, data[:, [2, 0]])


def test_threads_change_no_bit_and_neighbours_no_answer(pipeline: Project) -> None:
    folder = pipeline.folder / "models/classifier"
    texts = [f"flood {'water ' * n}" for n in range(30)]
    one, two = (
        Classifier(folder, n, onnx_reference.evaluator).probabilities(texts) for n in (1, 2)
    )
    assert one.tolist() == two.tolist()
    alone = Classifier(folder, 1, onnx_reference.evaluator).probabilities(texts[7:8])
    assert alone == pytest.approx(one[7:8], abs=1e-5)


def test_where_results_need_not_be_exact_an_engine_answers(pipeline: Project) -> None:
    folder = pipeline.folder / "models/classifier"
    fast = Classifier(folder, 1, onnx_reference.engine(Compute(exact=False, threads=1)))
    text = ["Wildfire spreads towards the town"]
    assert fast.probabilities(text).tolist() == Classifier(folder, 1).probabilities(text).tolist()
