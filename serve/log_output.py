"""Where the log of predictions goes: files of a folder, or standard output."""

import contextlib
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

FILE_SIZE, FILE_AGE = 64 * 2**20, 3600  # bytes, seconds; then another file is begun
FOLDER_SIZE = 2**30  # bytes of all its files; whoever collects them makes room


class Output(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None:
        """Write whole lines, all or none.

        Raises:
            OSError: none is written.

        """


class FullError(OSError):
    """There is no room for more by the log's own limit."""


class Stdout:
    """Standard output, from where Cloud Logging takes lines."""

    def write(self, lines: bytes) -> None:
        """Write lines between those of the other log."""
        sys.stdout.write(lines.decode())
        sys.stdout.flush()


class Folder:
    """Files of a folder, each begun by one process and never appended to by another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file, self.size, self.born, self.used = -1, 0, 0.0, 0
        self.name = path

    def write(self, lines: bytes) -> None:
        """Append lines, to another file where this one is large or old."""
        if self.size >= FILE_SIZE or time.monotonic() - self.born >= FILE_AGE or self._is_gone():
            self._begin()
        if self.used + len(lines) > FOLDER_SIZE:
            self.used = self._total()  # somebody may have made room
            if self.used + len(lines) > FOLDER_SIZE:
                raise FullError
        written = os.write(self.file, lines)
        if written < len(lines):
            os.ftruncate(self.file, self.size)
            raise OSError("no space left")
        self.size += written
        self.used += written

    def _is_gone(self) -> bool:
        """Tell whether there is no file, or somebody has taken it away."""
        try:
            return self.file < 0 or not os.path.samestat(os.fstat(self.file), self.name.stat())
        except FileNotFoundError:
            return True

    def _begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        self.name = self.path / f"predictions-{now}-{os.getpid()}.jsonl"
        self.file = os.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self.size, self.born, self.used = 0, time.monotonic(), self._total()

    def _total(self) -> int:
        total = 0
        for file in self.path.glob("predictions-*.jsonl"):
            with contextlib.suppress(FileNotFoundError):  # collected meanwhile
                total += file.stat().st_size
        return total
