"""When the server's processes end."""

import os
import shutil
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path


class Ending:
    """The end of the main process: a signal, or the death of the HTTP process.

    It has the methods of threading.Event, which a signal handler must not set: the handler may
    interrupt the holder of the event's lock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.http_process = -1  # its sentinel
        self.is_broken = False  # the HTTP process died by itself

    def set(self) -> None:
        """End the main process."""
        os.write(self._writer, b"\0")  # never read, so that it stays

    def is_set(self) -> bool:
        """Tell whether the main process ends."""
        return bool(wait([self._reader], 0))

    def wait(self) -> None:
        """Wait for the end."""
        wait([self._reader, self.http_process])
        self.is_broken = not self.is_set()
        self.set()


def leave_with_parent(own: Path) -> None:
    """End this process within a second of its parent, even of a killed one; remove `own`."""
    threading.Thread(target=_watch, args=(os.getppid(), own), daemon=True).start()


def _watch(parent: int, own: Path) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(own, ignore_errors=True)
    os._exit(1)
