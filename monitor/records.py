"""Reads predictions from logs, whatever a collector has put around each of them."""

import io
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, BinaryIO, Literal, NotRequired

import fsspec
import pandas as pd
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads that of typing from Python 3.12 on

from common.errors import InputError
from common.progress import Progress
from common.storage import reaching
from locked.labels import Label
from reader.content import unpacked
from reader.files import find

BLOCK = 8 * 2**20  # bytes read at a time
PATTERN = "**/*.[jl][so][og]*"  # files of a folder that are read: .jsonl, .json.gz, .log, .log.1 …
MAX_EXAMPLES = 5  # broken lines that are listed
SKEW = timedelta(hours=1)  # by which a clock may be ahead
REMEDY = (
    "Have the collector keep all fields of a line (fluentd: `keep_time_key true`), or name the "
    "files that the server wrote"
)
DECODER = json.JSONDecoder()
MARKS = {"probability", "schema"}  # fields that no other record of a log has together
MULTILINE = re.compile(rb"\s*(?:\[\s*[\[{\]]|\{\s*\n)")  # an array, or an indented object
START = re.compile(r'"?\{')  # of an object, or of a string that holds one
FALSE_STARTS = 20  # in a text, at most
CLOCKS = ("time", "timestamp", "@timestamp", "ts", "date", "__REALTIME_TIMESTAMP")
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


class Prediction(TypedDict):
    """The fields of locked.answer.Answer that the monitor uses; others are ignored."""

    schema: Annotated[Literal[1], BeforeValidator(float)]  # some collectors write "1" or 1.0
    id: str
    time: Annotated[datetime, BeforeValidator(parse_time)]
    model: str
    probability: Annotated[float, Field(ge=0, le=1)]
    label: Label
    features: NotRequired[dict[str, float | None] | None]
    rate: NotRequired[float | None]
    hash: NotRequired[str | None]
    text: NotRequired[str | None]


PREDICTION = TypeAdapter(Prediction)


@dataclass
class Lines:
    """How many lines a log has: all, other records, broken ones, repeated ones."""

    read: int = 0
    others: int = 0
    broken: int = 0
    duplicates: int = 0  # within the period of the report
    examples: list[str] = field(default_factory=list)  # of broken lines: file:line: reason

    def add_broken(self, place: str, error: ValidationError) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.examples) < MAX_EXAMPLES:
            first = error.errors()[0]
            field_name = [f"`{part}`" for part in first["loc"][:1]]
            self.examples.append(": ".join([place, *field_name, first["msg"]]))

    def check(self, places: list[str]) -> None:
        """Raise InputError if most predictions are broken, or there is none."""
        valid, logs = self.read - self.others - self.broken, ", ".join(places)
        if self.broken > valid:
            raise InputError(
                f"{logs}: {self.broken} of {self.broken + valid} prediction lines cannot be read; "
                f"{self.examples[0]}. {REMEDY}"
            )
        if not valid:
            raise InputError(f"{logs}: no prediction among {self.read} lines")


def read_records(places: list[str], lines: Lines) -> Iterator[list[Prediction]]:
    """Yield the valid predictions of logs, some at a time; count lines in `lines`.

    Raises:
        InputError: a file cannot be read.

    """
    for file in Progress(find(places, PATTERN), desc="monitor: logs", unit=" files"):
        with reaching(file), fsspec.open(file, "rb") as raw, unpacked(raw, file) as (content, _):
            number = 0
            for block in _read_blocks(content):
                records = list[Prediction]()
                for line in block:
                    number += 1
                    if line.strip():
                        records += _parse_line(line, f"{file}:{number}", lines)
                yield records


def _read_blocks(content: BinaryIO) -> Iterator[list[bytes]]:
    """Yield some lines of a file at a time; of an array that spans lines, all entries at once."""
    # a bucket's file object reads line by line
    file = io.BufferedReader(content)  # type: ignore[type-var] # any reader will do
    if MULTILINE.match(file.peek()):
        value = json.load(file)
        entries = value if isinstance(value, list) else [value]
        yield [json.dumps(entry).encode() for entry in entries]
        return
    while block := file.readlines(BLOCK):
        yield block


def _parse_line(line: bytes, place: str, lines: Lines) -> list[Prediction]:
    """Return the valid predictions of a line, and count the line."""
    lines.read += 1
    if not all(mark.encode() in line for mark in MARKS):
        lines.others += 1
        return []
    try:
        return [PREDICTION.validate_json(line)]  # a line as the server wrote it
    except ValidationError as error:
        records = list(_find_records(line.decode("utf-8", "replace")))
        if not records:
            lines.add_broken(place, error)
    lines.read += max(0, len(records) - 1)
    valid = []
    for record in records:
        try:
            valid.append(PREDICTION.validate_python(record))
        except ValidationError as error:
            lines.add_broken(place, error)
    return valid


def _find_records(line: str) -> Iterator[dict[str, Any]]:
    """Yield the objects with all marks, at any depth; their time may be outside of them."""
    values = deque[tuple[Any, object]]([(line, None)])
    while values:
        value, clock = values.popleft()
        inner: list[Any] = []
        if isinstance(value, dict):
            clock = next((value[name] for name in CLOCKS if value.get(name)), clock)
            if value.keys() >= MARKS:
                yield value | ({"time": clock} if clock else {})
            else:
                inner = [*value.values()]
        elif isinstance(value, list):
            inner = value
        elif isinstance(value, str) and all(mark in value for mark in MARKS):
            inner = _decode_objects(value)
        values += [(part, clock) for part in inner]


def _decode_objects(text: str) -> list[Any]:
    """Return the JSON objects in a text, and the strings that hold one."""
    values, end, false_starts = list[Any](), 0, 0
    while false_starts < FALSE_STARTS and (start := START.search(text, end)):
        try:
            value, end = DECODER.raw_decode(text, start.start())
            values.append(value)
        except (ValueError, RecursionError):
            false_starts, end = false_starts + 1, start.end()
    return values
