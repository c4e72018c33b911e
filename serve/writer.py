"""Lines written by a thread: no request ever waits for a disk, a pipe or a terminal."""

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Callable

WAITING = 10_000  # lines, beyond which they are dropped
TOGETHER = 200  # lines of one write
PAUSE = 0.1  # seconds that lines gather: one wake-up and one write for each would cost more

_one_at_a_time = threading.Lock()


class Writer:
    """Writes lines in the order of `put`, or drops them; nothing here blocks its caller."""

    def __init__(
        self, write: Callable[[bytes], None], report: Callable[[int, Exception | None], None]
    ) -> None:
        """Write with `write`; `report` hears how many lines were written, or dropped and why."""
        self.write = write
        self.report = report
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # a thread belongs to one process

    def _begin(self) -> None:
        self.lines: queue.Queue[Callable[[], bytes] | None] = queue.Queue(WAITING)
        self.thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def put(self, make: Callable[[], bytes]) -> bool:
        """Take a line, which the thread makes; return False where too many wait."""
        if self.thread.ident is None:
            self.thread.start()
        try:
            self.lines.put_nowait(make)
        except queue.Full as error:
            self.report(1, error)
            return False
        return True

    def close(self, seconds: float) -> None:
        """Write the lines that wait, for some seconds at most."""
        if self.thread.ident is None:
            return
        deadline = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self.lines.put(None, timeout=seconds)
        self.thread.join(max(0, deadline - time.monotonic()))
        if not self.thread.is_alive():
            self._begin()

    def _work(self) -> None:
        while True:
            taken = [self.lines.get()]
            if taken[0] and self.lines.qsize() < TOGETHER:
                time.sleep(PAUSE)
            while taken[-1] and len(taken) < TOGETHER and not self.lines.empty():
                taken.append(self.lines.get())
            if lines := [make() for make in taken if make]:
                try:
                    self.write(b"".join(lines))
                    self.report(len(lines), None)
                except (OSError, ValueError) as error:
                    self.report(len(lines), error)
            if not taken[-1]:
                return


def write_stdout(lines: bytes) -> None:
    """Write lines to standard output, whole, whichever threads write."""
    with _one_at_a_time:
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:  # another process has made the pipe non-blocking
                select.select([], [1], [])
