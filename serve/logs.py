"""Writes log lines in a thread, so that no request waits for a disk, a pipe or a terminal.

The lines of the server's own log are JSON with the fields that Cloud Logging knows,
https://cloud.google.com/logging/docs/structured-logging
"""

import contextlib
import errno
import functools
import json
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from serve import metrics

QUEUE_SIZE = 10_000  # waiting lines; further ones are dropped
PAUSE = 0.1  # seconds between two writes: a write for each line would cost more

# They keep lines whole. There are two, because a full pipe must not delay writes to files.
_stdout_lock, _file_lock = threading.Lock(), threading.Lock()


class FullError(OSError):
    """A file or folder has reached its maximum size."""


class Writer:
    """Writes lines in a thread in the order of `put`, or drops them; `put` does not block."""

    def __init__(
        self, write: Callable[[bytes], None], report: Callable[[int, Exception | None], None]
    ) -> None:
        """Write with `write`; `report` gets a number of lines, and an error if they are lost."""
        self.write = write
        self.report = report
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # a thread belongs to one process

    def _begin(self) -> None:
        self.lines: queue.Queue[Callable[[], bytes] | None] = queue.Queue(QUEUE_SIZE)
        self.thread: threading.Thread | None = None

    def put(self, make: Callable[[], bytes]) -> bool:
        """Queue a line, which the thread gets from `make`; return False if the queue is full."""
        if not self.thread:
            self.thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self.thread.start()
        try:
            self.lines.put_nowait(make)
        except queue.Full:
            self.report(1, queue.Full("too many lines wait"))
            return False
        return True

    def close(self, seconds: float) -> None:
        """Write the waiting lines, for at most `seconds`, and end the thread."""
        if self.thread:
            with contextlib.suppress(queue.Full):
                self.lines.put(None, timeout=seconds)
            self.thread.join(seconds)
            self._begin()

    def _work(self) -> None:
        lines, is_open = self.lines, True
        while is_open:
            makers = [lines.get()]
            if makers[0]:
                time.sleep(PAUSE)
            makers += [lines.get() for _ in range(lines.qsize())]
            is_open = makers[-1] is not None
            content = [make() for make in makers if make]
            try:
                self.write(b"".join(content))
                self.report(len(content), None)
            except (OSError, ValueError) as error:
                self.report(len(content), error)


def write_stdout(lines: bytes) -> None:
    """Write lines to standard output; lines of several threads do not mix."""
    with _stdout_lock:
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:  # another process has made the pipe non-blocking
                select.select([], [1], [])


def append(file: Path, lines: bytes, limit: int) -> None:
    """Append all lines to a file or none; only the owner may read a new file.

    Raises:
        FullError: the file would have more than `limit` bytes.
        OSError: the file cannot be written.

    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(lines) > limit:
                raise FullError(f"{file} has reached {limit} bytes")
            if os.write(descriptor, lines) < len(lines):
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, "no space left", str(file))
        finally:
            os.close(descriptor)


def _count_dropped(lines: int, problem: Exception | None) -> None:
    if problem:
        metrics.SERVER_LOG_DROPPED.inc(lines)


stdout = Writer(write_stdout, _count_dropped)


class JsonHandler(logging.Handler):
    """Writes one JSON object a line; a record's `fields` are merged into it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line for the thread that writes."""
        stdout.put(functools.partial(format_line, record))


def format_line(record: logging.LogRecord) -> bytes:
    """Return a record as a line of JSON."""
    fields: dict[str, object] = {
        "severity": record.levelname,
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "message": record.getMessage(),
        "logger": record.name,
        **getattr(record, "fields", {}),
    }
    if record.exc_info:
        fields["stack_trace"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(fields).encode() + b"\n"


def configure(level: str) -> None:
    """Send all logs from `level` up to standard output."""
    logging.basicConfig(level=level.upper(), handlers=[JsonHandler()], force=True)
    logging.captureWarnings(capture=True)
    for name in ("litserve", "uvicorn", "uvicorn.error"):  # they have their own handlers
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(max(logging.WARNING, logging.root.level))
