"""In whatever state a repository is, a command works or ends with one line."""

import json
from pathlib import Path

import pytest

from common.errors import run
from tests.conftest import Project
from tests.experiments.conftest import Call, commit, dvc


def is_one_line(printed: str) -> bool:
    return printed.startswith("error: ") and "\n" not in printed and "Traceback" not in printed


def test_a_partial_clone_is_named_with_the_command_that_completes_it(
    toy: Project, call: Call
) -> None:
    (toy.folder / "toy.py").open("a").write("# an older blob is missing in the clone")
    commit(toy)
    toy.run("git", "tag", "--annotate", "classifier@v0.0.1", "--message", "a model")
    toy.run("git", "config", "uploadpack.allowFilter", "true")
    clone = Project(toy.folder.with_name("clone"), toy.site_cache)
    source = ("--filter=blob:none", f"file://{toy.folder}")
    toy.run("git", "clone", "--quiet", *source, str(clone.folder))
    for command in ("promote", "report HEAD~1", "restore"):
        printed = call(clone, *command.split(), status=1)
        assert is_one_line(printed)
        assert "this clone is partial; fetch the rest: git config" in printed
    clone.run("bash", "-euc", printed.partition("rest: ")[2])
    assert "models/report.json is missing" in call(clone, "report", "HEAD~1", status=1)


LOCK_INDEX = "touch .git/index.lock"
BREAK_CONFIG = "echo 'nonsense[' > .dvc/config"
BREAK_PIPELINE = "echo 'stages: [' > dvc.yaml"
TAG = "git tag --annotate --message=by-hand classifier@"
NEW = "mv .git ../old.git; git init --quiet"
COMMIT = "git -c user.name=T -c user.email=t@e.example commit -qm new --allow-empty"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (BREAK_CONFIG, "not committed yet: .dvc/config"),
        ("git tag classifier@v0.0.1", "gto: tag 'classifier@v0.0.1' already exists"),
        (f"{TAG}v0.0.1; {TAG}v0.0.2", "gto: Multiple versions are not allowed"),
        (f"{TAG}v0.0.1; {TAG}v0.0.1!", "gto: tag 'classifier@v0.0.1' already exists"),
        ("git config user.name ''", "git config user.name NAME && git config user.email ADDRESS"),
        (f"{NEW} --object-format=sha256; {COMMIT}", "DVC reads no others"),
        (NEW, "git: fatal: "),
    ],
)
def test_promote_in_any_state(toy: Project, call: Call, state: str, message: str) -> None:
    toy.run("bash", "-euc", state)
    printed = call(toy, "promote", status=1)
    assert is_one_line(printed)
    assert message in printed


def test_conflict_markers_that_are_committed(toy: Project, call: Call) -> None:
    for path, command in (("dvc.lock", "restore"), ("models/report.json", "report")):
        (toy.folder / path).open("a").write("<<<<<<< HEAD\n")
        commit(toy)
        printed = call(toy, command, status=1)
        assert is_one_line(printed)
        assert f"git checkout COMMIT -- {path}" in printed


def test_restore_in_a_broken_repository(toy: Project, call: Call) -> None:
    for state in (BREAK_CONFIG, BREAK_PIPELINE, LOCK_INDEX):
        toy.run("bash", "-euc", state)
        assert is_one_line(call(toy, "restore", status=1).splitlines()[-1])
        toy.run("git", "checkout", ".", check=False)


def test_a_worktree_a_detached_head_and_tags_made_by_hand(
    toy: Project, call: Call, tmp_path: Path
) -> None:
    for tag in ("classifier@1.0", "classifier@v1", "classifier#prod", "classifier#x#1", "v1.0"):
        toy.run("git", "tag", "-am", "by hand", tag)
    toy.run("git", "tag", "-d", "classifier#x#1")
    toy.run("git", "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    tree = Project(tmp_path / "tree", toy.site_cache)
    tree.run("dvc", "config", "--local", "cache.dir", str(toy.folder / ".dvc/cache"))
    dvc(tree, "checkout")
    call(tree, "restore")
    assert "v0.0.1 has prod now" in call(tree, "promote")
    assert "v0.0.1" in toy.run("gto", "show", "classifier#prod", "--version").stdout


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(json.JSONDecodeError):
        run(lambda: json.loads("{"))
