"""Readers' verdicts on answers, kept for whoever trains the next model."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Protocol

LIMIT = 100 * 2**20  # bytes


class NotRecordedError(Exception):
    """A verdict could not be kept; the message says why."""


class Recorder(Protocol):
    """Where verdicts go."""

    def record(self, verdict: dict[str, object]) -> None:
        """Keep a verdict.

        Raises:
            NotRecordedError: it is lost.

        """


def recorder_of(place: Path) -> Recorder:
    """Return what writes to a file, or to standard output where `place` is "stdout"."""
    return StdoutRecorder() if str(place) == "stdout" else FileRecorder(place)


class StdoutRecorder:
    """Prints each verdict for Cloud Logging: what a container writes elsewhere ends with it."""

    def record(self, verdict: dict[str, object]) -> None:
        """Print a line."""
        try:
            sys.stdout.write(json.dumps(verdict) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            raise NotRecordedError(f"standard output: {error}") from error


class FileRecorder:
    """Appends each verdict to a file, as one line of JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._one_at_a_time = threading.Lock()

    def record(self, verdict: dict[str, object]) -> None:
        """Append a line, whole or not at all."""
        line = json.dumps(verdict).encode() + b"\n"
        try:
            with self._one_at_a_time:
                self._append(line)
        except OSError as error:
            raise NotRecordedError(f"{self.path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(line) > LIMIT:
                raise NotRecordedError(f"{self.path} is full")
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)
                raise NotRecordedError(f"{self.path}: no space left")
        finally:
            os.close(descriptor)
