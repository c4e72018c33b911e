"""Reads predictions and users' feedback from logs.

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
MAX_EXAMPLES = 5  # broken lines that are listed
SKEW = timedelta(hours=1)  # by which a clock may be ahead
REMEDY = (
    "Have the collector keep all fields of a line (fluentd: `keep_time_key true`), or name the "
    "files that the server wrote"
)
DECODER = json.JSONDecoder()
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell's > writes
MULTILINE = re.compile(rb"\s*(?:\[\s*[\[{\]]|\{\s*\n)")  # an array, or an indented object
BETWEEN = re.compile(r"[\s,\[\]]*")  # the entries of an array, or objects that follow each other
START = re.compile(r'"?\{')  # of an object, or of a string that holds one
FALSE_STARTS = 20  # in a line, at most
LEVELS = 8  # of nested objects, arrays and strings, at most
CLOCKS = ("time", "timestamp", "@timestamp", "ts", "date", "__REALTIME_TIMESTAMP")
WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")  # a time in front of a record
LATEST = 1e11  # seconds since 1970: a larger number counts milliseconds or less


def parse_time(value: object) -> datetime:
    """Return a time in UTC from ISO 8601 or from a number since 1970.

    Raises:
        ValueError: the value is no time, or in the future.

    """
    try:
        number = float(value)  # type: ignore[arg-type] # a TypeError is caught
        while abs(number) > LATEST:
            number /= 1000
        time = pd.Timestamp(number, unit="s", tz="UTC")
    except (ValueError, TypeError, OverflowError):
        time = pd.Timestamp(str(value))
        time = time.tz_convert("UTC") if time.tz else time.tz_localize("UTC")
    if not time <= datetime.now(UTC) + SKEW:  # NaT is refused too
        raise ValueError("missing, or ahead of the clock")
    return time.to_pydatetime(warn=False)


Time = Annotated[datetime, BeforeValidator(parse_time)]


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


class Feedback(TypedDict):
    """Whether an answer was right, according to a user."""

    id: str
    time: Time
    right: StrictBool
    label: NotRequired[Label]


@dataclass(frozen=True)
class Kind:
    """A kind of records: their fields, and those that distinguish them from others in a log."""

    name: str
    adapter: TypeAdapter[Any]
    marks: tuple[str, str]  # two fields that no other record has together; the first is rarest

    def is_mentioned(self, line: bytes) -> bool:
        """Return whether a line has the rarest field, even with escaped quotes."""
        return re.search(rf'{self.marks[0]}\\*"\s*:'.encode(), line) is not None


PREDICTION = Kind("prediction", TypeAdapter(Prediction), ("probability", "schema"))
FEEDBACK = Kind("feedback", TypeAdapter(Feedback), ("right", "id"))


@dataclass
class Lines:
    """How many lines a log has: all, other records, broken ones, repeated ones."""

    read: int = 0
    others: int = 0
    broken: int = 0
    duplicates: int = 0  # within the period of the report
    examples: list[str] = field(default_factory=list)  # of broken lines: file:line: reason

    def add_broken(self, file: str, number: int, reason: str) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{file}:{number}: {reason}")

    def check(self, places: list[str], kind: Kind) -> None:
        """Raise InputError if most lines of this kind are broken, or there is none."""
        valid, logs = self.read - self.others - self.broken, ", ".join(places)
        if self.broken > valid:
            raise InputError(
                f"{logs}: {self.broken} of {self.broken + valid} {kind.name} lines cannot be read; "
                f"{self.examples[0]}. {REMEDY}"
            )
        if not valid:
            raise InputError(f"{logs}: no {kind.name} among {self.read} lines")


def read_records(places: list[str], kind: Kind, lines: Lines) -> Iterator[list[Any]]:
    """Yield the valid records of logs and archives, some at a time; count lines in `lines`.

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
                for block in _read_blocks(content):
                    entries = [(n, line) for n, line in enumerate(block, number) if line.strip()]
                    yield [
                        row
                        for n, line in entries
                        for row in _parse_line(line, file, n, kind, lines)
                    ]
                    number += len(block)
                    bar.update(read_before + raw.tell() - bar.n)


def _read_blocks(content: BinaryIO) -> Iterator[list[bytes]]:
    """Yield some lines of a file at a time; if entries span lines, all entries at once."""
    # a bucket's file object reads line by line
    file = io.BufferedReader(content)  # type: ignore[type-var] # any reader will do
    if file.peek(2).startswith(UTF16):
        yield file.read().decode("utf-16").encode().splitlines()
        return
    if file.peek(3).startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    if not MULTILINE.match(file.peek()):
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


def _parse_line(line: bytes, file: str, number: int, kind: Kind, lines: Lines) -> list[Any]:
    """Return the valid records of a line, and count the line."""
    lines.read += 1
    try:
        return [kind.adapter.validate_json(line)]  # a line as the server wrote it
    except ValidationError as error:
        reason, is_json = _explain(error), error.errors()[0]["type"] != "json_invalid"
    records = list[Any]()
    if kind.is_mentioned(line):
        with suppress(UnicodeDecodeError):
            records = list(_find_records(line.decode(), kind.marks))
    elif is_json or not line.startswith(b"{"):
        lines.others += 1
        return []
    if not records:
        lines.add_broken(file, number, reason)
    lines.read += max(0, len(records) - 1)
    valid = []
    for record in records:
        try:
            valid.append(kind.adapter.validate_python(record))
        except ValidationError as error:
            lines.add_broken(file, number, _explain(error))
    return valid


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    return ": ".join([*(f"`{part}`" for part in first["loc"][:1]), first["msg"]])


def _find_records(
    value: object, marks: tuple[str, str], clock: object = None, level: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the objects with both marks at any depth; their time may be outside of them."""
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
        inner = _decode_objects(value, clock)
    if level < LEVELS:
        for part, time in inner:
            yield from _find_records(part, marks, time, level + 1)


def _decode_objects(text: str, clock: object) -> Iterator[tuple[object, object]]:
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
