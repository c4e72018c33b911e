"""Without a remote, as in .dvc/config, DVC sends no request, and experiments work."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project
from tests.gcs import Cloud

STAGES = """\
stages:
  copy:
    cmd: cp params.yaml out
    params: [x]
    outs: [out]
"""


def test_experiments_work_without_a_remote(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)  # to see a request for a bucket
    project = Project(tmp_path / "project", tmp_path / "site-cache")
    (project.folder / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, project.folder / name)
    (project.folder / "dvc.yaml").write_text(STAGES)
    (project.folder / "params.yaml").write_text("x: 1\n")
    for command in (
        "git init --quiet",
        "git config user.name Tester",
        "git config user.email tester@example.com",
        "dvc repro",
        "git add --all",
        "git commit --quiet --message run",
        "dvc exp run --set-param x=2 --name two",
        "git checkout HEAD .",
        "dvc checkout",
        "dvc exp run --temp --set-param x=3",
        "dvc exp apply two",
        "dvc repro --pull",
    ):
        project.run(*command.split())
    assert (project.folder / "out").read_text() == "x: 2\n"
    assert cloud.requests == []
