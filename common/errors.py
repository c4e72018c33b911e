"""Errors a person can act on."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """The user's input is wrong; the message names the file, row or key and needs no traceback."""


class NoTableError(InputError):
    """A file as a whole is not the table that is looked for."""


def run(stage: Callable[[], None]) -> None:
    """Call a stage; end the process with a plain message where its input is wrong."""
    try:
        stage()
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
