"""Readers' verdicts on answers, kept for whoever trains the next model."""

import json
import os
import threading
from pathlib import Path

from serve import logs
from serve.settings import STDOUT

LIMIT = 100 * 2**20  # bytes


class NotRecordedError(Exception):
    """A verdict could not be kept; the message says why."""


class Recorder:
    """Appends verdicts to a file, or to standard output, where a container's logs are collected."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._one_at_a_time = threading.Lock()

    def record(self, verdict: dict[str, object]) -> None:
        """Append a verdict as one line of JSON, whole or not at all.

        Raises:
            NotRecordedError: it is lost.

        """
        line = json.dumps(verdict).encode() + b"\n"
        if self.place == STDOUT:
            if not logs.stdout.put(lambda: line):
                raise NotRecordedError("standard output: too many lines wait")
            return
        try:
            with self._one_at_a_time:
                self._append(line)
        except OSError as error:
            raise NotRecordedError(f"{self.place}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        Path(self.place).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(line) > LIMIT:
                raise NotRecordedError(f"{self.place} is full")
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)
                raise NotRecordedError(f"{self.place}: no space left")
        finally:
            os.close(descriptor)
