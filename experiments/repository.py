"""Reads the pipeline's state from git and DVC, and makes the parser of each command."""

import argparse
import json
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from common.errors import InputError
from common.git import check_complete, git


def make_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m experiments.COMMAND`; its help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def check_readable() -> None:
    """Raise InputError if the clone is partial, or a merge is not finished: DVC cannot read it."""
    check_complete()
    if unmerged := git("diff", "--name-only", "--diff-filter=U", "--relative").splitlines():
        raise InputError(
            f"{shorten(unmerged)}: a merge is not finished; resolve params.yaml by hand, then: "
            "python -m experiments.restore && dvc repro"
        )


def shorten(files: list[str]) -> str:
    """Return the first three names, and the number of the others."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + more


def find_stale(missing: bool) -> list[str]:
    """Return each difference from dvc.lock with its stage; `missing`: also absent outputs."""
    with Repo() as repo:
        status: dict[str, list[Any]] = repo.status()
    lines = []
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):  # such as "changed command"
                lines.append(f"{stage}: {change}")
                continue
            for paths in change.values():
                for path, state in paths.items():
                    if isinstance(state, dict):  # of params
                        lines += [f"{stage}: {path}: {key} is {how}" for key, how in state.items()]
                    elif missing or state not in ("deleted", "not in cache"):
                        lines.append(f"{stage}: {path} is {state}")
    return lines


def read_file(rev: str | None, path: Path) -> str:
    """Return a file's content in a commit, or in the workspace if `rev` is None; "" if missing."""
    if rev is None:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        return git("show", f"{rev}:./{path}")
    except InputError:
        return ""


def read_data(rev: str | None, path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the parsed content of a JSON or YAML file in a commit, or in the workspace if None.

    Raises InputError if it is missing or cannot be parsed, as with a merge's conflict markers.
    """
    parse = json.loads if path.suffix == ".json" else YAML(typ="safe", pure=True).load
    try:
        return parse(read_file(rev, path))
    except (ValueError, YAMLError) as error:
        raise InputError(
            f"{path}{f' of {rev}' if rev else ''} is missing or damaged, or has conflict markers; "
            f"take an earlier one: git checkout COMMIT -- {path}, then: dvc repro"
        ) from error
