"""Locking, and adapting to an event."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from scipy.special import expit

from common.errors import InputError
from common.hashing import sha256_of
from locked.classifier import TOLERANCE, Classifier
from locked.engines import ENGINES
from locked.manifest import Calibration, verify
from stages.evaluate.metrics import Scores, Truth
from stages.lock import stage
from stages.lock.adapt import STEPS, Activations, Choice, Floats, Step, compare, fit_change, predict
from stages.lock.stage import lock, report_lines
from stages.params import Lock, Params
from stages.shared.onnx_reference import evaluator
from stages.shared.outputs import CLASSIFIER, GROUPS, NETWORK, PREPARED
from tests.conftest import Project

LockBy = Callable[[Step, str], tuple[Classifier, Scores]]


@pytest.fixture
def labels(pipeline: Project, tmp_path: Path) -> Path:
    """An event at which the model errs: a third of the labels of training tweets are swapped."""
    tweets = pd.read_parquet(pipeline.folder / PREPARED / "train.parquet").head(60)
    is_disaster = (tweets["target"] == 1) ^ (np.arange(60) >= 40)
    words = np.where(is_disaster, "disaster", "not_disaster")
    tweets.assign(label=words)[["id", "text", "label"]].to_csv(tmp_path / "event.csv", index=False)
    return tmp_path / "event.csv"


@pytest.fixture
def lock_by(pipeline: Project, labels: Path, p: Params, tmp_path: Path) -> LockBy:
    """Lock by one of the steps, and load the model into the evaluator that defines it."""

    def locked(step: Step, name: str) -> tuple[Classifier, Scores]:
        def choose(tweets: Activations, truth: Truth, weights: Floats, threshold: float) -> Choice:
            change = fit_change(step, tweets, truth, weights)
            scores = predict("none", np.zeros(0), tweets), predict(step, change, tweets)
            figures = compare(truth, scores, (threshold, threshold), weights)
            return Choice(step, "the test says so", change, 0.7, figures)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stages.lock.stage.choose", choose)
            network, data, groups = (pipeline.folder / path for path in (NETWORK, PREPARED, GROUPS))
            scores = lock(network, data, groups, labels, tmp_path / name, p)
        return Classifier(tmp_path / name, 2, evaluator), scores

    return locked


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
    pd.concat([table.assign(judged="validation"), missed]).to_parquet(tmp_path / "groups.parquet")
    network, data = (pipeline.folder / path for path in (NETWORK, PREPARED))
    lock(network, data, tmp_path / "groups.parquet", None, tmp_path / "out", p)
    before, after = verify(pipeline.folder / CLASSIFIER), verify(tmp_path / "out")
    assert after.calibration.scale / before.calibration.scale == pytest.approx(1, abs=0.01)
    assert after.calibration.shift == pytest.approx(before.calibration.shift + 1, abs=0.05)
    assert after.threshold == 0.5
    assert after.version != before.version
    event = tmp_path / "event.csv"
    event.write_text("text,label\n" + "".join(f"tweet {n},{n % 2}\n" for n in range(10)))
    trained = p.model_copy(update={"train": p.train.model_copy(update={"event": event.name})})
    lock(network, data, tmp_path / "groups.parquet", event, tmp_path / "out", trained)
    learnt = verify(tmp_path / "out")
    assert (learnt.calibration, learnt.threshold) == (before.calibration, before.threshold)


@pytest.mark.parametrize("step", STEPS[1:])
def test_an_adapted_model_is_a_locked_model(
    pipeline: Project, lock_by: LockBy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    calibration = Calibration(scale=1.5, shift=0.7)
    monkeypatch.setattr("stages.lock.stage.fit", lambda *_: calibration)
    model, scores = lock_by(step, "one")
    adaptation = model.manifest.adaptation
    assert adaptation
    assert (adaptation.step, adaptation.tweets) == (step, 60)
    assert adaptation.labels_sha256 == sha256_of(tmp_path / "event.csv")
    figures = {"accuracy", "log_loss", "calibration_error"}
    assert set(adaptation.on_labels) == set(adaptation.on_test) == figures
    test = pd.read_parquet(pipeline.folder / PREPARED / "test.parquet")
    texts, truth = test["text"].tolist(), test["target"].to_numpy()
    probabilities = model.probabilities(texts)
    right = ((probabilities >= model.manifest.threshold) == truth).mean()
    assert right == pytest.approx(adaptation.on_test["accuracy"].after, abs=1e-9)
    loss = -np.log(np.where(truth == 1, probabilities, 1 - probabilities)).mean()
    assert loss == pytest.approx(adaptation.on_test["log_loss"].after, abs=1e-3)
    assert scores == pytest.approx(model.uncalibrated(texts), abs=1e-5)
    reference = json.loads((tmp_path / "one/reference.json").read_text())
    assert reference["probabilities"] == pytest.approx(probabilities.tolist(), abs=1e-5)
    if step == "calibration":
        before = verify(pipeline.folder / CLASSIFIER)
        assert model.manifest.files["network.onnx"] == before.files["network.onnx"]
    else:
        onnx.checker.check_model(onnx.load(tmp_path / "one/network.onnx"), full_check=True)
    for engine in ENGINES:
        pytest.importorskip(engine)
        other = Classifier(tmp_path / "one", 1, engine)
        other.check()
        assert np.abs(other.uncalibrated(texts) - model.uncalibrated(texts)).max() < TOLERANCE
    lock_by(step, "two")  # the same labels give the same bytes
    for path in (tmp_path / "one").iterdir():
        assert sha256_of(tmp_path / "two" / path.name) == sha256_of(path)


def test_labels_that_change_nothing_leave_the_version(pipeline: Project, lock_by: LockBy) -> None:
    model, _ = lock_by("none", "out")
    assert model.manifest.version == verify(pipeline.folder / CLASSIFIER).version
    assert model.manifest.adaptation
    first, *figures = report_lines(model.manifest.adaptation)
    assert first.startswith("60 labels, step: none (")
    assert len(figures) == 6
    assert all("(change +0.000 to +0.000, 95 %)" in line for line in figures)


def test_labels_that_the_network_has_learnt_are_named_and_change_nothing(
    pipeline: Project, labels: Path, p: Params, tmp_path: Path
) -> None:
    learnt = p.model_copy(update={"train": p.train.model_copy(update={"event": labels.name})})
    network, data, groups = (pipeline.folder / path for path in (NETWORK, PREPARED, GROUPS))
    lock(network, data, groups, labels, tmp_path / "out", learnt)
    manifest = verify(tmp_path / "out")
    assert manifest.version == verify(pipeline.folder / "models/classifier").version
    adaptation = manifest.adaptation
    assert adaptation
    assert (adaptation.step, adaptation.tweets) == ("training", 60)
    assert adaptation.labels_sha256 == sha256_of(labels)


def test_the_labels_are_those_of_either_param(p: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Path | None] = []

    def called(*inputs: Path | None) -> None:
        files.append(inputs[3])
        raise InputError("far enough")

    monkeypatch.setattr(stage, "lock", called)
    train, locking = p.train.model_copy(update={"event": "a.csv"}), Lock(labels="b.csv")
    for params in (
        p,
        p.model_copy(update={"train": train}),
        p.model_copy(update={"lock": locking}),
    ):
        with pytest.raises(InputError, match="far enough"):
            stage.main(params)
    assert files == [None, Path("data/labels/a.csv"), Path("data/labels/b.csv")]
