"""Limits the number and time of idle connections, and ignores `Upgrade` headers."""

import logging
import math
import re
import resource
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve import metrics

logger = logging.getLogger(__name__)

# Seconds that a connection may be idle. Longer than a proxy keeps its connections (Google's: 600):
# otherwise a proxy may send a request while the server closes the connection, and answer 502.
KEEP_ALIVE = 620
HEAD_TIME = 5  # seconds for a request's head, which uvicorn does not limit
HEAD_SIZE = 65_536  # bytes of an incomplete head that are buffered
SHUTDOWN_TIME = 1  # seconds for the first request of a new connection, at shutdown
MAX_FILES = 10_240  # macOS allows no more, although its hard limit is infinity
UPGRADE = re.compile(rb"\r\nu(?=pgrade:)", re.IGNORECASE)
WARNING_PERIOD = 60  # seconds between two warnings of too many connections
OTHER_FILES = 64  # open files of the process that are not connections


def raise_file_limit() -> int:
    """Raise the limit of open files as far as allowed; return how many connections may be open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if 0 < hard < 2**31 else MAX_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit - OTHER_FILES


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on connections; a request with `Upgrade` keeps its body."""

    max_connections = 2**30
    warned_at = -math.inf
    idle: dict["Protocol", None] = {}  # noqa: RUF012 # of all connections, idle longest first

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's or asyncio's
        """Wait for the first request; close the connection idle longest if there are too many."""
        super().connection_made(transport)
        self._is_shutting_down = False
        self._head = b""  # bytes of an incomplete head
        self._timer = self.loop.call_later(HEAD_TIME, transport.close)
        self.idle[self] = None
        if len(self.connections) > self.max_connections:
            next(iter(self.idle)).transport.close()  # this one, if all others are busy
            metrics.REJECTED.labels("idle").inc()
            if (now := time.monotonic()) > Protocol.warned_at + WARNING_PERIOD:
                Protocol.warned_at = now
                text = "over %d connections: closing those idle longest; raise `ulimit -n`"
                logger.warning(text, self.max_connections)

    def _close_after(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """Parse data, and ignore the header `Upgrade`, as a server may (RFC 9110, 7.8).

        Otherwise llhttp ends the message after the head and loses the body. No JSON has such a
        line. A head that arrives in pieces is parsed as a whole, so that the header is found.
        """
        was_incomplete, data = bool(self._head), self._head + data
        is_incomplete = data[:1].isalpha() and b"\r\n\r\n" not in data and len(data) < HEAD_SIZE
        self._head = data if is_incomplete and self in self.idle else b""
        if not self._head:
            super().data_received(UPGRADE.sub(b"\r\nX", data))
        elif not was_incomplete:
            self._close_after(HEAD_TIME)

    def on_message_begin(self) -> None:
        """Wait for the rest of a request's head."""
        super().on_message_begin()
        self.idle.pop(self, None)
        self._close_after(HEAD_TIME)

    def on_headers_complete(self) -> None:
        """Stop the timer and answer; at shutdown, close the connection after this request."""
        self._timer.cancel()
        super().on_headers_complete()
        if self._is_shutting_down:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.idle[self] = None
        super().on_response_complete()

    def shutdown(self) -> None:
        """Close after the request in progress; a new connection may still send its first one."""
        if self.cycle is None and not self.transport.is_closing():
            self._is_shutting_down = True
            self._close_after(SHUTDOWN_TIME)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._timer.cancel()
        self.idle.pop(self, None)
        super().connection_lost(exc)
