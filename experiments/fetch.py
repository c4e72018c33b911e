"""Fetch the model that has a stage or a version, to a folder, and print its version.

    python -m experiments.fetch NAME [FOLDER]

NAME is a stage such as prod, or a version such as v0.0.1. FOLDER is replaced once the model is
complete and verified.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gto.api
from gto.exceptions import ArtifactNotFound

from common.atomic import new_folder
from common.errors import InputError, run
from common.git import git
from experiments.repository import check_readable, make_parser
from locked.manifest import MANIFEST, LockedModelError, verify
from stages.shared.outputs import CLASSIFIER

ARTIFACT = "classifier"  # of dvc.yaml


def list_versions() -> dict[str, list[str]]:
    """Return the stages of each version; the newest version first."""
    git("rev-parse", "--git-dir")  # otherwise GTO raises if git distrusts the folder's owner
    try:
        entries: list[dict[str, Any]] = gto.api.show(".", ARTIFACT)
    except ArtifactNotFound:
        return {}
    return {
        entry["version"]: [each["stage"] for each in entry["stages"] if each["is_active"]]
        for entry in entries
        if entry["version"].startswith("v")  # others are commits that have a stage but no version
    }


def resolve(name: str) -> str:
    """Return the version `name`, or the version that has the stage `name`.

    Raises:
        InputError: no version has this name or stage; the message lists the versions.

    """
    stages_of = list_versions()
    for version, stages in stages_of.items():
        if name == version or name in stages:
            return version
    listed = [
        f"{v} ({', '.join(sorted(stages))})" if stages else v for v, stages in stages_of.items()
    ]
    versions = ", ".join(listed) or "none yet (`git fetch --tags` brings those of others)"
    raise InputError(f"{name} is neither a version of {ARTIFACT} nor a stage. Versions: {versions}")


def fetch(version: str, folder: Path) -> None:
    """Put the model of a version into a folder, from the cache or the remote.

    Raises:
        InputError: the model cannot be fetched or is incomplete; the folder is unchanged.

    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise InputError(f"{folder} holds something other than a model. Choose another folder")
    with new_folder(folder) as draft:
        draft.rmdir()  # into an existing folder, DVC would write a subfolder
        top, prefix = git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()
        command = [sys.executable, "-m", "dvc", "get", top, f"{prefix}{CLASSIFIER}"]
        command += ["--out", str(draft), "--rev", f"{ARTIFACT}@{version}"]
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if process.returncode:
            messages = re.findall(r"^ERROR: (.*)", process.stderr, re.M)
            reason = messages[0] if messages else " ".join(process.stderr.split())
            raise InputError(
                f"{version} cannot be fetched: {reason}. `python -m deploy.doctor` checks "
                "the remote"
            )
        try:
            verify(draft, version)
        except LockedModelError as error:
            raise InputError(str(error)) from error


def main() -> None:
    """Fetch the model that the command line names."""
    parser = make_parser("fetch", __doc__)
    parser.add_argument("name", help="a stage or a version")
    folder = Path("models/promoted")
    parser.add_argument("folder", nargs="?", type=Path, default=folder, help=f"default: {folder}")
    options = parser.parse_args()
    check_readable()
    version = resolve(options.name)
    fetch(version, options.folder)
    print(version)


if __name__ == "__main__":
    run(main)
