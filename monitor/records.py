"""Reads predictions and readers' verdicts from logs.

A collector may have put anything around each record.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, BinaryIO, Literal, NotRequired

import fsspec
import pandas as pd
from pydantic import BeforeValidator, Field, StrictBool, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on

from common.errors import InputError
from common.progress import Progress
from locked.labels import Label
from monitor.archive import is_archive, read_archive
from reader.content import unpacked
from reader.files import find, size
from reader.table import as_input

BLOCK = 8 * 2**20  # bytes read at a time
PATTERN = "**/*.[jl][so][og]*"  # files of a folder that are read: .jsonl, .json.gz, .log, .log.1 …
NAMED = 5  # broken lines that are listed
SKEW = timedelta(hours=1)  # by which a clock may be ahead
RECIPE = (
    "Have the collector keep all fields of a line (fluentd: `keep_time_key true`), or name the "
    "files that the server wrote"
)
DECODER = json.JSONDecoder()
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell's > writes
SPREAD = re.compile(rb"\s*(?:\[\s*[\[{\]]|\{\s*\n)")  # an array, or an indented object
BETWEEN = re.compile(r"[\s,\[\]]*")  # the entries of an array, or objects that follow each other
START = re.compile(r'"?\{')  # of an object, or of a string that holds one
FALSE_STARTS = 20  # tried in a line
LEVELS = 8  # of objects, arrays and strings within each other
CLOCKS = ("time", "timestamp", "@timestamp", "ts", "date", "__REALTIME_TIMESTAMP")
WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")  # a time in front of a record
LATEST = 1e11  # seconds since 1970: a larger number counts milliseconds or less


def moment(value: object) -> datetime:
    """Return a time in UTC, of ISO 8601 or counted since 1970.

    Raises:
        ValueError: there is none, or it lies ahead of the clock.

    """
    try:
        number = float(value)  # type: ignore[arg-type] # a TypeError is caught
        while abs(number) > LATEST:
            number /= 1000
        time = pd.Timestamp(number, unit="s", tz="UTC")
    except (ValueError, TypeError, OverflowError):
        time = pd.Timestamp(str(value))
        time = time.tz_convert("UTC") if time.tz else time.tz_localize("UTC")
    if not time <= datetime.now(UTC) + SKEW:  # as NaT, too
        raise ValueError("missing, or ahead of the clock")
    return time.to_pydatetime(warn=False)


Time = Annotated[datetime, BeforeValidator(moment)]


class Prediction(TypedDict):
    """The fields of locked.answer.Answer; others are ignored."""

    schema: Literal[1] | Annotated[Literal[1], BeforeValidator(float)]  # "1" and 1.0 by collectors
    id: str
    time: Time
    model: str
    probability: Annotated[float, Field(ge=0, le=1)]
    label: Label
    features: NotRequired[dict[str, float | None] | None]
    rate: NotRequired[float | None]
    hash: NotRequired[str | None]
    text: NotRequired[str | None]
    ms: NotRequired[float | None]


class Verdict(TypedDict):
    """A reader's verdict on an answer."""

    id: str
    time: Time
    right: StrictBool
    label: NotRequired[Label]


@dataclass(frozen=True)
class Kind:
    """A kind of records: their fields, and what distinguishes them from others in a log."""

    name: str
    adapter: TypeAdapter[Any]
    marks: tuple[str, str]  # two fields that no other record has together; the first is rarest

    def is_mentioned(self, line: bytes) -> bool:
        """Return whether a line holds the rarest field, however often its quotes are escaped."""
        return re.search(rf'{self.marks[0]}\\*"\s*:'.encode(), line) is not None


PREDICTION = Kind("prediction", TypeAdapter(Prediction), ("probability", "schema"))
VERDICT = Kind("verdict", TypeAdapter(Verdict), ("right", "id"))


@dataclass
class Lines:
    """How many lines a log has: all, other records, broken ones, repeated ones."""

    read: int = 0
    others: int = 0
    broken: int = 0
    double: int = 0  # within the period of the report
    named: list[str] = field(default_factory=list)  # the first broken ones: file:line: reason

    def add_broken(self, file: str, number: int, reason: str) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.named) < NAMED:
            self.named.append(f"{file}:{number}: {reason}")

    def check(self, places: list[str], kind: Kind) -> None:
        """Raise an InputError if more lines are broken than could be read, or none was."""
        good, where = self.read - self.others - self.broken, ", ".join(places)
        if self.broken > good:
            raise InputError(
                f"{where}: {self.broken} of {self.broken + good} {kind.name} lines cannot be read; "
                f"{self.named[0]}. {RECIPE}"
            )
        if not good:
            raise InputError(f"{where}: no {kind.name} among {self.read} lines")


