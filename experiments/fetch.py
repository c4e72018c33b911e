"""Fetch the model that has a stage or a version, to a folder, and print its version.

    python -m experiments.fetch NAME [FOLDER]

NAME is a stage such as prod, or a version such as v0.0.1. The folder is replaced once the model is
there and whole.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gto.api
from gto.exceptions import ArtifactNotFound, GTOException
from scmrepo.exceptions import SCMError

from common.atomic import new_folder
from common.errors import InputError, run
from common.git import git
from locked.manifest import MANIFEST, LockedModelError, verify
from stages.shared.outputs import CLASSIFIER

ARTIFACT = "classifier"  # of dvc.yaml
UNUSABLE = (GTOException, SCMError)  # such as no git repository, or nobody's name in git's config


def versions() -> dict[str, list[str]]:
    """Return the stages that each version has; the newest version first."""
    git("rev-parse", "--git-dir")  # GTO ends in a traceback where git distrusts a folder's owner
    try:
        shown: list[dict[str, Any]] = gto.api.show(".", ARTIFACT)
    except ArtifactNotFound:
        return {}
    except UNUSABLE as error:
        raise InputError(str(error)) from error
    return {
        entry["version"]: [of["stage"] for of in entry["stages"] if of["is_active"]]
        for entry in shown
    }


def resolve(name: str) -> str:
    """Return the version that has a stage, or that is itself named.

    Raises:
        InputError: there is none; the message says which there are.

    """
    known = versions()
    for version, stages in known.items():
        if name == version or name in stages:
            return version
    listed = [f"{v} ({', '.join(stages)})" if stages else v for v, stages in known.items()]
    there = ", ".join(listed) or "none yet (`git fetch --tags` brings those of others)"
    raise InputError(f"no version of {ARTIFACT} is or has {name}; there are: {there}")


def fetch(version: str, folder: Path) -> None:
    """Put the model of a version into a folder, from the cache or the remote.

    Raises:
        InputError: it cannot be had, or is not whole; the folder is as it was.

    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise InputError(f"{folder} holds something else than a model: name another folder")
    with new_folder(folder) as draft:
        draft.rmdir()  # in a folder that is there, DVC would make another
        top, here = git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()
        command = [sys.executable, "-m", "dvc", "get", top, f"{here}{CLASSIFIER}"]
        command += ["--out", str(draft), "--rev", f"{ARTIFACT}@{version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if done.returncode:
            said = re.findall(r"^ERROR: (.*)", done.stderr, re.M) or [done.stderr.strip()]
            raise InputError(
                f"{version} cannot be fetched: {said[0]}; "
                "`python -m deploy.check.doctor` may find the cause"
            )
        try:
            verify(draft, called=version)
        except LockedModelError as error:
            raise InputError(str(error)) from error


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.fetch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", help="a stage or a version")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("models/promoted"))
    chosen = parser.parse_args()
    version = resolve(chosen.name)
    fetch(version, chosen.folder)
    print(version)


if __name__ == "__main__":
    run(main)
