"""Reads a request's body: how much it may hold, how long it may take, and how it is encoded."""

import asyncio
import json
import zlib
from email.message import Message as Headers

from starlette.types import Receive

from serve import metrics

MAX_BODY = 16 * 2**20  # bytes, before and after unpacking
MAX_HELD = 3 * MAX_BODY  # of all requests at once: a container's memory is small
# Python has other codecs too, some of which take a time that grows with the square of the text.
CHARSETS: tuple[str, ...] = (
    "utf",
    "us-ascii",
    "iso-8859-",
    "latin",
    "windows-",
    "cp",
    "shift_jis",
    "euc",
    "gb",
)
CHARSETS += ("big5", "koi8")
PACKED = (b"gzip", b"x-gzip", b"deflate")


class RefusedError(Exception):
    """A request is refused before the application sees it."""

    def __init__(self, status: int, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        metrics.REJECTED.labels(reason).inc()


class Bodies:
    """The bodies of all requests under way."""

    def __init__(self, seconds: float) -> None:
        """Give each body so many seconds to arrive."""
        self.seconds = seconds
        self.held = 0  # bytes


class Body:
    """A request's body."""

    def __init__(self, bodies: Bodies) -> None:
        self.bodies = bodies
        self.size = 0

    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the whole body, unpacked, in UTF-8.

        Raises:
            RefusedError: it is too large, too slow, or in an unknown encoding.

        """
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            raise _too_large()
        parts = []
        deadline = asyncio.get_running_loop().time() + self.bodies.seconds
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "the client has left", "left")
                    parts.append(message.get("body", b""))
                    self._hold(len(parts[-1]))
                    if not message.get("more_body"):
                        break
        except TimeoutError as error:
            raise RefusedError(
                408, f"the body took over {self.bodies.seconds:g} s (BODY_TIMEOUT)", "too_slow"
            ) from error
        content = b"".join(parts)
        packing = headers.get(b"content-encoding", b"identity").strip().lower()
        if packing not in (b"identity", b""):
            content = _unpacked(content, packing)
            self._hold(len(content), packed=True)
        return _utf8(content, headers.get(b"content-type", b"").decode("latin-1"))

    def release(self) -> None:
        """Let others have the memory of this body."""
        self.bodies.held -= self.size

    def _hold(self, size: int, packed: bool = False) -> None:
        self.size += size
        self.bodies.held += size
        if not packed and self.size > MAX_BODY:
            raise _too_large()
        if size and self.bodies.held > MAX_HELD:
            raise RefusedError(429, "too many bytes are under way; retry later", "held")


def _too_large() -> RefusedError:
    return RefusedError(413, f"the body is over {MAX_BODY} bytes", "too_large")


def _unpacked(content: bytes, packing: bytes) -> bytes:
    if packing not in PACKED:
        name = packing.decode("latin-1")
        raise RefusedError(
            415, f"Content-Encoding {name!r} is unknown; send gzip, deflate or none", "encoding"
        )
    unpacked = b""
    try:
        while content:  # gzip files may follow each other
            unpacker = zlib.decompressobj(47)  # zlib's header or gzip's
            unpacked += unpacker.decompress(content, MAX_BODY + 1 - len(unpacked))
            if len(unpacked) > MAX_BODY:
                raise _too_large()
            if not unpacker.eof:
                raise zlib.error("its end is missing")
            content = unpacker.unused_data
    except zlib.error as error:
        raise RefusedError(
            400,
            f"the body is not {packing.decode()}, as Content-Encoding says: {error}",
            "encoding",
        ) from error
    return unpacked


def _utf8(content: bytes, content_type: str) -> bytes:
    charset = None
    if "charset" in content_type.lower():
        header = Headers()
        header["content-type"] = content_type
        charset = str(header.get_param("charset", "")).lower()
        if not charset.startswith(CHARSETS):
            raise RefusedError(415, f"charset {charset!r} is unknown; send UTF-8", "encoding")
    charset = charset or json.detect_encoding(content)
    try:
        text = content.decode(charset)
    except LookupError as error:
        raise RefusedError(
            415, f"charset {charset!r} is unknown; send UTF-8", "encoding"
        ) from error
    except UnicodeDecodeError as error:
        raise RefusedError(
            400,
            f"the body is not {error.encoding}: byte {error.start} cannot be decoded. Send UTF-8, "
            "or name the encoding in Content-Type: application/json; charset=…",
            "encoding",
        ) from error
    return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
