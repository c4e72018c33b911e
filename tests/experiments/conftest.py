from pathlib import Path

import pytest

from tests.conftest import Project, copied


@pytest.fixture
def project(pipeline: Project, tmp_path: Path) -> Project:
    """A project of the test's own, after `dvc repro`."""
    return copied(pipeline, tmp_path / "project")


def queue_is_empty(project: Project) -> bool:
    status = project.run("dvc", "queue", "status").stdout
    return "Queued" not in status and "Running" not in status


def commit(project: Project, message: str = "change") -> None:
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", message)
