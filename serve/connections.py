"""Connections: how long and how many may be silent, and what is done with an upgrade."""

import logging
import math
import re
import resource
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve import metrics

logger = logging.getLogger(__name__)

# Seconds between two requests: longer than the proxies in front keep their connections (Google's
# 600), which would else send into a connection that is just being closed, and answer 502.
KEEP_ALIVE = 620
HEAD_TIME = 5  # seconds for a request's head; uvicorn's own limit is for the wait between two
HEAD_SIZE = 65_536  # bytes of a head that is read whole
LEAVE_TIME = 1  # seconds for the first request of a connection, when the server leaves
MOST_FILES = 10_240  # that macOS allows, although its hard limit is infinity
UPGRADE = re.compile(rb"\r\nu(?=pgrade:)", re.IGNORECASE)
WARNING_PERIOD = 60  # seconds between two warnings of too many connections
OTHER_FILES = 64  # of the files that a process may open, those that are no connections


def raise_file_limit() -> int:
    """Let this process open as many files as it may; return how many connections that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if 0 < hard < 2**31 else MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit - OTHER_FILES


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits, and without its loss of bodies after `Upgrade`."""

    limit = 2**30  # connections
    warned_at = -math.inf
    silent: dict["Protocol", None] = {}  # noqa: RUF012 # of all, the longest silent first

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's or asyncio's
        """Wait for the first request; close the longest silent connection if there are too many."""
        super().connection_made(transport)
        self._is_leaving = False
        self._head = b""  # what has come of it
        self._timer = self.loop.call_later(HEAD_TIME, transport.close)
        self.silent[self] = None
        if len(self.connections) > self.limit:
            next(iter(self.silent)).transport.close()  # this one, if all others are busy
            metrics.REJECTED.labels("idle").inc()
            if (now := time.monotonic()) > Protocol.warned_at + WARNING_PERIOD:
                Protocol.warned_at = now
                text = "over %d connections: the longest silent ones are closed (ulimit -n)"
                logger.warning(text, self.limit)

    def _close_after(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """Parse; an upgrade is not offered, so the request goes on as it is (RFC 9110, 7.8).

        llhttp ends a message at a head with `Upgrade` and loses the body. No JSON has such a line.
        A head that comes in pieces is parsed as a whole, so that the line is found.
        """
        is_begun, data = bool(self._head), self._head + data
        is_cut = data[:1].isalpha() and b"\r\n\r\n" not in data and len(data) < HEAD_SIZE
        self._head = data if is_cut and self in self.silent else b""
        if not self._head:
            super().data_received(UPGRADE.sub(b"\r\nX", data))
        elif not is_begun:
            self._close_after(HEAD_TIME)

    def on_message_begin(self) -> None:
        """Wait for the rest of a request's head."""
        super().on_message_begin()
        self.silent.pop(self, None)
        self._close_after(HEAD_TIME)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._timer.cancel()
        super().on_headers_complete()
        if self._is_leaving:
            super().shutdown()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.silent[self] = None
        super().on_response_complete()

    def shutdown(self) -> None:
        """End after the request under way, or after the first one, if that is still to come."""
        if self.cycle is None and not self.transport.is_closing():
            self._is_leaving = True
            self._close_after(LEAVE_TIME)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._timer.cancel()
        self.silent.pop(self, None)
        super().connection_lost(exc)
