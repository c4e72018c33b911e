"""Reads the pipeline's state from git and DVC, and makes the parser of each command."""

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.repo import Repo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from common.errors import InputError
from common.git import git

MERGE_REMEDY = "resolve params.yaml by hand, then: python -m experiments.restore && dvc repro"


def make_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m experiments.COMMAND`; its help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def check_readable() -> None:
    """Raise InputError if a merge is not finished: DVC cannot read it."""
    if unmerged := git("diff", "--name-only", "--diff-filter=U", "--relative").splitlines():
        raise InputError(f"{shorten(unmerged)}: a merge is not finished; {MERGE_REMEDY}")


def shorten(files: list[str]) -> str:
    """Return the first three names, and the number of the others."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + more


def find_stale(missing: bool) -> list[str]:
    """Return each difference from dvc.lock with its stage; `missing`: also absent outputs."""
    Tree(None).read_yaml("dvc.lock")
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


@dataclass(frozen=True)
class Tree:
    """The files of a commit, or of the workspace if `rev` is None."""

    rev: str | None

    def read_text(self, path: Path) -> str | None:
        """Return a file's content, or None if it does not exist."""
        if self.rev is None:
            return path.read_text(encoding="utf-8") if path.exists() else None
        try:
            return git("show", f"{self.rev}:./{path}")
        except InputError:
            return None

    def read_json(self, path: Path) -> dict[str, Any]:
        """Return a JSON file's content, {} if the file does not exist."""
        try:
            content: dict[str, Any] = json.loads(self.read_text(path) or "{}")
        except ValueError as error:
            raise self._unreadable(path, error) from error
        return content

    def read_yaml(self, path: str) -> dict[str, Any]:
        """Return a YAML file's content, {} if the file does not exist."""
        try:
            return YAML(typ="safe", pure=True).load(self.read_text(Path(path)) or "") or {}
        except YAMLError as error:
            raise self._unreadable(Path(path), error) from error

    def read_table(self, path: Path) -> pd.DataFrame:
        """Return a CSV file's rows, no rows if the file does not exist."""
        text = self.read_text(path)
        return pd.read_csv(io.StringIO(text)) if text else pd.DataFrame()

    def _unreadable(self, path: Path, error: Exception) -> InputError:
        place = f"{path} of {self.rev}" if self.rev else str(path)
        if "<<<<<<< " in (self.read_text(path) or ""):
            return InputError(f"{place} has conflict markers of a merge; {MERGE_REMEDY}")
        return InputError(f"{place}: {' '.join(str(error).split())}")


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each leaf of nested mappings."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
