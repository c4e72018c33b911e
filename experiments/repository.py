"""What git and DVC know of the pipeline."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.repo import Repo
from ruamel.yaml import YAML

from common.errors import InputError
from common.git import git


def lacking() -> str:
    """Say how to have what a shallow clone lacks; "" where this is none."""
    if git("rev-parse", "--is-shallow-repository").strip() == "false":
        return ""
    return (
        "this clone is shallow; have all of it: "
        "git remote set-branches origin '*' && git fetch --unshallow --tags"
    )


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


@dataclass(frozen=True)
class Run:
    """The files of a commit, or of the workspace where `rev` is None."""

    rev: str | None

    def text(self, path: Path) -> str | None:
        """Return a file's content, or None if it is not there."""
        if self.rev is None:
            return path.read_text(encoding="utf-8") if path.exists() else None
        try:
            return git("show", f"{self.rev}:./{path}")
        except InputError:
            return None

    def json(self, path: Path) -> dict[str, Any]:
        """Return a JSON file's content, or {}."""
        content: dict[str, Any] = json.loads(self.text(path) or "{}")
        return content

    def yaml(self, path: str) -> dict[str, Any]:
        """Return a YAML file's content, or {}."""
        return YAML(typ="safe", pure=True).load(self.text(Path(path)) or "") or {}

    def table(self, path: Path) -> pd.DataFrame:
        """Return a CSV or TSV file's rows; none if it is not there."""
        text = self.text(path)
        separator = "\t" if path.suffix == ".tsv" else ","
        return pd.read_csv(io.StringIO(text), sep=separator) if text else pd.DataFrame()


def flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what nested mappings hold, each with its dotted key."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
