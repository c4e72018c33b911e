"""Making it all again, and saying whether it is the same."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANG, Project, copied


@pytest.fixture
def project(pipeline: Project, tmp_path: Path) -> Project:
    return copied(pipeline, tmp_path / "project")


def test_the_same_bytes_come_out_again(project: Project) -> None:
    (project.folder / "README.md").write_text("changed")
    said = project.run("python", "-m", "experiments.verify").stdout
    assert "without the changes to README.md" in said
    end = said.partition("\non ")[2].splitlines()[1:]
    assert [line.split()[0] for line in end[:6]] == [
        "prepare",
        "distill",
        "train",
        "export",
        "lock",
        "evaluate",
    ]
    assert [line.split()[-1] for line in end[:6]] == ["equal"] * 6
    assert end[6:] == ["every output has the bytes of dvc.lock"]


def test_the_first_output_that_differs_is_named(project: Project) -> None:
    lock = project.folder / "dvc.lock"
    prepared = project.lock()["stages"]["prepare"]["outs"][0]["md5"]
    lock.write_text(lock.read_text().replace(prepared, f"{'0' * 32}.dir"))
    project.run("git", "commit", "--quiet", "--all", "--message", "another lock")
    done = project.run("python", "-m", "experiments.verify", check=False)
    assert done.returncode == 1
    assert "differs: data/prepared" in done.stdout
    assert "distill" not in done.stdout.partition("\non ")[2]
    assert "it parts from dvc.lock there" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_lock_there_is_nothing_to_compare(project: Project) -> None:
    project.run("git", "rm", "--quiet", "dvc.lock")
    project.run("git", "commit", "--quiet", "--message", "no lock")
    done = project.run("python", "-m", "experiments.verify", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: dvc.lock: the last commit has none to compare with: `make repro` first\n"
    )


def test_whoever_ends_it_ends_all_of_it(project: Project, tmp_path: Path) -> None:
    (place := tmp_path / "place").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.verify"],
        cwd=project.folder,
        env=project.environment(TMPDIR=str(place)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    for line in process.stdout:
        if b"Running stage 'prepare'" in line:
            break
    process.terminate()
    assert process.wait(HANG) == 128 + signal.SIGTERM
    process.stdout.read()  # to the end: nobody holds it any longer
    assert not list(place.glob("verify-*"))
