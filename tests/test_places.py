"""The project works in any folder and for any user, or its error names the remedy."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import AS_NOBODY, NOBODY, ROOT, Project, copied, lend_environment
from tests.experiments.conftest import commit
from tests.serve.running import serving, wait_until

# Where it would set up an environment it fails: the one lent here is that of this test run.
MAKE = ("make", "PYTHON=false")
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@pytest.fixture(scope="module")  # the tests leave it as it was
def foreign(pipeline: Project) -> Iterator[Project]:
    """A project that belongs to a user whom nobody knows; pytest's folders are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        (top := Path(name)).chmod(0o755)
        project = copied(pipeline, top / "project")
        lend_environment(project.folder)
        project.site_cache.mkdir()
        for path in top.rglob("*"):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield project


def bare(project: Project, **variables: str) -> tuple[str, ...]:
    """Start a command with no variables but these, as an unknown user."""
    needed = {
        "PATH": project.environment()["PATH"],
        "DVC_SITE_CACHE_DIR": str(project.site_cache),
        **variables,
    }
    return (*AS_NOBODY, "env", "-i", *(f"{key}={value}" for key, value in needed.items()))


def refusal(project: Project, *command: str) -> str:
    """Return the error message of a command that must fail, without a traceback."""
    process = project.run(*command, check=False)
    assert process.returncode != 0
    assert "Traceback" not in process.stderr
    return process.stderr


