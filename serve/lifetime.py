"""When the server's processes end."""

import os
import shutil
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path


class Ending:
    """What the main process waits for: that it is told to end, or that the HTTP process died.

    It is asked as a threading.Event is, which a signal handler could not set without a risk: both
    may want its lock.
    """

    def __init__(self) -> None:
        self._told, self._tell = os.pipe()
        self.http_process = -1  # its sentinel
        self.broken = False  # the HTTP process died by itself

    def set(self) -> None:
        """Tell it to end."""
        os.write(self._tell, b"\0")  # never read, so that it stays

    def is_set(self) -> bool:
        """Tell whether it is to end."""
        return bool(wait([self._told], 0))

    def wait(self) -> None:
        """Return when it is time."""
        wait([self._told, self.http_process])
        self.broken = not self.is_set()
        self.set()


def leave_with_parent(own: Path) -> None:
    """End this process within a second of its parent, even if that was killed.

    Then nobody else removes the folder `own`.
    """
    threading.Thread(target=_watch, args=(os.getppid(), own), daemon=True).start()


def _watch(parent: int, own: Path) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(own, ignore_errors=True)
    os._exit(1)
