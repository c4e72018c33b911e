"""The log of predictions: a line of JSON for each answer, written once the answer is on its way.

Lines that cannot be written are dropped and counted.
"""

import functools
import hashlib
import hmac
import json
import logging
import math
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
from serve.log_output import Folder, FullError
from serve.settings import STDOUT, Settings
from serve.worker import Prediction
from serve.writer import Writer, write_stdout

CLOSING = 2  # seconds for the lines that wait, at the end
TELLING = 60  # seconds between two warnings
DROPPED = "prediction log lines dropped"  # deploy counts the lines with this message

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An answer that may be logged."""

    id: str
    time: float  # seconds since 1970
    text: str
    model: str
    prediction: Prediction
    seconds: float  # from the request's arrival to its answer


class PredictionLog:
    """Takes answers from the event loop and writes some of them, or all."""

    def __init__(self, options: Settings) -> None:
        self.rate, self.text_rate = options.prediction_log_rate, options.log_text
        key = options.prediction_log_key
        self.key = key.get_secret_value().encode() if key else None
        place = options.prediction_log
        self.is_on = bool(place)
        write = write_stdout if place == STDOUT else Folder(Path(place)).write
        self.writer = Writer(write, self._report)
        self.dropped, self.told_at = 0, -math.inf  # lines since the last warning, and its time

    def note(self, entries: Iterable[Entry]) -> None:
        """Take answers, or drop them where too many wait."""
        for entry in entries:
            if self.rate >= 1 or draw(entry.id) < self.rate:
                self.writer.put(functools.partial(self._line, entry))

    def close(self) -> None:
        """Write the lines that wait, for a while."""
        self.writer.close(CLOSING)
        self._warn("the server ends")

    def _line(self, entry: Entry) -> bytes:
        label, probability, features = entry.prediction
        digest = None
        if self.key:
            bare = " ".join(words(entry.text)).encode("utf-8", "surrogatepass")
            digest = hmac.new(self.key, bare, hashlib.sha256).hexdigest()[:16]
        # Sample texts independently of lines: the same draw would select every logged line.
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
        reason, text = "disk", str(problem)
        if isinstance(problem, queue.Full):
            reason, text = "queue", "too many lines wait"
        elif isinstance(problem, FullError):
            reason = "full"
        metrics.LOG_DROPPED.labels(reason).inc(lines)
        self.dropped += lines
        if time.monotonic() - self.told_at >= TELLING:
            self._warn(text)

    def _warn(self, reason: str) -> None:
        if self.dropped:
            fields = {"dropped": self.dropped, "reason": reason}
            self.dropped, self.told_at = 0, time.monotonic()
            logger.warning(DROPPED, extra={"fields": fields})


def draw(name: str) -> float:
    """Return a number from 0 to below 1 that the name decides, so that all servers agree."""
    return zlib.crc32(name.encode()) / 2**32
