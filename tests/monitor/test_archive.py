"""What was scored in bulk is a log as well."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from locked.classifier import Classifier
from monitor.log import read
from tests.conftest import ROOT, Project

TEXTS = ["Flood in the valley", "cake", "", "FLOOD in the valley!", "storm https://t.example/1"]


def score(pipeline: Project, folder: Path, *options: str) -> str:
    table = folder / "tweets.csv"
    rows = "".join(f'{i},"{text}",x\n' for i, text in enumerate(TEXTS))
    table.write_text("id,text,label\n" + rows)
    model = str(pipeline.folder / "models/classifier")
    command = [sys.executable, "-m", "score", str(table), str(folder / "out"), "--model", model]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr  # one is refused
    return str(folder / "out")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_answers_are_predictions(pipeline: Project, tmp_path: Path, kind: str) -> None:
    classifier = Classifier(pipeline.folder / "models/classifier")
    place = score(pipeline, tmp_path, "--format", kind)
    logs, lines = read([place])
    log = logs[classifier.manifest.version]
    asked = [text for text in TEXTS if text]
    assert (lines.read, lines.broken, len(log)) == (4, 0, 4)
    expected = classifier.probabilities(asked)
    assert log.probabilities == pytest.approx(expected, abs=1e-5)
    assert log.disaster.tolist() == [classifier.label(p) == "disaster" for p in expected]
    assert log.table["characters"].tolist() == [len(text) for text in asked]
    assert log.once().tolist() == [0, 1, 3]  # the first and the third have the same words
    assert log.texts.tolist() == asked


def test_without_texts_there_are_no_features(pipeline: Project, tmp_path: Path) -> None:
    logs, _ = read([score(pipeline, tmp_path, "--keep", "id")])
    (log,) = logs.values()
    assert len(log.once()) == 4
    assert log.texts.empty


def test_a_foreign_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match=r"run\.json is not what `python -m score` writes"):
        read([str(tmp_path)])
