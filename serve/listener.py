"""The end of a listening socket: who comes is refused, and who has come is answered.

A socket is closed with the connections in its queue: their clients, who think that they are
connected, are reset. So first no more are let into the queue, then it is emptied, then closed.
"""

import contextlib
import ctypes
import socket
import struct
import sys

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
