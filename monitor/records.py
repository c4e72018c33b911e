"""Finds JSON records in whatever a collector or a labelling tool has put around them."""

import codecs
import io
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import pandas as pd

Record = dict[str, Any]

DECODER = json.JSONDecoder()
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell's > writes
BETWEEN = re.compile(r"[\s,\[\]]*")  # in an array, or from one object to the next
SEVERAL_LINES = re.compile(rb"\s*(?:\[\s*[\[{\]]|\{\s*\n)")  # an array, or an indented object
START = re.compile(r'"?\{')  # of an object, or of a string that holds one
STARTS = 20  # tried in a line
LEVELS = 8  # of objects, arrays and strings within each other
CLOCKS = ("time", "timestamp", "@timestamp", "ts", "date", "__REALTIME_TIMESTAMP")
WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")  # a time in front of a record
LATEST = 1e11  # seconds since 1970: a larger number counts milliseconds or less


def lines_of(opened: BinaryIO, size: int) -> Iterator[list[bytes]]:
    """Yield some lines of a file at a time; the objects, if they are an array or span lines."""
    # a bucket's file itself reads lines one by one
    file = io.BufferedReader(opened)  # type: ignore[type-var] # any reader will do
    if file.peek(2).startswith(UTF16):
        yield from lines_of(io.BytesIO(file.read().decode("utf-16").encode()), size)
        return
    if file.peek(3).startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    if SEVERAL_LINES.match(file.peek()):
        entries = list[bytes]()
        try:
            entries.extend(json.dumps(value).encode() for value in values(file.read().decode()))
        except (ValueError, RecursionError) as error:
            entries.append(f"{{ cut off after {len(entries)} entries: {error}".encode())
        yield entries
        return
    while block := file.readlines(size):
        yield block


def values(text: str) -> Iterator[Any]:
    """Yield the JSON objects that follow each other in a text, also those of an array.

    Raises:
        ValueError: the text goes on with something that is not JSON.

    """
    position = _skipped(text, 0)
    while position < len(text):
        value, position = DECODER.raw_decode(text, position)
        yield value
        position = _skipped(text, position)


def records(
    value: object, names: frozenset[str], clock: object = None, level: int = 0
) -> Iterator[Record]:
    """Yield the objects with all these fields, at any depth; `time` may stand outside of them."""
    inner: Iterator[object] = iter(())
    if isinstance(value, dict):
        if names <= value.keys():
            yield value | {"time": _clock(value, clock)}
            return
        clock = _clock(value, clock)
        inner = iter(value.values())
    elif isinstance(value, list):
        inner = iter(value)
    elif isinstance(value, str) and all(name in value for name in names):
        for start in itertools.islice(START.finditer(value), STARTS):
            try:
                decoded, _ = DECODER.raw_decode(value, start.start())
            except (ValueError, RecursionError):
                continue
            written = WRITTEN.search(value[: start.start()])
            matches = list(records(decoded, names, written[0] if written else clock, level + 1))
            if matches:
                yield from matches
                return
    if level < LEVELS:
        for one in inner:
            yield from records(one, names, clock, level + 1)


def timestamp(value: object) -> pd.Timestamp | None:
    """Return a moment in UTC, of ISO 8601 or counted since 1970; None if it cannot be told."""
    try:
        number = float(value)  # type: ignore[arg-type] # a TypeError is caught
        while abs(number) > LATEST:
            number /= 1000
        return pd.Timestamp(number, unit="s", tz="UTC")
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        moment = pd.Timestamp(str(value))
        return moment.tz_convert("UTC") if moment.tz else moment.tz_localize("UTC")
    except (ValueError, OverflowError):
        return None


def _clock(value: Record, clock: object) -> object:
    return next((value[name] for name in CLOCKS if value.get(name)), clock)


def _skipped(text: str, position: int) -> int:
    between = BETWEEN.match(text, position)
    return between.end() if between else position
