"""Errors that the user can correct, and how a command prints them."""

import re
import sys
from collections.abc import Callable

# An exception of these packages is about the state of the repository.
REPOSITORY_PACKAGES = {
    *("dvc", "dvc_data", "dvc_objects", "dvc_render", "gto"),
    *("scmrepo", "dulwich", "pygit2", "_pygit2", "git", "semver"),
}
NO_IDENTITY = re.compile("must be configured|Failed to create tag")
SET_IDENTITY = ": git config user.name NAME && git config user.email ADDRESS"


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
    except Exception as error:  # raised again unless it is of a package of git or DVC
        package = type(error).__module__.partition(".")[0]
        if package not in REPOSITORY_PACKAGES:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        remedy = SET_IDENTITY if NO_IDENTITY.search(message) else ""
        sys.exit(f"error: {package}: {message}{remedy}")
