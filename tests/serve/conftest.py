import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from locked.classifier import Classifier
from tests.conftest import Project
from tests.serve.here import Here, Serve, here


@pytest.fixture(scope="module")  # other files change the logging of this process
def server(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A server with the default settings, for tests that leave it as it was."""
    with here(classifier, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def serve(classifier: Classifier, tmp_path: Path) -> Serve:
    """Serve with other settings."""
    return partial(here, classifier, tmp_path)


@pytest.fixture(scope="session")
def classifier(pipeline: Project) -> Classifier:
    """The model that answers, in this process."""
    return Classifier(pipeline.folder / "models/classifier", threads=1)


def altered(classifier: Classifier, place: Path, **fields: object) -> Path:
    """Copy a locked model and change fields of its manifest."""
    shutil.copytree(classifier.folder, place)
    path = place / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return place


@pytest.fixture
def eager(classifier: Classifier, tmp_path: Path) -> Path:
    """A sound model that calls everything a disaster."""
    return altered(classifier, tmp_path / "eager", threshold=0.0)


@pytest.fixture
def confused(classifier: Classifier, tmp_path: Path) -> Path:
    """A model whose files are whole and whose golden answers are wrong."""
    text = "Evacuations as the flood nears"
    wrong = (float(classifier.probabilities([text])[0]) + 0.5) % 1
    golden = [{"text": text, "probability": wrong}]
    return altered(classifier, tmp_path / "confused", threshold=0.25, golden=golden)
