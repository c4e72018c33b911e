"""Until a bucket is named, DVC asks nobody, and says so where one would be needed."""

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


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with this one's DVC configuration, whose only stage has run."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)  # who asks for a bucket asks there
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
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
    ):
        project.run(*command.split())
    return project


def test_experiments_go_on(project: Project, cloud: Cloud) -> None:
    for command in (
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
