"""Connections: how long one may say nothing, and how the server stops taking them.

At the end who comes is refused, and who has come is answered. A listening socket is closed with the
connections in its queue: their clients, who think that they are connected, are reset. So first no
more are let into the queue, then it is emptied, then closed.
"""

import contextlib
import ctypes
import socket
import struct
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIME = 5  # seconds for a request's head; uvicorn's own limit of 5 is for the wait between two
LEAVE_TIME = 1  # seconds for the first request of a connection, when the server leaves
SO_ATTACH_FILTER = 26  # Linux's; Python does not name it
# Classic BPF (https://docs.kernel.org/networking/filter.html) on a packet from its TCP header on:
# what holds a SYN is dropped. Its sender tries again after a second, and is refused by then.
NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x45, 0, 1, 0x02),  # SYN? Else skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)


def let_nobody_in(listener: socket.socket) -> None:
    """Keep further connections out of the queue, where the system can; others are as before."""
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in NO_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    with contextlib.suppress(OSError):  # a sandbox that knows no filters
        listener.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HP", len(NO_SYN), ctypes.addressof(program)),
        )


def end(listener: socket.socket) -> None:
    """Refuse whoever comes from now on, though other processes hold the socket too."""
    with contextlib.suppress(OSError):  # macOS closes a socket when the last has closed it
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which would wait for a request's head for ever."""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's or asyncio's
        """Wait for the first request."""
        super().connection_made(transport)
        self._leaving = False
        self._patience = self.loop.call_later(HEAD_TIME, transport.close)

    def on_message_begin(self) -> None:
        """Wait for the rest of a request's head."""
        super().on_message_begin()
        self._patience.cancel()
        self._patience = self.loop.call_later(HEAD_TIME, self.transport.close)

    def on_headers_complete(self) -> None:
        """Wait no longer for the head."""
        self._patience.cancel()
        super().on_headers_complete()
        if self._leaving:
            super().shutdown()

    def shutdown(self) -> None:
        """End after the request under way, or after the first one, if that is still to come."""
        if self.cycle is None and not self.transport.is_closing():
            self._leaving = True
            self._patience.cancel()
            self._patience = self.loop.call_later(LEAVE_TIME, self.transport.close)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer at all."""
        self._patience.cancel()
        super().connection_lost(exc)
