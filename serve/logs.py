"""Log lines as JSON, in the fields that Cloud Logging knows.

https://cloud.google.com/logging/docs/structured-logging
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime

TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")  # W3C
CLOUD_TRACE = re.compile(r"^([0-9a-f]{32})(?:/(\d{1,20}))?(?:;o=([01]))?$")

Fields = dict[str, object]


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a record's `fields` are merged into it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: Fields = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": record.getMessage(),
            "logger": record.name,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str) -> None:
    """Send all logs to standard output, one JSON object a line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in ("litserve", "uvicorn", "uvicorn.error"):  # have handlers of their own
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(max(logging.WARNING, logging.root.level))


def trace_fields(traceparent: str, cloud_trace: str, project: str | None) -> Fields:
    """Return the fields that tie a line to the trace that a request's headers name."""
    if found := TRACEPARENT.match(traceparent):
        trace, span, sampled = found[1], found[2], int(found[3], 16) & 1 == 1
    elif found := CLOUD_TRACE.match(cloud_trace):
        trace, sampled = found[1], found[3] == "1"
        span = f"{int(found[2]):016x}" if found[2] else ""
    else:
        return {}
    name = f"projects/{project}/traces/{trace}" if project else trace
    fields: Fields = {
        "logging.googleapis.com/trace": name,
        "logging.googleapis.com/trace_sampled": sampled,
    }
    return fields | ({"logging.googleapis.com/spanId": span} if span else {})
