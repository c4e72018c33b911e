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
    assert (folder / REFERENCE).stat().st_size < 1e6


def test_rare_words_are_not_known() -> None:
    reference = Reference.of(
        ["flood at gate", "flood here"], 0.5, ["x"], np.ones(1), np.ones(1, int)
    )
    assert reference.vocabulary.tolist() == [hashed("flood")]


def test_no_text_is_in_it(pipeline: Project) -> None:
    content = json.loads((pipeline.folder / "models/classifier" / REFERENCE).read_text())
    content.pop("features_named")
    assert not [value for value in content.values() if isinstance(value, str)]
    listed = [item for value in content.values() if isinstance(value, list) for item in value]
    assert not [item for item in listed if isinstance(item, str)]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"features_named": ["other"]}'])
def test_another_form_is_named(classifier_folder: Path, content: bytes) -> None:
    (classifier_folder / REFERENCE).write_bytes(content)
    with pytest.raises(LockedModelError, match=REFERENCE):
        Reference.load(classifier_folder)
    (classifier_folder / REFERENCE).unlink()
    with pytest.raises(LockedModelError, match=r"reference.json is missing: .* `dvc repro`"):
        Reference.load(classifier_folder)


def test_other_features_are_named(classifier_folder: Path) -> None:
    path = classifier_folder / REFERENCE
    content = json.loads(path.read_text())
    content["features_named"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(LockedModelError, match="other features of tweets"):
        Reference.load(classifier_folder)
