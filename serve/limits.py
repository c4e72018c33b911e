"""How much a request's body may hold, and how long it may take."""

import asyncio
import time
from dataclasses import dataclass

from starlette.types import Message, Receive

from serve import metrics

MAX_BODY = 16 * 2**20  # bytes
MAX_HELD = 3 * MAX_BODY  # of all requests at once: a container's memory is small
BODY_TIME = 5  # seconds for the whole body to come in


class RefusedError(Exception):
    """A request is turned away before the application sees all of it."""

    def __init__(self, status: int, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        metrics.REJECTED.labels(reason).inc()


@dataclass
class Held:
    """The bytes of all bodies that are held now."""

    size: int = 0


class Body:
    """A request's body, held to MAX_BODY, with all others to MAX_HELD, and to BODY_TIME."""

    def __init__(self, receive: Receive, held: Held) -> None:
        self._receive = receive
        self._held = held
        self.size = 0
        self._complete = False
        self._until = 0.0
        self.refused: RefusedError | None = None

    async def receive(self) -> Message:
        """Return the next piece.

        Raises:
            RefusedError: it is too much, or came too late.

        """
        try:
            return await self._next()
        except RefusedError as refused:
            self.refused = refused
            raise

    async def _next(self) -> Message:
        if self._complete:  # what may come now is that the client leaves
            return await self._receive()
        now = time.monotonic()
        self._until = self._until or now + BODY_TIME
        try:
            async with asyncio.timeout(self._until - now):
                message = await self._receive()
        except TimeoutError as error:
            raise RefusedError(408, f"the body took over {BODY_TIME} s", "too_slow") from error
        self._complete = not message.get("more_body")
        size = len(message.get("body", b""))
        self.size += size
        self._held.size += size
        if self.size > MAX_BODY:
            raise RefusedError(413, f"the body is over {MAX_BODY} bytes", "too_large")
        if size and self._held.size > MAX_HELD:
            raise RefusedError(429, "more is sent than can be held; try again", "held")
        return message


def check_length(headers: dict[bytes, bytes]) -> None:
    """Refuse a body that says itself that it is too large."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise RefusedError(413, f"the body is over {MAX_BODY} bytes", "too_large")
