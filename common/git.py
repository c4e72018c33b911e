"""Git, asked by its own command."""

import subprocess

from common.errors import InputError


def git(*arguments: str) -> str:
    """Run git and return what it prints.

    Raises:
        InputError: git fails; with its message.

    """
    command = ["git", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if process.returncode:
        raise InputError(f"git: {process.stderr.strip()}")
    return process.stdout


def changed_files() -> list[str]:
    """Return the tracked files that differ from the last commit."""
    unlocked = ("--no-optional-locks", "diff", "--name-only", "-z")  # others may need the lock
    return git(*unlocked, "--relative", "HEAD", "--", ".").split("\0")[:-1]
