"""A text's probability is its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from locked.classifier import ROWS, TOKENS, Classifier, Network, log_odds, split_rows
from locked.engines import Inputs
from locked.manifest import LockedModelError
from tests.conftest import CORPUS, ROOT, Project


@pytest.fixture(scope="module")
def classifier(pipeline: Project) -> Classifier:
    return Classifier(pipeline.folder / "models/classifier")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Tweets of all lengths, and some that no tweet should be."""
    odd = ["!", "\U0001f525" * 80, "\u0627\u0644\u0646", "a " * 4000, "\x00", "https://t.example/1"]
    return [*pd.read_csv(CORPUS)["text"].head(150), *odd]


def test_the_answer_is_the_same_alone_in_any_batch_and_by_any_number_of_threads(
    pipeline: Project, classifier: Classifier, texts: list[str]
) -> None:
    alone = np.array([classifier.probabilities([text])[0] for text in texts])
    assert np.ptp(alone) > 0.1
    chance = np.random.default_rng(1)
    for size in (2, 7, 64, len(texts)):
        order = chance.permutation(len(texts))
        for start in range(0, len(texts), size):
            rows = order[start : start + size]
            answers = classifier.probabilities([texts[row] for row in rows])
            np.testing.assert_allclose(answers, alone[rows], rtol=0, atol=1e-6)
    for threads in (1, 2):
        other = Classifier(pipeline.folder / "models/classifier", threads)
        np.testing.assert_allclose(other.probabilities(texts), alone, rtol=0, atol=1e-6)
    assert classifier.probabilities([]).shape == (0,)


def test_the_answers_follow_the_checkpoint(
    pipeline: Project, classifier: Classifier, texts: list[str]
) -> None:
    folder = pipeline.folder / "models/checkpoint"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.no_grad():
        exact = [
            torch.softmax(model(torch.tensor([tokenizer.encode(text).ids])).logits, -1)[0, 1].item()
            for text in texts
        ]
    assert np.abs(classifier.uncalibrated(texts) - exact).mean() < 0.02


def test_inferences_have_few_shapes(pipeline: Project, texts: list[str], tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(pipeline.folder / "models/classifier/tokenizer.json"))
    tokenizer.enable_truncation(40)  # no multiple of GRID
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    shapes = set()

    def run(batches: Sequence[Inputs]) -> list[npt.NDArray[np.float32]]:
        for batch in batches:
            assert batch["attention_mask"][:, 0].all()  # of rows without a text too
            shapes.add(batch["input_ids"].shape)
        return [np.zeros(len(batch["input_ids"]), np.float32) for batch in batches]

    network = Network(tmp_path, 40, 1, lambda *_: run)
    for part in (texts[:1], texts[:1] * 4, texts):
        network.uncalibrated(part)
    assert {tokens for _, tokens in shapes} == {16, 32, 40}
    assert {rows for rows, _ in shapes} <= {*ROWS}
    assert all(rows * tokens <= TOKENS for rows, tokens in shapes)


def test_little_of_an_inference_is_empty() -> None:
    assert list(split_rows(12, 32)) == [(0, 12, 16)]
    assert list(split_rows(11, 32)) == [(0, 4, 4), (4, 8, 4), (8, 11, 4)]
    assert list(split_rows(18, 32)) == [(0, 16, 16), (16, 17, 1), (17, 18, 1)]
    assert list(split_rows(4, 3)) == [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1)]


def test_answers_are_calibrated_and_the_label_turns_at_the_threshold(
    classifier: Classifier,
) -> None:
    threshold = classifier.manifest.threshold
    assert classifier.label(threshold) == "disaster"
    assert classifier.label(np.nextafter(threshold, 0)) == "not_disaster"
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    texts = ["Flood in the valley, hundreds evacuated", "this album is fire", "!"]
    bare = classifier.uncalibrated(texts).astype(np.float64)
    by = classifier.manifest.calibration
    assert (by.scale, by.shift) != (1, 0)
    expected = 1 / (1 + ((1 - bare) / bare) ** by.scale * np.exp(-by.shift))
    assert np.abs(classifier.probabilities(texts) - expected).max() < 1e-6


def test_golden_answers_are_compared(classifier_folder: Path) -> None:
    Classifier(classifier_folder).check()
    path = classifier_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert len(manifest["golden"]) == 8
    first = manifest["golden"][0]
    first["probability"] = 1 - round(first["probability"])
    path.write_text(json.dumps(manifest))
    with pytest.raises(LockedModelError, match=r"manifest.json: golden: 'Wildfire spreads"):
        Classifier(classifier_folder).check()


def test_its_makers_are_told_nothing(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import locked.classifier"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []  # no identity to report under
