"""The log of predictions: a line of JSON for each tweet, written once its answer is on its way.

No request waits for it. What cannot be written is dropped and counted.
"""

import hashlib
import hmac
import json
import logging
import math
import queue
import threading
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from locked.features import features, words
from locked.manifest import LockedModelError
from locked.reference import Reference
from serve import metrics
from serve.log_output import Folder, FullError, Output, Stdout
from serve.settings import Settings

SCHEMA = 1
STDOUT = "stdout"
WAITING = 10_000  # lines, beyond which they are dropped
TOGETHER = 200  # lines of one write
PAUSE = 0.1  # seconds that lines gather: to wake and to write for each costs more than they do
MODELS = 2  # in use at once, while one follows another
CLOSING = 2  # seconds for what waits, at the end
TELLING = 60  # seconds between two warnings
DROPPED = "prediction log lines dropped"  # which deploy/setup/dropped.yaml counts

logger = logging.getLogger(__name__)


class Said(NamedTuple):
    """A tweet and its answer."""

    id: str
    time: float  # seconds since 1970
    text: str
    model: str
    label: str
    probability: float
    seconds: float  # from the request's place in the queue to its answer


class PredictionLog:
    """Takes answers from the event loop and writes them in a thread of its own."""

    def __init__(self, options: Settings, models: Path) -> None:
        """`models` has a folder for each version in use."""
        self.rate, self.text_rate = options.prediction_log_rate, options.log_text
        key = options.prediction_log_key
        self.key = key.get_secret_value().encode() if key else None
        self.models = models
        self.vocabularies: dict[str, frozenset[int] | None] = {}
        where = options.prediction_log
        self.output: Output | None = None
        if where:
            self.output = Stdout() if where == STDOUT else Folder(Path(where))
        self.waiting: queue.Queue[Said | None] = queue.Queue(WAITING)
        self.told, self.told_at = _dropped(), -math.inf  # lines dropped by then, and when
        self.thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin to write, in this process."""
        if self.output:
            self.thread.start()

    def note(self, said: Sequence[Said]) -> None:
        """Take answers, or drop them where too many wait. It never blocks."""
        if not self.output:
            return
        for one in said:
            if self.rate < 1 and _draw(one.id) >= self.rate:
                continue
            try:
                self.waiting.put_nowait(one)
            except queue.Full:
                metrics.LOG_DROPPED.labels("queue").inc()

    def close(self) -> None:
        """Write what waits, for a while."""
        if self.output:
            deadline = time.monotonic() + CLOSING
            while time.monotonic() < deadline:
                try:
                    self.waiting.put(None, timeout=0.05)
                    break
                except queue.Full:
                    continue
            self.thread.join(max(0, deadline - time.monotonic()))

    def _work(self) -> None:
        while True:
            said = [self.waiting.get()]
            if said[0] is not None and self.waiting.qsize() < TOGETHER:
                time.sleep(PAUSE)
            while len(said) < TOGETHER and said[-1] is not None:
                try:
                    said.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
            lines = [self._line(one) for one in said if one]
            if lines:
                self._write(lines)
            self._tell(last=said[-1] is None)
            if said[-1] is None:
                return

    def _write(self, lines: list[bytes]) -> None:
        try:
            self.output.write(b"".join(lines))  # type: ignore[union-attr] # else no thread
            metrics.LOG_LINES.inc(len(lines))
        except (OSError, ValueError) as error:  # a closed stream is a ValueError
            reason = "full" if isinstance(error, FullError) else "disk"
            metrics.LOG_DROPPED.labels(reason).inc(len(lines))

    def _tell(self, last: bool) -> None:
        """Say in the other log, now and then, how many lines were dropped."""
        dropped, now = _dropped(), time.monotonic()
        if dropped > self.told and (last or now - self.told_at >= TELLING):
            fields = {"fields": {"dropped": dropped - self.told}}
            logger.warning(DROPPED, extra=fields)
            self.told, self.told_at = dropped, now

    def _line(self, said: Said) -> bytes:
        line: dict[str, object] = {
            "message": "prediction",
            "schema": SCHEMA,
            "id": said.id,
            "time": datetime.fromtimestamp(said.time, UTC).isoformat(timespec="milliseconds"),
            "model": said.model,
            "probability": said.probability,
            "label": said.label,
            "features": self._features(said),
            "rate": self.rate,
            "ms": round(1000 * said.seconds, 1),
            "hash": None,
        }
        if self.key:
            bare = " ".join(words(said.text)).encode("utf-8", "surrogatepass")
            line["hash"] = hmac.new(self.key, bare, hashlib.sha256).hexdigest()[:16]
        # Another draw than that of the line, or a rate of a tenth would give all of them.
        if self.text_rate and _draw(f"{said.id} text") < self.text_rate:
            line["text"] = said.text
        return json.dumps(line).encode() + b"\n"

    def _features(self, said: Said) -> dict[str, float | None]:
        if said.model not in self.vocabularies:
            while len(self.vocabularies) >= MODELS:
                del self.vocabularies[next(iter(self.vocabularies))]  # the first that came
            self.vocabularies[said.model] = self._vocabulary(said.model)
        known = self.vocabularies[said.model]
        found: dict[str, float | None] = {**features(said.text, known or ())}
        if known is None:
            found["unknown"] = None
        return found

    def _vocabulary(self, version: str) -> frozenset[int] | None:
        try:
            return frozenset(Reference.load(self.models / version).vocabulary.tolist())
        except LockedModelError:  # older than monitoring
            return None


def _dropped() -> int:
    samples = (sample for metric in metrics.LOG_DROPPED.collect() for sample in metric.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


def _draw(name: str) -> float:
    """Return a number from 0 to below 1 that the id decides, so that all who draw agree."""
    return zlib.crc32(name.encode()) / 2**32
