"""Log lines as JSON, in the fields that Cloud Logging knows.

https://cloud.google.com/logging/docs/structured-logging
"""

import functools
import json
import logging
import re
from datetime import UTC, datetime

from serve import metrics
from serve.writer import Writer, write_stdout

TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")  # W3C
CLOUD_TRACE = re.compile(r"^([0-9a-f]{32})(?:/(\d{1,20}))?(?:;o=([01]))?$")

Fields = dict[str, object]


def _report(lines: int, problem: Exception | None) -> None:
    if problem:
        metrics.SERVER_LOG_DROPPED.inc(lines)


stdout = Writer(write_stdout, _report)


class JsonHandler(logging.Handler):
    """Writes one JSON object a line; a record's `fields` are merged into it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the line to the thread that writes."""
        stdout.put(functools.partial(line, record))


def line(record: logging.LogRecord) -> bytes:
    """Return a record as a line of JSON."""
    fields: Fields = {
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
    """Send all logs to standard output."""
    logging.basicConfig(level=level.upper(), handlers=[JsonHandler()], force=True)
    logging.captureWarnings(capture=True)
    for name in ("litserve", "uvicorn", "uvicorn.error"):  # have handlers of their own
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(max(logging.WARNING, logging.root.level))


def trace_fields(traceparent: str, cloud_trace: str, project: str | None) -> Fields:
    """Return the fields that tie a line to the trace that a request's headers name."""
    if match := TRACEPARENT.match(traceparent):
        trace, span, is_sampled = match[1], match[2], int(match[3], 16) & 1 == 1
    elif match := CLOUD_TRACE.match(cloud_trace):
        trace, is_sampled = match[1], match[3] == "1"
        span = f"{int(match[2]):016x}" if match[2] else ""
    else:
        return {}
    fields: Fields = {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace}" if project else trace,
        "logging.googleapis.com/trace_sampled": is_sampled,
    }
    return fields | ({"logging.googleapis.com/spanId": span} if span else {})
