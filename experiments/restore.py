"""Bring params.yaml, dvc.lock and all outputs back to the last commit.

    python -m experiments.restore

Use it after an experiment was stopped or killed (it also checks out the branch again), to merge
two branches with different models (resolve params.yaml first), or if an output was changed by hand.
It does not touch other files, such as changed code.
"""

from contextlib import suppress
from pathlib import Path

from dvc.exceptions import CheckoutError, DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from common.errors import InputError, run
from common.git import check_complete, git
from experiments.repository import make_parser, read_data, shorten


def restore() -> None:
    """Restore the files of git, then those of DVC.

    Raises:
        InputError: the clone is partial, or DVC's cache lacks an output, which the message names.

    """
    check_complete()
    with suppress(DvcException), Repo() as repo:
        try:
            repo.status()
        except LockError as error:  # an experiment is still running
            raise InputError(" ".join(str(error).split())) from error
    attach_head()
    restore_tracked()
    with Repo() as repo:
        try:
            repo.checkout(force=True)
        except CheckoutError as error:
            raise InputError(
                f"not in DVC's cache: {shorten(sorted(error.target_infos))}. `dvc pull` fetches it "
                "from a remote, `dvc repro` makes it again"
            ) from error


def attach_head() -> None:
    """Return to the branch that a killed `dvc exp run` has left for a detached HEAD."""
    killed = git("for-each-ref", "--format=%(refname)", "refs/exps/exec/EXEC_MERGE")
    if not killed:
        return
    with suppress(InputError):  # the commit was checked out without a branch
        branch = git("rev-parse", "--symbolic-full-name", "@{-1}").strip()
        is_detached = git("rev-parse", "--symbolic-full-name", "HEAD").strip() == "HEAD"
        if is_detached and git("rev-parse", branch) == git("rev-parse", "HEAD"):
            git("symbolic-ref", "HEAD", branch)
            print(f"on branch {branch.removeprefix('refs/heads/')} again")
    for ref in git("for-each-ref", "--format=%(refname)", "refs/exps/exec").split():
        git("update-ref", "--no-deref", "-d", ref)


def restore_tracked() -> None:
    """Restore params.yaml, dvc.lock and the outputs that git tracks; print changed params."""
    lock = read_data("HEAD", Path("dvc.lock")) or {}
    stages = lock.get("stages", {}).values()
    outputs = [out["path"] for stage in stages for out in stage.get("outs", [])]
    names = ["dvc.lock", *outputs]
    try:
        git("rev-parse", "--quiet", "--verify", "MERGE_HEAD")
    except InputError:
        names.append("params.yaml")
        print(git("diff", "HEAD", "--unified=0", "--", "params.yaml"), end="")
    tracked = git("ls-tree", "-r", "-z", "--name-only", "HEAD", "--", *names).split("\0")[:-1]
    git("checkout", "HEAD", "--", *tracked)


def main() -> None:
    """Restore the last commit's files, and print that."""
    make_parser("restore", __doc__).parse_args()
    restore()
    print("params.yaml, dvc.lock and all outputs are those of the last commit")


if __name__ == "__main__":
    run(main)
