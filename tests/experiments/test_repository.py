"""In whatever state a repository is, a command works or ends with one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import run
from tests.conftest import Project
from tests.experiments.conftest import Call, commit


def is_one_line(printed: str) -> bool:
    return printed.startswith("error: ") and "\n" not in printed and "Traceback" not in printed


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_is_named_at_once_with_the_command_that_completes_it(
    toy: Project, call: Call, kind: str
) -> None:
    (toy.folder / "toy.py").open("a").write("# an older blob is missing in the clone")
    commit(toy)
    toy.run("git", "tag", "--annotate", "classifier@v0.0.1", "--message", "a model")
    toy.run("git", "config", "uploadpack.allowFilter", "true")
    clone = Project(toy.folder.with_name("clone"), toy.site_cache)
    url = f"file://{toy.folder}"
    toy.run("git", "clone", "--quiet", f"--filter={kind}", url, str(clone.folder))
    for command in (
        ("fetch", "v0.0.1"),
        ("promote",),
        ("report", "HEAD~1"),
        ("sweep", "train.lr=1e-3,1e-4"),
        ("verify",),
    ):
        status, printed = call(clone, *command)
        assert (status, is_one_line(printed)) == (1, True), printed
        assert "this clone is partial; fetch the rest: git config" in printed
    clone.run("bash", "-euc", printed.partition("rest: ")[2])
    assert "models/report.json is missing" in call(clone, "report", "HEAD~1")[1]


def lock_index(project: Project) -> None:
    (project.folder / ".git/index.lock").touch()


def break_config(project: Project) -> None:
    (project.folder / ".dvc/config").write_text("nonsense[")


def break_pipeline(project: Project) -> None:
    (project.folder / "dvc.yaml").write_text("stages: [")


def forget_dvc(project: Project) -> None:
    project.run("git", "rm", "-r", "--quiet", ".dvc")


def tag_lightly(project: Project) -> None:
    project.run("git", "tag", "classifier@v0.0.1")


def tag_twice(project: Project) -> None:
    for version in ("v0.0.1", "v0.0.2"):
        project.run("git", "tag", "-am", "by hand", f"classifier@{version}")


def deprecate(project: Project) -> None:
    for tag in ("classifier@v0.0.1", "classifier@v0.0.1!"):
        project.run("git", "tag", "-am", "by hand", tag)


def lose_name(project: Project) -> None:
    project.run("git", "config", "user.name", "")


def be_sha256(project: Project) -> None:
    for path in project.folder.glob(".git"):
        path.rename(project.folder.with_name("old.git"))
    project.run("git", "init", "--quiet", "--object-format=sha256")
    project.run(
        "git",
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@e.example",
        "commit",
        "-qm",
        "x",
        "--allow-empty",
    )


def have_no_commit(project: Project) -> None:
    (project.folder / ".git").rename(project.folder.with_name("old.git"))
    project.run("git", "init", "--quiet")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_config, "not committed yet: .dvc/config"),
        (break_pipeline, "not committed yet: dvc.yaml"),
        (forget_dvc, "not committed yet"),
        (tag_lightly, "gto: tag 'classifier@v0.0.1' already exists"),
        (tag_twice, "gto: Multiple versions are not allowed on the same Git commit"),
        (deprecate, "gto: tag 'classifier@v0.0.1' already exists"),
        (lose_name, "git config user.name NAME && git config user.email ADDRESS"),
        (be_sha256, "DVC reads no others"),
        (have_no_commit, "git: fatal: "),
    ],
)
def test_promote_in_any_state(
    toy: Project, call: Call, spoil: Callable[[Project], None], message: str
) -> None:
    spoil(toy)
    status, printed = call(toy, "promote")
    assert (status, is_one_line(printed)) == (1, True), printed
    assert message in printed


@pytest.mark.parametrize("spoil", [lock_index, break_config, break_pipeline])
@pytest.mark.parametrize("command", ["fetch", "restore"])
def test_other_commands_in_a_broken_repository(
    toy: Project, call: Call, spoil: Callable[[Project], None], command: str
) -> None:
    spoil(toy)
    status, printed = call(toy, command, *(["prod"] if command == "fetch" else []))
    assert status == 1
    assert is_one_line(printed.splitlines()[-1]), printed


def test_a_worktree_a_detached_head_and_tags_made_by_hand(
    toy: Project, call: Call, tmp_path: Path
) -> None:
    for tag in ("classifier@1.0", "classifier@v1", "classifier#prod", "classifier#x#1", "v1.0"):
        toy.run("git", "tag", "-am", "by hand", tag)
    assert "none yet" in call(toy, "fetch", "prod")[1]
    toy.run("git", "tag", "-d", "classifier#x#1")
    toy.run("git", "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    tree = Project(tmp_path / "tree", toy.site_cache)
    tree.run("dvc", "config", "--local", "cache.dir", str(toy.folder / ".dvc/cache"))
    tree.run("dvc", "checkout")
    assert call(tree, "restore")[0] == 0
    status, printed = call(tree, "promote")
    assert (status, "v0.0.1 has prod now" in printed) == (0, True), printed
    assert "v0.0.1 (prod)" in call(toy, "fetch", "nothing")[1]


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    def bug() -> None:
        json.loads("{")

    with pytest.raises(json.JSONDecodeError):
        run(bug)
