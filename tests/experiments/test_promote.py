"""A stage is given to sound models only, and can be given back."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from common.errors import InputError
from experiments import promote
from experiments.compare import compare_accuracy
from stages.shared.outputs import PREPARED
from tests.conftest import Project, copied
from tests.experiments.conftest import Call, commit, dvc, retrain, set_lr

TRUTH = np.arange(100) % 2 == 0


class ToyClassifier:
    """Answers that are the worse, the higher the learning rate."""

    manifest = type("Manifest", (), {"threshold": 0.5})

    def __init__(self, folder: Path) -> None:
        self.lr = float((folder / "manifest.json").read_text())

    def probabilities(self, texts: list[str]) -> npt.NDArray[np.float64]:
        wrong = np.arange(100) < 200 * self.lr
        answers: npt.NDArray[np.float64] = (TRUTH ^ wrong)[: len(texts)].astype(np.float64)
        return answers


@pytest.fixture
def toy(toy: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The toy with test tweets, judged by toy classifiers."""
    monkeypatch.setattr(promote, "Classifier", ToyClassifier)
    (toy.folder / PREPARED).mkdir(parents=True)
    tweets = pd.DataFrame({"text": [f"tweet {n}" for n in range(100)], "target": TRUTH})
    for split in ("train", "validation", "test"):
        tweets.to_parquet(toy.folder / PREPARED / f"{split}.parquet")
    (toy.folder / ".git/info/exclude").write_text("/data\n")
    return toy


def tags(project: Project) -> list[str]:
    return sorted(project.run("git", "tag").stdout.split())


def test_promote_refuse_a_worse_model_and_roll_back(toy: Project, call: Call) -> None:
    assert "v0.0.1 has prod now\n" in call(toy, "promote")
    assert tags(toy) == ["classifier#prod#1", "classifier@v0.0.1"]
    assert "v0.0.1 has prod already" in call(toy, "promote")

    retrain(toy, 0.0002)
    printed = call(toy, "promote")
    assert "accuracy on the test split, minus that of v0.0.1: +0.00 points" in printed
    assert "v0.0.2 has prod now, after v0.0.1" in printed

    retrain(toy, 0.2)
    printed = call(toy, "promote", status=1)
    assert "v0.0.2 keeps prod: this model is significantly worse" in printed
    assert "by more than promote.margin = 0.01, on the test split" in printed
    assert len(tags(toy)) == 4
    call(toy, "promote", "staging")  # no model has that stage yet

    back = ("--version", "v0.0.1", "--stage", "prod", "--force")
    toy.run("gto", "assign", "classifier", *back)  # as docs/promote.md says
    assert promote.list_versions() == {"v0.0.3": ["staging"], "v0.0.2": [], "v0.0.1": ["prod"]}
    shutil.rmtree(toy.folder / ".dvc/cache/files")
    dvc(toy, "commit", "--force")
    assert "error: v0.0.1 cannot be fetched: " in call(toy, "promote", status=1)


def test_a_workspace_that_differs_is_not_promoted(toy: Project, call: Call) -> None:
    assert call(toy, "promote", "prod#1", status=1).endswith("not 'prod#1'")

    (toy.folder / "toy.py").open("a").write("# changed")
    assert "not committed yet: toy.py; commit" in call(toy, "promote", status=1)
    toy.run("git", "checkout", "toy.py")

    toy.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    toy.run("git", "commit", "--quiet", "--message", "without its lock")
    assert "not committed yet: dvc.lock; commit" in call(toy, "promote", status=1)
    toy.run("git", "reset", "--quiet", "--hard", "HEAD~1")

    (toy.folder / "models/classifier/manifest.json").write_text("altered")
    assert "train: models/classifier is modified" in call(toy, "promote", status=1)
    shutil.rmtree(toy.folder / "models/classifier")
    assert "train: models/classifier is deleted" in call(toy, "promote", status=1)
    call(toy, "restore")

    set_lr(toy, 0.6)
    commit(toy, "not run")
    assert "train: params.yaml: train is modified" in call(toy, "promote", status=1)
    retrain(toy, 0.6)
    assert "models/metrics.json: passed is false" in call(toy, "promote", status=1)
    assert tags(toy) == []


def test_the_real_model_on_fresh_tweets(pipeline: Project, call: Call, tmp_path: Path) -> None:
    project, fresh = copied(pipeline, tmp_path / "project"), tmp_path / "fresh.csv"
    assert "v0.0.1 has prod now" in call(project, "promote")
    params = project.params()
    params["promote"]["margin"] = 0.02  # on which no stage depends
    project.set_params(params)
    commit(project)
    learnt = pd.read_parquet(project.folder / "data/prepared/train.parquet").head(50)
    learnt[["text", "target"]].rename(columns={"target": "label"}).to_csv(fresh, index=False)
    with pytest.raises(InputError, match=r"fresh.csv: this model was trained on all of its"):
        promote.read_unlearnt(fresh)
    fresh.write_text(fresh.read_text() + "A dam has burst above the town,1\nlovely cake,0\n")
    assert promote.read_unlearnt(fresh)["target"].tolist() == [1, 0]
    lines = ["lovely cake,0", *(f"a storm at gate {n},{n % 2}" for n in range(10))]
    (project.folder / "data/labels/storm.csv").write_text("\n".join(["text,label", *lines]))
    learnt_too = project.params()
    learnt_too["train"]["event"] = "storm.csv"
    project.set_params(learnt_too)
    assert promote.read_unlearnt(fresh)["target"].tolist() == [1]
    project.set_params(params)
    (project.folder / "data/labels/storm.csv").unlink()
    assert "nowhere.csv does not exist" in call(
        project, "promote", "--fresh", "nowhere.csv", status=2
    )
    printed = call(project, "promote", "--fresh", str(fresh))
    for name in ("the test split", fresh):
        assert f"accuracy on {name}, minus that of v0.0.1: +0.00 points" in printed


def test_the_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.5
    answers = truth ^ (rng.random(2000) < 0.2)
    better = np.where(rng.random(2000) < 0.05, truth, answers)
    gain = compare_accuracy(truth, better, answers)
    assert gain.value == pytest.approx((better == truth).mean() - (answers == truth).mean())
    assert 0 < gain.low < gain.value < gain.high < 0.02, "unpaired, the interval would hold 0"
    assert compare_accuracy(truth, answers, better).value == -gain.value
    assert compare_accuracy(truth, answers, answers) == (0, 0, 0)
