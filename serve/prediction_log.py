"""The prediction log: a line of JSON for each answer, written in a thread.

Lines that cannot be written are dropped and counted.
"""

import functools
import hashlib
import hmac
import json
import logging
import math
import os
import queue
import time
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from locked.answer import Answer
from locked.features import words
from serve import metrics
from serve.logs import FullError, Writer, append, write_stdout
from serve.settings import STDOUT, Settings
from serve.worker import Prediction

FILE_SIZE, FILE_AGE = 64 * 2**20, 3600  # bytes, seconds: then a new file begins
FOLDER_SIZE = 2**30  # bytes of all files; further lines are dropped
CLOSE_TIME = 2  # seconds for the waiting lines, at the end
WARNING_PERIOD = 60  # seconds between two warnings
DROPPED = "prediction log lines dropped"  # deploy/setup/dropped.yaml counts these messages

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An answer that may be logged."""

    id: str
    time: float  # seconds since 1970
    text: str
    model: str
    prediction: Prediction
    seconds: float  # from the request's arrival to its answer


class Folder:
    """A folder of log files, each written by one process."""

    def __init__(self, path: Path) -> None:
        self.path = self.file = path
        self.start, self.size = -math.inf, 0  # of the file: seconds, bytes

    def write(self, lines: bytes) -> None:
        """Append all lines or none, to a new file where necessary.

        Raises:
            OSError: no line is written.

        """
        is_old = time.monotonic() - self.start >= FILE_AGE
        if is_old or self.size >= FILE_SIZE or not self.file.exists():  # a collector moved it
            files = self.path.glob("predictions-*.jsonl")
            if sum(file.stat().st_size for file in files if file.exists()) >= FOLDER_SIZE:
                raise FullError(f"{self.path} has reached {FOLDER_SIZE} bytes")
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
            self.file = self.path / f"predictions-{now}-{os.getpid()}.jsonl"
            self.start, self.size = time.monotonic(), 0
        append(self.file, lines, FOLDER_SIZE)
        self.size += len(lines)


class PredictionLog:
    """Writes answers, or a sample of them, in a thread."""

    def __init__(self, options: Settings) -> None:
        self.rate, self.text_rate = options.prediction_log_rate, options.log_text
        key = options.prediction_log_key
        self.key = key.get_secret_value().encode() if key else None
        place = options.prediction_log
        self.is_enabled = bool(place)
        write = write_stdout if place == STDOUT else Folder(Path(place)).write
        self.writer = Writer(write, self._report)
        self.dropped, self.warned_at = 0, -math.inf  # lines since the last warning, and its time

    def note(self, entries: Iterable[Entry]) -> None:
        """Queue answers to be written, or drop them if the queue is full."""
        for entry in entries if self.is_enabled else ():
            if self.rate >= 1 or draw(entry.id) < self.rate:
                self.writer.put(functools.partial(self._line, entry))

    def close(self) -> None:
        """Write the waiting lines, for at most CLOSE_TIME."""
        self.writer.close(CLOSE_TIME)
        self._warn("the server ends")

    def _line(self, entry: Entry) -> bytes:
        label, probability, features = entry.prediction
        digest = None
        if self.key:
            normalised = " ".join(words(entry.text)).encode("utf-8", "surrogatepass")
            digest = hmac.new(self.key, normalised, hashlib.sha256).hexdigest()[:16]
        # Texts are sampled independently of lines: the same number would select every logged line.
        has_text = self.text_rate and draw(f"{entry.id} text") < self.text_rate
        answer = Answer(
            id=entry.id,
            time=datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds"),
            model=entry.model,
            label=label,
            probability=probability,
            features=features or {},
            rate=self.rate,
            ms=round(1000 * entry.seconds, 1),
            hash=digest,
            text=entry.text if has_text else None,
        )
        fields = {"message": "prediction", **answer._asdict()}
        if not has_text:
            del fields["text"]
        return json.dumps(fields).encode() + b"\n"

    def _report(self, lines: int, problem: Exception | None) -> None:
        if problem is None:
            metrics.LOG_LINES.inc(lines)
            return
        reasons = {queue.Full: "queue", FullError: "full"}
        metrics.LOG_DROPPED.labels(reasons.get(type(problem), "disk")).inc(lines)
        self.dropped += lines
        if time.monotonic() - self.warned_at >= WARNING_PERIOD:
            self._warn(str(problem))

    def _warn(self, reason: str) -> None:
        if self.dropped:
            fields = {"dropped": self.dropped, "reason": reason}
            self.dropped, self.warned_at = 0, time.monotonic()
            logger.warning(DROPPED, extra={"fields": fields})


def draw(name: str) -> float:
    """Return a number in [0, 1) that depends on the name only, so it is equal on all servers."""
    return zlib.crc32(name.encode()) / 2**32