def test_a_folder_of_any_name(pipeline: Project, tmp_path: Path) -> None:
    project = copied(pipeline, tmp_path / "my [tweets] é")
    lend_environment(project.folder)
    output = project.run(*MAKE, "repro").stdout
    assert "up to date" in output
    assert "models/metrics.json" in output
    project.run("python", "-m", "stages", "prepare")
    assert "up to date" in project.run("dvc", "status").stdout
    project.run("python", "-m", "deploy.release.check_model")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_make_names_its_commands_by_their_path() -> None:
    tasks = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {"repro", "serve", "test", "clean"} <= set(tasks)
    command = ("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "--always-make", "--dry-run")
    make = subprocess.run(
        [*command, "--no-print-directory", "PYTHON=python3", *tasks],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = make.stdout.replace("\\\n", " ").splitlines()
    programs = {re.sub(r"^(\w+=\S+ )*", "", line).split()[0] for line in lines}
    without_venv = {"awk", "find", "git", "rm", "touch"}
    assert programs == {".venv/bin/python", "python3"} | without_venv
    installed = r"(?:^|[;&|]|\w=\S*\s)\s*(?:accelerate|dvc|mypy|pip|pytest|python|ruff)\s"
    assert not [line for line in lines if re.search(installed, line)]


def test_without_git_nothing_is_installed_and_the_advice_works(
    pipeline: Project, tmp_path: Path
) -> None:
    project = copied(pipeline, tmp_path / "project")
    shutil.rmtree(project.folder / ".git")
    error = refusal(project, *MAKE, "repro")
    assert not (project.folder / ".venv").exists()
    advice = re.search(r"error: DVC needs git.*: (git init .*)", error)
    assert advice, error
    roles, values = ("AUTHOR", "COMMITTER"), (("NAME", "A"), ("EMAIL", "a@b.example"))
    names = [f"GIT_{role}_{key}={value}" for role in roles for key, value in values]
    project.run("env", *names, "bash", "-euc", advice[1])
    lend_environment(project.folder)
    assert "up to date" in project.run(*MAKE, "repro").stdout


def test_a_folder_of_another_repository(pipeline: Project, tmp_path: Path) -> None:
    top = tmp_path / "top"
    project = copied(pipeline, top / "its/project")
    shutil.rmtree(project.folder / ".git")
    (top / "other.txt").write_text("other")
    outer = Project(top, project.site_cache)
    outer.start_git()
    commit(outer)
    (top / "other.txt").write_text("others' changes are no matter of this project")
    assert "up to date" in project.run("dvc", "status").stdout
    assert "v0.0.1 has prod now" in project.run("python", "-m", "experiments.promote").stdout

    params = project.params()
    params["runtime"]["checkpoint_steps"] = 7
    project.set_params(params)
    project.run("python", "-m", "experiments.report", "HEAD", "--comment", "comment.md")
    comment = (project.folder / "comment.md").read_text()
    assert "| runtime.checkpoint_steps | 20 | 7 | -13 |" in comment
    assert "against HEAD: +0.00 points" in comment


def test_git_changes_no_byte_of_a_file(pipeline: Project, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    pipeline.run("git", "clone", "--quiet", "--config=core.autocrlf=true", ".", str(clone))
    tracked = pipeline.run("git", "ls-files").stdout.splitlines()
    assert len(tracked) > 50
    for name in tracked:
        assert (clone / name).read_bytes() == (pipeline.folder / name).read_bytes(), name


def test_a_shallow_clone_says_what_it_lacks(pipeline: Project, tmp_path: Path) -> None:
    project = copied(pipeline, tmp_path / "project")
    project.run("git", "branch", "other")
    project.run("git", "tag", "--annotate", "classifier@v0.0.1", "--message", "a model")
    readme = project.folder / "README.md"
    readme.write_text(readme.read_text() + "more\n")
    commit(project)
    clone = Project(tmp_path / "clone", project.site_cache)
    url = f"file://{project.folder}"
    project.run("git", "clone", "--quiet", "--depth=1", url, str(clone.folder))
    base = ("python", "-m", "experiments.report", "origin/other")
    message = r"this clone is shallow; fetch the rest: (git .*)\n$"
    assert re.search(message, refusal(clone, *base))
    advice = re.search(message, refusal(clone, "python", "-m", "experiments.promote"))
    assert advice
    clone.run("bash", "-euc", advice[1])
    clone.run("git", "show", "origin/other:params.yaml")
    assert clone.run("git", "tag").stdout == "classifier@v0.0.1\n"
    assert clone.run("git", "rev-parse", "--is-shallow-repository").stdout == "false\n"


@AS_ROOT
def test_a_user_with_no_name_and_no_home(foreign: Project) -> None:
    through_env = "RUN=env .venv/bin/python -m"  # make itself would not see a Python in a home
    output = foreign.run(*bare(foreign), *MAKE, through_env, "repro").stdout
    assert "up to date" in output
    image = dict(re.findall(r"(HOME|LOGNAME)=(\S+)", (ROOT / "Dockerfile.train").read_text()))
    assert "up to date" in foreign.run(*bare(foreign, **image), "dvc", "status").stdout


@AS_ROOT
def test_a_home_that_cannot_be_written_and_one_core(foreign: Project) -> None:
    (home := foreign.folder.with_name("home")).mkdir(mode=0o555)
    inside = bare(foreign, HOME=str(home), LOGNAME="somebody")
    assert "Permission denied" in refusal(foreign, *inside, "touch", str(home / "file"))
    if not shutil.which("taskset"):
        pytest.skip("taskset is not installed")
    repeat = ("taskset", "--cpu-list", "0", "dvc", "repro", "--force", "--single-item", "evaluate")
    before = foreign.lock()
    assert "denied" not in foreign.run(*inside, *repeat).stderr
    assert foreign.lock() == before


@AS_ROOT
def test_a_repository_of_somebody_else(foreign: Project) -> None:
    (home := foreign.folder.with_name("stranger")).mkdir()
    start = ("env", f"HOME={home}", "GIT_CONFIG_NOSYSTEM=1")
    advice = f"git config --global --add safe.directory {foreign.folder}"
    for command in (
        (*MAKE, "repro"),
        ("python", "-m", "experiments.report"),
        ("python", "-m", "experiments.promote"),
    ):
        assert advice in refusal(foreign, *start, *command), command
    foreign.run(*start, *advice.split())
    promoted = foreign.run(*start, "python", "-m", "experiments.promote").stdout
    assert "v0.0.1 has prod now" in promoted


def test_temporary_files_far_down(pipeline: Project, tmp_path: Path) -> None:
    (far := tmp_path / f"my [tweets] é {'x' * 100}").mkdir()
    with serving(pipeline, tmp_path, TMPDIR=str(far)) as server:
        assert list(far.glob("*/workers.sock"))
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: server.workers() not in ([], [worker]))
        body = {"text": "Bridge down, two hurt"}
        assert httpx.post(f"{server.url}/predict", json=body, timeout=20).status_code == 200
        server.stop()
    assert list(far.iterdir()) == []
