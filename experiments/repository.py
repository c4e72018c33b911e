"""What git and DVC know of the pipeline."""

import subprocess
from typing import Any

from dvc.repo import Repo

from stages.io import InputError


def git(*arguments: str) -> str:
    """Run git and return what it says.

    Raises:
        InputError: it fails; with its message.

    """
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def changed_files() -> list[str]:
    """Return the tracked files that differ from the last commit."""
    return [line[3:] for line in git("status", "--porcelain", "-uno").splitlines()]


def named(files: list[str]) -> str:
    """Name some files, and say how many more there are."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + more


def stale_stages(missing: bool) -> list[str]:
    """Name what differs from dvc.lock, by stage; with `missing`, also data that is not here."""
    with Repo() as repo:
        status: dict[str, list[Any]] = repo.status()
    found = []
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):  # such as "changed command"
                found.append(f"{stage}: {change}")
                continue
            for paths in change.values():
                for path, state in paths.items():
                    if isinstance(state, dict):  # params
                        found += [f"{stage}: {path}: {key} is {how}" for key, how in state.items()]
                    elif missing or state not in ("deleted", "not in cache"):
                        found.append(f"{stage}: {path} is {state}")
    return found
