"""What live tweets are compared with."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from locked.classifier import calibrate
from locked.features import FEATURES, hashed
from locked.manifest import LockedModelError, verify
from locked.reference import REFERENCE, Reference
from tests.conftest import Project


def test_the_locked_model_has_one_of_the_test_split(pipeline: Project) -> None:
    folder = pipeline.folder / "models/classifier"
    reference = Reference.load(folder)
    test = pd.read_parquet(pipeline.folder / "data/prepared/test.parquet")
    train = pd.read_parquet(pipeline.folder / "data/prepared/train.parquet")
    assert reference.labels.tolist() == test["target"].tolist()
    calibration = verify(folder).calibration
    answers = calibrate(np.load(pipeline.folder / "models/answers.npy"), calibration)
    assert reference.probabilities == pytest.approx(answers, abs=1e-6)
    assert reference.positive_share == pytest.approx(train["target"].mean())
    assert reference.features.shape == (len(test), len(FEATURES))
    assert hashed("the") in reference.vocabulary
    content = json.loads((folder / REFERENCE).read_text())
    assert content.pop("features_named") == list(FEATURES)
    assert '"' not in "".join(map(str, content.values()))  # no text is in it
    rare = Reference.of(["flood at gate", "flood here"], 0.5, ["x"], np.ones(1), np.ones(1, int))
    assert rare.vocabulary.tolist() == [hashed("flood")]


def test_another_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockedModelError, match=r"reference.json is missing: .* `dvc repro`"):
        Reference.load(tmp_path)
    for content, message in (
        (b"", "reference.json: Expecting value"),
        (b"[]", "reference.json: list indices"),
        (b'{"features_named": ["other"]}', "reference.json: its features differ"),
    ):
        (tmp_path / REFERENCE).write_bytes(content)
        with pytest.raises(LockedModelError, match=message):
            Reference.load(tmp_path)
