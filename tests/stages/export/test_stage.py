"""Quantising, calibrating and locking."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from scipy.special import expit

from common.errors import InputError
from common.hashing import sha256_of
from locked.classifier import Classifier
from locked.manifest import Manifest, verify
from stages.export import stage
from stages.export.stage import export
from stages.params import Params
from stages.shared.onnx_reference import evaluator
from stages.shared.outputs import CHECKPOINT, CLASSIFIER, GROUPS, PREPARED
from tests.conftest import Project


def test_the_network_is_int8_and_near_the_checkpoint(pipeline: Project) -> None:
    path = pipeline.folder / CLASSIFIER / "network.onnx"
    numbers: Counter[int] = Counter()
    for stored in onnx.load(path).graph.initializer:
        numbers[stored.data_type] += math.prod(stored.dims)
    # the rest is mostly position vectors, which are few in a model of some size
    assert numbers[onnx.TensorProto.INT8] > 0.75 * numbers.total()
    parity = json.loads((pipeline.folder / "models/parity.json").read_text())
    validation = pd.read_parquet(pipeline.folder / PREPARED / "validation.parquet")
    assert parity["rows"] == len(validation)
    assert 0 < parity["probability_difference_mean"] < 0.02
    assert parity["probability_difference_largest"] < 0.2
    difference = parity["accuracy_int8"] - parity["accuracy_fp32"]
    assert parity["accuracy_difference"] == pytest.approx(difference)
    # Paths of the machine that made it would make other bytes elsewhere.
    assert b".py" not in path.read_bytes()
    assert b"/site-packages" not in path.read_bytes()


def test_only_training_tweets_set_the_int8_ranges(
    pipeline: Project, p: Params, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(pipeline.folder / PREPARED, tmp_path / "data"))
    for split in ("validation", "test"):
        table = pd.read_parquet(data / f"{split}.parquet").head(9)
        table.assign(text="something else " + table["text"]).to_parquet(data / f"{split}.parquet")
    export(pipeline.folder / CHECKPOINT, data, pipeline.folder / GROUPS, tmp_path / "out", p)
    folders = tmp_path / "out", pipeline.folder / CLASSIFIER
    assert len({sha256_of(folder / "network.onnx") for folder in folders}) == 1


def test_the_manifest_says_where_the_model_comes_from(pipeline: Project, base_model: Path) -> None:
    manifest = verify(pipeline.folder / CLASSIFIER)
    assert manifest.base_model.sha256 == sha256_of(base_model / "model.safetensors")
    train = pipeline.folder / "data/prepared/train.parquet"
    assert manifest.training_data_sha256 == sha256_of(train)
    assert set(manifest.files) == {"network.onnx", "reference.json", "tokenizer.json"}
    assert manifest.metrics["accuracy"] > 0.7
    assert manifest.adaptation is None


def test_golden_and_stored_answers_define_the_model(pipeline: Project) -> None:
    model = Classifier(pipeline.folder / CLASSIFIER, 2, evaluator)
    golden = model.manifest.golden
    probabilities = model.probabilities([each.text for each in golden])
    assert probabilities.tolist() == [each.probability for each in golden]
    test = pd.read_parquet(pipeline.folder / PREPARED / "test.parquet")
    stored = np.load(pipeline.folder / "models/answers.npy")
    assert stored == pytest.approx(model.uncalibrated(test["text"].tolist()), abs=1e-6)


def test_groups_make_the_calibration_that_of_unseen_groups(
    pipeline: Project, p: Params, tmp_path: Path
) -> None:
    odds = np.random.default_rng(0).normal(0, 2, 2000)
    truth = np.random.default_rng(1).random(2000) < expit(odds)
    table = pd.DataFrame({"target": truth.astype(np.int8), "probability": expit(odds)})
    missed = table.assign(probability=expit(odds - 1), judged="unseen")
    groups = tmp_path / "groups.parquet"
    pd.concat([table.assign(judged="validation"), missed]).to_parquet(groups)
    data = Path(shutil.copytree(pipeline.folder / PREPARED, tmp_path / "data"))
    rows = pd.read_parquet(data / "test.parquet").head(9)  # few, because they change nothing here
    rows.to_parquet(data / "test.parquet")

    def make(event: Path | None) -> Manifest:
        export(pipeline.folder / CHECKPOINT, data, groups, tmp_path / "out", p, event)
        return verify(tmp_path / "out")

    before, after = verify(pipeline.folder / CLASSIFIER), make(None)
    assert after.calibration.scale / before.calibration.scale == pytest.approx(1, abs=0.01)
    assert after.calibration.shift == pytest.approx(before.calibration.shift + 1, abs=0.05)
    assert after.threshold == 0.5
    assert after.version != before.version
    event = tmp_path / "event.csv"
    event.write_text("text,label\n" + "".join(f"tweet {n},{n % 2}\n" for n in range(10)))
    learnt = make(event)
    assert (learnt.calibration, learnt.threshold) == (before.calibration, before.threshold)
    assert learnt.adaptation
    assert learnt.adaptation.model_dump() == {
        "labels": "event.csv",
        "labels_sha256": sha256_of(event),
        "tweets": 10,
    }


def test_the_labels_are_those_of_the_param(p: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Path | None] = []

    def called(*inputs: Path | None) -> None:
        events.append(inputs[-1])
        raise InputError("far enough")

    monkeypatch.setattr(stage, "export", called)
    trained = p.model_copy(update={"train": p.train.model_copy(update={"event": "a.csv"})})
    for params in (p, trained):
        with pytest.raises(InputError, match="far enough"):
            stage.main(params)
    assert events == [None, Path("data/labels/a.csv")]
