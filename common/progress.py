"""Progress bars that are also readable in a log file."""

import os
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LOG_INTERVAL = 10.0  # seconds between two lines in a log


class Progress(tqdm):
    """A tqdm bar on a terminal; elsewhere a line every LOG_INTERVAL seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - tqdm's
        kwargs.setdefault("disable", os.environ.get("RANK", "0") != "0")  # only rank 0
        super().__init__(*args, **kwargs)
        if not self.disable and not self.fp.isatty():
            self.mininterval = self.maxinterval = LOG_INTERVAL

    @staticmethod
    def status_printer(file: TextIO) -> Callable[[str], None]:
        """Return a function that prints the state of the bar to `file`."""
        if file.isatty():
            return tqdm.status_printer(file)  # type: ignore[no-any-return] # has no types
        return lambda state: print(state.strip(), file=file, flush=True) if state.strip() else None
