"""The pipeline's state by git and DVC, and the command line of each command here."""

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
from common.git import check_complete, git

MERGE = "resolve params.yaml by hand, then: python -m experiments.restore && dvc repro"


def command_line(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of `python -m experiments.COMMAND`; its help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def check_readable() -> None:
    """Raise InputError where DVC and GTO cannot read the repository: partial, or half merged."""
    check_complete()
    if unmerged := git("diff", "--name-only", "--diff-filter=U", "--relative").splitlines():
        raise InputError(f"{shorten(unmerged)}: a merge is not finished; {MERGE}")


def shorten(files: list[str]) -> str:
    """Name at most three files, and say how many more there are."""
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + more


def stale_stages(missing: bool) -> list[str]:
    """Name what differs from dvc.lock, by stage; with `missing`, also outputs that are absent."""
    Run(None).yaml("dvc.lock")
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
                    if isinstance(state, dict):  # params
                        lines += [f"{stage}: {path}: {key} is {how}" for key, how in state.items()]
                    elif missing or state not in ("deleted", "not in cache"):
                        lines.append(f"{stage}: {path} is {state}")
    return lines


@dataclass(frozen=True)
class Run:
    """The files of a commit, or of the workspace where `rev` is None."""

    rev: str | None

    def text(self, path: Path) -> str | None:
        """Return a file's content, or None if it does not exist."""
        if self.rev is None:
            return path.read_text(encoding="utf-8") if path.exists() else None
        try:
            return git("show", f"{self.rev}:./{path}")
        except InputError:
            return None

    def json(self, path: Path) -> dict[str, Any]:
        """Return a JSON file's content, or {}."""
        try:
            content: dict[str, Any] = json.loads(self.text(path) or "{}")
        except ValueError as error:
            raise self._unreadable(path, error) from error
        return content

    def yaml(self, path: str) -> dict[str, Any]:
        """Return a YAML file's content, or {}."""
        try:
            return YAML(typ="safe", pure=True).load(self.text(Path(path)) or "") or {}
        except YAMLError as error:
            raise self._unreadable(Path(path), error) from error

    def table(self, path: Path) -> pd.DataFrame:
        """Return a CSV file's rows; none if it does not exist."""
        text = self.text(path)
        return pd.read_csv(io.StringIO(text)) if text else pd.DataFrame()

    def _unreadable(self, path: Path, error: Exception) -> InputError:
        where = f"{path} of {self.rev}" if self.rev else str(path)
        if "<<<<<<< " in (self.text(path) or ""):
            return InputError(f"{where} has conflict markers of a merge; {MERGE}")
        return InputError(f"{where}: {' '.join(str(error).split())}")


def flatten(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings with its dotted key."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
