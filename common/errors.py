"""Errors that the user can correct, and how a command prints them."""

import sys
import traceback
from collections.abc import Callable

# An exception from within these packages is about the state of the repository, whatever its class.
REPOSITORY_PACKAGES = {
    *("dvc", "dvc_data", "dvc_objects", "dvc_render", "gto"),
    *("scmrepo", "dulwich", "pygit2", "_pygit2", "git", "semver"),
}
SET_IDENTITY = "git config user.name NAME && git config user.email ADDRESS"
REMEDIES = {  # part of an error's message: what to do
    "must be configured": SET_IDENTITY,
    "Failed to create tag": SET_IDENTITY,
    "Unable to acquire lock": "wait for the other DVC process, or stop it",
    "structure is corrupted": "take out conflict markers, or: git checkout HEAD -- FILE",
    "unknown object format": "make a clone with SHA-1 objects: DVC reads no others",
}


class InputError(Exception):
    """The user's input is wrong; the message names the file, row or key and needs no traceback."""


def run(command: Callable[[], None]) -> None:
    """Call a command; if its input or the repository is wrong, exit with a one-line error."""
    try:
        command()
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # raised again below unless a package of git or DVC is its origin
        frames = [
            frame.f_globals.get("__name__", "")
            for frame, _ in traceback.walk_tb(error.__traceback__)
        ]
        packages = [name.partition(".")[0] for name in [*frames, type(error).__module__]]
        package = next((name for name in packages if name in REPOSITORY_PACKAGES), None)
        if package is None:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        remedy = next((remedy for part, remedy in REMEDIES.items() if part in message), "")
        sys.exit(f"error: {package}: {message}{remedy and f': {remedy}'}")
