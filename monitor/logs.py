"""Logs of predictions: lines of JSON in files, folders or buckets, .gz too -> tables, in blocks.

A block that cannot be read is halved until the broken line is alone.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.json

from common.progress import Progress
from locked.features import FEATURES
from locked.labels import LABELS
from monitor.archive import is_archive, predictions
from reader.content import unpacked
from reader.files import find, size
from reader.table import as_input

BLOCK = 8 * 2**20  # bytes read at a time
PATTERN = "**/*.json*"  # the files of a folder that are read
SCHEMA_VERSION = 1
NAMED = 5  # broken lines
SKEW = timedelta(hours=1)  # that a clock may be ahead: a line from further on is broken

LINE = pyarrow.schema(
    [
        ("schema", pyarrow.int64()),
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
# Cloud Logging exports a line under jsonPayload, and its time beside that.
OPTIONS = pyarrow.json.ParseOptions(
    explicit_schema=pyarrow.schema(
        [
            *LINE,
            ("timestamp", pyarrow.timestamp("ns", tz="UTC")),
            ("jsonPayload", pyarrow.struct(list(LINE))),
        ]
    ),
    unexpected_field_behavior="ignore",
)


@dataclass
class Lines:
    """How many lines a log has: of predictions, of something else, and broken ones."""

    read: int = 0
    others: int = 0
    broken: int = 0
    double: int = 0  # of the days that were asked for
    named: list[str] = field(default_factory=list)  # the first broken ones, as file:line

    def add_broken(self, place: str) -> None:
        """Count a broken line."""
        self.broken += 1
        if len(self.named) < NAMED:
            self.named.append(place)


def blocks(places: list[str], what: str) -> Iterator[tuple[str, int, list[bytes]]]:
    """Yield some lines at a time: their file, the number of the first, and the lines.

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
                # a bucket's file itself reads lines one by one
                buffered = io.BufferedReader(opened)  # type: ignore[type-var] # any reader will do
                number, done = 1, 0
                while block := buffered.readlines(BLOCK):
                    yield name, number, block
                    number += len(block)
                    progress.update(raw.tell() - done)
                    done = raw.tell()


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
        for path, number, block in blocks(logs, "predictions"):
            yield _predictions(block, path, number, lines)


def _predictions(block: list[bytes], path: str, first: int, lines: Lines) -> pyarrow.Table:
    """Read a block of lines, the first of them with this number."""
    kept = [(number, line) for number, line in enumerate(block, first) if not line.isspace()]
    lines.read += len(kept)
    tables = []
    for numbers, table in _parsed(kept):
        if table is None:
            lines.add_broken(f"{path}:{numbers[0]}")
            continue
        tables.append(_checked(table, path, numbers, lines))
    return pyarrow.concat_tables(tables) if tables else LINE.empty_table()


def _parsed(lines: list[tuple[int, bytes]]) -> Iterator[tuple[list[int], pyarrow.Table | None]]:
    """Yield lines' numbers and their rows, and None for a line that is no JSON object."""
    if not lines:
        return
    numbers, texts = zip(*lines, strict=True)
    try:
        if not all(text.lstrip().startswith(b"{") for text in texts):
            raise pyarrow.ArrowInvalid("no object, and pyarrow would crash on `null`")
        given = io.BytesIO(b"\n".join(texts))
        table = pyarrow.json.read_json(given, parse_options=OPTIONS)
        if len(table) != len(lines):
            raise pyarrow.ArrowInvalid("several objects on a line")
        table.validate(full=True)  # UTF-8, which reading does not look at
        yield list(numbers), table
    except pyarrow.ArrowInvalid:
        if len(lines) == 1:
            yield list(numbers), None
            return
        half = len(lines) // 2
        yield from _parsed(lines[:half])
        yield from _parsed(lines[half:])


def _checked(table: pyarrow.Table, path: str, numbers: list[int], lines: Lines) -> pyarrow.Table:
    """Return the predictions among rows; count the others, and those that lack something."""
    inner = table["jsonPayload"].combine_chunks()
    flat = {
        name: pc.coalesce(table[name].combine_chunks(), pc.struct_field(inner, name))
        for name in LINE.names
    }
    flat["time"] = pc.coalesce(flat["time"], table["timestamp"].combine_chunks())
    rows = pyarrow.table(flat, schema=LINE)
    ours = rows["schema"].is_valid()
    probability = rows["probability"]
    sound = pc.and_(
        pc.and_(pc.equal(rows["schema"], SCHEMA_VERSION), rows["time"].is_valid()),
        pc.and_(pc.is_in(rows["label"], pyarrow.array(LABELS)), rows["model"].is_valid()),
    )
    sound = pc.and_(sound, pc.and_(rows["id"].is_valid(), pc.less_equal(probability, 1.0)))
    sound = pc.and_(sound, pc.less_equal(rows["time"], pyarrow.scalar(datetime.now(UTC) + SKEW)))
    sound = pc.fill_null(pc.and_(sound, pc.greater_equal(probability, 0.0)), False)
    broken = pc.and_(ours, pc.invert(sound))
    lines.others += len(rows) - pc.sum(ours).as_py()
    for row in np.flatnonzero(broken.to_numpy()):
        lines.add_broken(f"{path}:{numbers[row]}")
    return rows.filter(pc.and_(ours, sound))
