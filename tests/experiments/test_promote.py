"""A stage is given to sound models only, and can be given back."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.compare import difference
from locked.manifest import verify
from tests.conftest import Project
from tests.experiments.conftest import commit


def promote(project: Project, *arguments: str, module: str = "promote") -> tuple[int, str]:
    done = project.run("python", "-m", f"experiments.{module}", *arguments, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def fetch(project: Project, *arguments: str) -> tuple[int, str]:
    return promote(project, *arguments, module="fetch")


def tags(project: Project) -> list[str]:
    return project.run("git", "tag").stdout.split()


def test_promote_refuse_a_worse_one_and_roll_back(project: Project, tmp_path: Path) -> None:
    code, said = promote(project)
    assert code == 0, said
    assert "v0.0.1 has prod now" in said
    assert sorted(tags(project)) == ["classifier#prod#1", "classifier@v0.0.1"]
    assert "v0.0.1 has prod already" in promote(project)[1]

    # the same network, half a point better or worse for nobody: nothing speaks against it
    params = project.params()
    params["evaluate"]["bootstrap"] = 110
    project.set_params(params)
    project.run("dvc", "repro")
    commit(project, "as good")
    fresh = tmp_path / "fresh.csv"
    learnt = pd.read_parquet(project.folder / "data/prepared/train.parquet").head(3)
    learnt[["text", "target"]].to_csv(fresh, index=False)
    assert (
        "fresh.csv: this model has learnt from each of"
        in promote(project, "--fresh", str(fresh))[1]
    )
    fresh.write_text(fresh.read_text() + "A dam has burst above the town,1\nlovely cake,0\n")
    code, said = promote(project, "--fresh", str(fresh))
    assert code == 0, said
    assert "on the test split, less that of v0.0.1: +0.00 points" in said
    assert f"on {fresh}, less that of v0.0.1: +0.00 points" in said
    assert "v0.0.2 has prod now, after v0.0.1" in said

    # one that has learnt nothing
    project.run("dvc", "exp", "run", "-S", "train.lr=1e-7", "-S", "train.epochs=1")
    commit(project, "worse")
    code, said = promote(project)
    assert code == 1
    assert (
        "v0.0.2 keeps prod: this model is surely worse by more than promote.margin = 0.01 on the "
        "test split" in said
    )
    assert len(tags(project)) == 4
    assert promote(project, "staging")[0] == 0  # nobody has that stage: nothing to be worse than
    assert "classifier@v0.0.3" in tags(project)

    code, said = promote(project, "--version", "v0.0.1")
    assert code == 0, said
    assert "v0.0.1 has prod now, after v0.0.2" in said
    out = tmp_path / "prod"
    assert fetch(project, "prod", str(out)) == (0, "v0.0.1\n")
    project.run("git", "checkout", "--quiet", "classifier@v0.0.1")
    project.run("dvc", "checkout", "--quiet")
    whole = verify(out)
    assert whole == verify(project.folder / "models/classifier")

    there = "there are: v0.0.3 (staging), v0.0.2, v0.0.1 (prod)\n"
    for code, said in (promote(project, "--version", "v7.0.0"), fetch(project, "eu", str(out))):
        assert (code, said.endswith(there)) == (1, True), said
    assert "v0.0.3 has eu now" in promote(project, "eu", "--version", "staging")[1]

    code, said = fetch(project, "prod", "models")
    assert (code, said.startswith("error: models holds something else")) == (1, True), said

    shutil.rmtree(project.folder / ".dvc/cache")
    (project.folder / ".dvc/config.local").write_text(
        f"[core]\n    remote = nowhere\n['remote \"nowhere\"']\n    url = {tmp_path}/nowhere\n"
    )
    code, said = fetch(project, "eu", str(out))
    assert (code, said.startswith("error: v0.0.3 cannot be fetched: ")) == (1, True), said
    assert verify(out) == whole


def test_what_is_not_locked_is_not_promoted(project: Project) -> None:
    code, said = promote(project, "prod#1")
    assert (code, said.endswith("not 'prod#1'\n")) == (1, True), said
    project.run("git", "config", "user.name", "")
    code, said = promote(project)
    assert (code, said.startswith("error: ")) == (1, True), said
    project.run("git", "config", "user.name", "Tester")

    readme = project.folder / "README.md"
    text = readme.read_text()
    readme.write_text("changed")
    assert promote(project) == (1, "error: not committed yet: README.md; commit, then promote\n")
    readme.write_text(text)

    project.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    project.run("git", "commit", "--quiet", "--message", "without its lock")
    assert promote(project) == (1, "error: not committed yet: dvc.lock; commit, then promote\n")
    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")

    weights = project.folder / "models/classifier/network.onnx"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    code, said = promote(project)
    assert code == 1
    assert "export: models/classifier is modified" in said
    shutil.rmtree(weights.parent)
    project.run("dvc", "checkout", "--quiet")

    params = project.params()
    params["train"]["lr"] = 0.001
    project.set_params(params)
    commit(project, "not run")
    code, said = promote(project)
    assert code == 1
    assert "train: params.yaml: train is modified" in said
    assert "none yet" in fetch(project, "prod")[1]
    assert tags(project) == []


def test_what_did_not_pass_is_not_promoted(project: Project) -> None:
    params = project.params()
    params["evaluate"]["minimum"]["accuracy"] = 1.0
    project.set_params(params)
    project.run("dvc", "repro")
    commit(project)
    assert json.loads((project.folder / "models/metrics.json").read_text())["passed"] is False
    code, said = promote(project)
    assert (code, "models/metrics.json: passed is false" in said) == (1, True), said
    assert tags(project) == []


def test_the_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.5
    said = truth ^ (rng.random(2000) < 0.2)
    better = np.where(rng.random(2000) < 0.05, truth, said)
    found = difference(truth, better, said)
    assert found.value == pytest.approx(0.01, abs=0.005)
    assert 0 < found.low < found.value < found.high < 0.02  # unpaired, it would hold 0
    assert difference(truth, said, better).value == -found.value
    assert difference(truth, said, said) == (0, 0, 0)
