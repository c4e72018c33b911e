"""Reads a request's body: limits its size and time, unpacks it and converts it to UTF-8."""

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable
from email.message import Message

from starlette.types import Receive

from serve.errors import rejection

MAX_BODY = 16 * 2**20  # bytes, before and after unpacking
MAX_HELD = 3 * MAX_BODY  # bytes of all current requests: a container's memory is small
# Python's other codecs are refused: the time of some grows with the square of the text's length.
CHARSETS = ("utf", "us-ascii", "iso-8859-", "latin", "windows-", "cp", "koi8")
ASIAN_CHARSETS = ("shift_jis", "euc", "gb", "big5")


class BodyReader:
    """Reads the bodies of all current requests."""

    def __init__(self, seconds: float) -> None:
        """Allow each body `seconds` to arrive."""
        self.seconds = seconds
        self.held = 0  # bytes

    @contextlib.asynccontextmanager
    async def read(self, headers: dict[bytes, bytes], receive: Receive) -> AsyncIterator[bytes]:
        """Yield the whole body, unpacked, in UTF-8; its memory counts until the end of the block.

        Raises:
            HTTPException: the body is too large, too slow, or in an unknown encoding.

        """
        size = 0

        def hold(count: int) -> None:
            nonlocal size
            size += count
            self.held += count
            if count and self.held > MAX_HELD:
                raise rejection(429, "current requests are too large; retry later", "held")

        length = headers.get(b"content-length", b"")
        if length.isdigit():
            _check_size(int(length))
        try:
            content = await self._receive(receive, hold)
            packing = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
            if packing not in ("", "identity"):
                content = _unpack(content, packing)
                hold(len(content))
            yield _to_utf8(content, headers.get(b"content-type", b"").decode("latin-1"))
        finally:
            self.held -= size

    async def _receive(self, receive: Receive, hold: Callable[[int], None]) -> bytes:
        content, has_more = bytearray(), True
        try:
            async with asyncio.timeout(self.seconds):
                while has_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise rejection(400, "the client disconnected", "left")
                    piece = message.get("body", b"")
                    hold(len(piece))
                    content += piece
                    _check_size(len(content))
                    has_more = message.get("more_body", False)
        except TimeoutError as error:
            detail = f"the body did not arrive within {self.seconds:g} s (BODY_TIMEOUT)"
            raise rejection(408, detail, "too_slow") from error
        return bytes(content)


def _check_size(size: int) -> None:
    if size > MAX_BODY:
        raise rejection(413, f"the body has more than {MAX_BODY} bytes", "too_large")


def _unpack(content: bytes, packing: str) -> bytes:
    if packing not in ("gzip", "x-gzip", "deflate"):
        detail = f"Content-Encoding {packing!r} is unknown; send gzip, deflate or none"
        raise rejection(415, detail, "encoding")
    unpacked = b""
    try:
        while content:  # a gzip body may have several members
            unpacker = zlib.decompressobj(47)  # zlib's header or gzip's
            unpacked += unpacker.decompress(content, MAX_BODY + 1 - len(unpacked))
            _check_size(len(unpacked))
            if not unpacker.eof:
                raise zlib.error("the end is missing")
            content = unpacker.unused_data
    except zlib.error as error:
        detail = f"the body is not valid {packing}, which Content-Encoding names: {error}"
        raise rejection(400, detail, "encoding") from error
    return unpacked


def _to_utf8(content: bytes, content_type: str) -> bytes:
    charset = None
    if "charset" in content_type.lower():
        header = Message()
        header["content-type"] = content_type
        charset = header.get_content_charset()
    try:
        if charset and not charset.startswith(CHARSETS + ASIAN_CHARSETS):
            raise LookupError
        text = content.decode(charset or json.detect_encoding(content))
    except LookupError as error:
        detail = f"charset {charset!r} is unknown; send UTF-8"
        raise rejection(415, detail, "encoding") from error
    except UnicodeDecodeError as error:
        detail = (
            f"the body is not {error.encoding}: byte {error.start} cannot be decoded. Send UTF-8, "
            "or name the encoding in Content-Type: application/json; charset=…"
        )
        raise rejection(400, detail, "encoding") from error
    return text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
