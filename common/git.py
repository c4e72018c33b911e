"""Calls git and reports its errors."""

import re
import subprocess

from common.errors import InputError


def git(*arguments: str) -> str:
    """Run git and return what it prints.

    Raises InputError, with git's message in one line, if git fails.
    """
    if "diff" in arguments:  # without a repository, its message has no reason
        git("rev-parse", "--git-dir")
    command = ["git", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if process.returncode:
        raise InputError(f"git: {' '.join(process.stderr.split())}")
    return process.stdout


def changed_files() -> list[str]:
    """Return the tracked files that differ from the last commit."""
    unlocked = ("--no-optional-locks", "diff", "--name-only", "-z")  # leave the lock to others
    return git(*unlocked, "--relative", "HEAD", "--", ".").split("\0")[:-1]


def check_complete() -> None:
    """Raise InputError if the clone is partial: DVC and GTO do not fetch missing objects.

    They would wait for ever, or fail in another thread.
    """
    remotes = re.findall(r"^remote\.(.+)\.promisor$", git("config", "--list", "--name-only"), re.M)
    if remotes and "\n?" in "\n" + git("rev-list", "--objects", "--all", "--missing=print"):
        raise InputError(
            "this clone is partial; fetch the rest: "
            f"git config --unset remote.{remotes[0]}.partialclonefilter; "
            f"git fetch --refetch {remotes[0]}"
        )


def get_shallow_remedy() -> str:
    """Return how to complete a shallow clone; "" if the clone is not shallow."""
    if git("rev-parse", "--is-shallow-repository").strip() == "false":
        return ""
    return (
        "this clone is shallow; fetch the rest: "
        "git remote set-branches origin '*' && git fetch --unshallow --tags"
    )
