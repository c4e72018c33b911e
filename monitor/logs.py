"""Reads logs of predictions, as the server or a collector wrote them, into tables.

Plain lines of JSON are read by the thousand. A line that pyarrow cannot read, or that has the
prediction somewhere inside, is read alone.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.json

from common.errors import InputError
from common.progress import Progress
from locked.answer import SCHEMA
from locked.features import FEATURES
from locked.labels import LABELS
from monitor.archive import is_archive, predictions
from monitor.records import Record, lines_of, records, timestamp
from reader.content import unpacked
from reader.files import find, size
from reader.table import as_input

BLOCK = 8 * 2**20  # bytes read at a time
PATTERN = "**/*.[jl][so][og]*"  # files of a folder that are read: .jsonl, .json.gz, .log, .log.1 …
NAMED = 5  # broken lines that are listed
SKEW = timedelta(hours=1)  # by which a clock may be ahead
PREDICTION = frozenset(("schema", "probability"))  # fields that nothing else has
MENTION = re.compile(rb'probability\\*"\s*:')
RECIPE = (
    "Have the collector keep all fields of a line (fluentd: `keep_time_key true`), or name the "
    "files that the server wrote"
)

LINE = pyarrow.schema(
    [
        ("schema", pyarrow.float64()),  # collectors write integers as doubles
        ("id", pyarrow.string()),
        ("time", pyarrow.timestamp("ns", tz="UTC")),
        ("model", pyarrow.string()),
        ("probability", pyarrow.float64()),
        ("label", pyarrow.string()),
        ("features", pyarrow.struct([(name, pyarrow.float64()) for name in FEATURES])),
        ("rate", pyarrow.float64()),
        ("hash", pyarrow.string()),
        ("text", pyarrow.string()),
        ("ms", pyarrow.float64()),
    ]
)
# What Cloud Logging exports is read as fast as plain lines: its jobs read millions.
EXPORTED = [("timestamp", LINE.field("time").type), ("jsonPayload", pyarrow.struct(list(LINE)))]
OPTIONS = pyarrow.json.ParseOptions(
    explicit_schema=pyarrow.schema([*LINE, *EXPORTED]), unexpected_field_behavior="ignore"
)
Line = tuple[int, bytes]  # its number, and what it holds


@dataclass
class Lines:
    """How many lines a log has: all, those of something else, broken ones, repeated ones."""

    read: int = 0
    others: int = 0
    broken: int = 0
    double: int = 0  # in the days that are looked at
    named: list[str] = field(default_factory=list)  # the first broken ones: file:line: reason

    def add_broken(self, path: str, number: int, reason: str) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.named) < NAMED:
            self.named.append(f"{path}:{number}: {reason}")

    def check(self, places: Iterable[str], what: str) -> None:
        """Raise an InputError if more lines are broken than could be read, or none was."""
        good, where = self.read - self.others - self.broken, ", ".join(places)
        if self.broken > good:
            raise InputError(
                f"{where}: {self.broken} of {self.broken + good} {what} lines cannot be read; "
                f"{self.named[0]}. {RECIPE}"
            )
        if not good:
            raise InputError(f"{where}: no {what} among {self.read} lines")


def blocks(places: list[str], what: str) -> Iterator[tuple[str, list[Line]]]:
    """Yield some lines of a file at a time, without empty ones, and the file's name.

    Raises:
        InputError: a file cannot be read.

    """
    names = find(places, PATTERN)
    total = sum(map(size, names))
    with Progress(desc=f"monitor: {what}", total=total, unit="B", unit_scale=True) as progress:
        for name in names:
            with (
                as_input(name),
                fsspec.open(name, "rb") as raw,
                unpacked(raw, name) as (opened, _),
            ):
                number, shown = 1, 0
                for block in lines_of(opened, BLOCK):
                    lines = enumerate(block, number)
                    yield name, [(n, line) for n, line in lines if not line.isspace()]
                    number += len(block)
                    progress.update(raw.tell() - shown)
                    shown = raw.tell()


def scan(places: list[str], lines: Lines) -> Iterator[pyarrow.Table]:
    """Yield the predictions in logs and archives, in the columns of LINE, a block at a time.

    Counts all lines in `lines`.

    Raises:
        InputError: a file cannot be read.

    """
    archives = [place for place in places if is_archive(place)]
    for place in archives:
        for table in predictions(place, LINE):
            lines.read += len(table)
            yield table
    if logs := [place for place in places if place not in archives]:
        for path, block in blocks(logs, "predictions"):
            lines.read += len(block)
            yield from _predictions(block, path, lines)


def _predictions(block: list[Line], path: str, lines: Lines) -> Iterator[pyarrow.Table]:
    """Yield the predictions of a block of lines."""
    plain = [line for line in block if line[1].startswith(b"{")]
    odd = [line for line in block if not line[1].startswith(b"{")]
    for part, table, _ in _parsed(plain):
        if table is None:
            odd += part
            continue
        direct = pc.and_(table["schema"].is_valid(), table["time"].is_valid()).to_numpy()
        odd += [part[row] for row in np.flatnonzero(~direct)]
        chosen = [part[row] for row in np.flatnonzero(direct)]
        yield _checked(table.filter(pyarrow.array(direct)), path, chosen, lines)
    from_inside = []
    for number, line in odd:
        inside = [(number, _dumped(record)) for record in _inside(line)]
        from_inside += inside
        lines.read += max(0, len(inside) - 1)
        if not inside and (reason := _broken(line)):
            lines.add_broken(path, number, reason)
        elif not inside:
            lines.others += 1
    for part, table, reason in _parsed(from_inside):
        if table is None:
            lines.add_broken(path, part[0][0], reason)
        else:
            yield _checked(table, path, part, lines)


def _inside(line: bytes) -> list[Record]:
    """Return the predictions in a line, whatever is around them."""
    if MENTION.search(line):
        with suppress(UnicodeDecodeError):
            return list(records(line.decode(), PREDICTION))
    return []


def _dumped(record: Record) -> bytes:
    """Return a record as the server writes it, with numbers where a collector made them strings."""
    fields = {name: record[name] for name in LINE.names if record.get(name) is not None}
    for name in fields:
        if LINE.field(name).type == pyarrow.float64() and isinstance(fields[name], str):
            with suppress(ValueError):
                fields[name] = float(fields[name])
    if time := timestamp(fields.pop("time", None)):
        fields["time"] = time.isoformat()
    return json.dumps(fields).encode()


def _broken(line: bytes) -> str:
    """Return why a line without a prediction is broken, or nothing if it is of something else."""
    start = line.find(b"{")
    try:
        json.loads(line[max(start, 0) :])
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}" if start == 0 or MENTION.search(line) else ""
    return "no `schema` beside `probability`" if MENTION.search(line) else ""


def _parsed(lines: list[Line]) -> Iterator[tuple[list[Line], pyarrow.Table | None, str]]:
    """Yield lines with their rows; a line that cannot be read alone, with None and the reason."""
    if not lines:
        return
    try:
        content = io.BytesIO(b"\n".join(line for _, line in lines))
        table = pyarrow.json.read_json(content, parse_options=OPTIONS)
        if len(table) != len(lines):
            raise pyarrow.ArrowInvalid("several objects on a line")
        table.validate(full=True)  # UTF-8, which reading does not look at
        yield lines, _flat(table), ""
    except pyarrow.ArrowInvalid as error:
        if len(lines) == 1:
            yield lines, None, str(error)
            return
        half = len(lines) // 2
        yield from _parsed(lines[:half])
        yield from _parsed(lines[half:])


def _flat(table: pyarrow.Table) -> pyarrow.Table:
    """Return rows in the columns of LINE, also those that are in a jsonPayload."""
    inner, clock = (table[name].combine_chunks() for name in ("jsonPayload", "timestamp"))
    columns = {
        name: pc.coalesce(table[name].combine_chunks(), pc.struct_field(inner, name))
        for name in LINE.names
    }
    return pyarrow.table(columns | {"time": pc.coalesce(columns["time"], clock)}, schema=LINE)


def _checked(table: pyarrow.Table, path: str, part: list[Line], lines: Lines) -> pyarrow.Table:
    """Return the sound predictions among rows; count the others with what is wrong."""
    latest = pyarrow.scalar(datetime.now(UTC) + SKEW)
    sound = {
        f"`schema` is not {SCHEMA}": pc.equal(table["schema"], SCHEMA),
        **{f"no `{name}`": table[name].is_valid() for name in ("id", "time", "model")},
        "`time` is ahead of the clock": pc.less_equal(table["time"], latest),
        f"`label` is not one of {', '.join(LABELS)}": pc.is_in(
            table["label"], pyarrow.array(LABELS)
        ),
        "`probability` is not within 0 and 1": pc.and_(
            pc.greater_equal(table["probability"], 0.0), pc.less_equal(table["probability"], 1.0)
        ),
    }
    masks = {reason: pc.fill_null(mask, False).to_numpy() for reason, mask in sound.items()}
    good = np.logical_and.reduce([*masks.values()])
    for row in np.flatnonzero(~good):
        reason = next(reason for reason, mask in masks.items() if not mask[row])
        lines.add_broken(path, part[row][0], reason)
    return table.filter(pyarrow.array(good))
