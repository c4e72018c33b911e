"""A folder for the log of predictions: its files have whole lines and a limit in all."""

import contextlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path

FILE_SIZE, FILE_AGE = 64 * 2**20, 3600  # bytes, seconds; then another file is begun
FOLDER_SIZE = 2**30  # bytes of all its files, until somebody collects them


class FullError(OSError):
    """The log has reached FOLDER_SIZE."""


class Folder:
    """Files of a folder, each begun by one process and never appended to by another."""

    def __init__(self, path: Path) -> None:
        self.path = self.name = path
        self.file, self.size, self.born, self.used = -1, 0, 0.0, 0

    def write(self, lines: bytes) -> None:
        """Append lines, all or none.

        Raises:
            OSError: none is written.

        """
        is_old = time.monotonic() - self.born >= FILE_AGE
        if self.size >= FILE_SIZE or is_old or self._is_gone():
            self._begin()
        if self.used + len(lines) > FOLDER_SIZE:
            self.used = self._total()  # somebody may have made room
            if self.used + len(lines) > FOLDER_SIZE:
                raise FullError(f"{self.path} has reached {FOLDER_SIZE} bytes")
        written = os.write(self.file, lines)
        if written < len(lines):
            os.ftruncate(self.file, self.size)
            raise OSError(f"{self.name}: no space left")
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