def read_records(places: list[str], kind: Kind, lines: Lines) -> Iterator[list[Any]]:
    """Yield the sound records in logs and archives, some at a time; count all lines in `lines`.

    Raises:
        InputError: a file cannot be read.

    """
    archives = [place for place in places if is_archive(place)]
    for place in archives:
        for rows in read_archive(place):
            lines.read += len(rows)
            yield rows
    logs = [place for place in places if place not in archives]
    files = find(logs, PATTERN) if logs else []
    total = sum(map(size, files))
    with Progress(desc=f"monitor: {kind.name}s", total=total, unit="B", unit_scale=True) as bar:
        for file in files:
            number, read_before = 1, bar.n
            with (
                as_input(file),
                fsspec.open(file, "rb") as raw,
                unpacked(raw, file) as (content, _),
            ):
                for block in _blocks(content):
                    entries = [(n, line) for n, line in enumerate(block, number) if line.strip()]
                    yield [
                        row for n, line in entries for row in _parsed(line, file, n, kind, lines)
                    ]
                    number += len(block)
                    bar.update(read_before + raw.tell() - bar.n)


def _blocks(content: BinaryIO) -> Iterator[list[bytes]]:
    """Yield some lines of a file at a time; the entries, if they are an array or span lines."""
    # a bucket's file itself reads lines one by one
    file = io.BufferedReader(content)  # type: ignore[type-var] # any reader will do
    if file.peek(2).startswith(UTF16):
        yield file.read().decode("utf-16").encode().splitlines()
        return
    if file.peek(3).startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    if not SPREAD.match(file.peek()):
        while block := file.readlines(BLOCK):
            yield block
        return
    text, entries, end = file.read().decode("utf-8", "replace"), [], 0
    while (start := BETWEEN.match(text, end).end()) < len(text):  # type: ignore[union-attr] # "" matches
        try:
            _, end = DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):  # cut off
            end = len(text)
        entries.append(text[start:end].encode())
    yield entries


def _parsed(line: bytes, file: str, number: int, kind: Kind, lines: Lines) -> list[Any]:
    """Return the sound records of a line."""
    lines.read += 1
    try:
        return [kind.adapter.validate_json(line)]  # a line as the server wrote it
    except ValidationError as error:
        reason, is_json = _reason(error), error.errors()[0]["type"] != "json_invalid"
    records = list[Any]()
    if kind.is_mentioned(line):
        with suppress(UnicodeDecodeError):
            records = list(_records(line.decode(), kind.marks))
    elif is_json or not line.startswith(b"{"):
        lines.others += 1
        return []
    if not records:
        lines.add_broken(file, number, reason)
    lines.read += max(0, len(records) - 1)
    sound = []
    for record in records:
        try:
            sound.append(kind.adapter.validate_python(record))
        except ValidationError as error:
            lines.add_broken(file, number, _reason(error))
    return sound


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    return ": ".join([*(f"`{part}`" for part in first["loc"][:1]), first["msg"]])


def _records(
    value: object, marks: tuple[str, str], clock: object = None, level: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the objects with both marks, at any depth; `time` may stand outside of them."""
    inner: Iterator[tuple[object, object]] = iter(())
    if isinstance(value, dict):
        clock = next((value[name] for name in CLOCKS if value.get(name)), clock)
        if value.keys() >= {*marks}:
            yield value | ({"time": clock} if clock else {})
            return
        inner = ((part, clock) for part in value.values())
    elif isinstance(value, list):
        inner = ((part, clock) for part in value)
    elif isinstance(value, str) and all(mark in value for mark in marks):
        inner = _decoded(value, clock)
    if level < LEVELS:
        for part, time in inner:
            yield from _records(part, marks, time, level + 1)


def _decoded(text: str, clock: object) -> Iterator[tuple[object, object]]:
    """Yield the JSON objects and strings of objects in a text, with the time before each."""
    end = false_starts = 0
    while false_starts < FALSE_STARTS and (start := START.search(text, end)):
        written = WRITTEN.search(text, end, start.start())
        try:
            value, end = DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            false_starts, end = false_starts + 1, start.end()
        else:
            yield value, written[0] if written else clock
