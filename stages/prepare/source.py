"""Reads the source's rows, checks them and brings them to the columns of the prepared data."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import InputError
from common.progress import Progress
from locked.text import MAX_TEXT
from reader.files import below, find, of_several
from reader.format import Format, fold
from reader.open import opened
from reader.table import Chunk, Table, as_input, is_text
from stages.prepare.duplicates import Collector, Duplicates
from stages.prepare.params import Prepare
from stages.prepare.times import ADVICE, milliseconds

LONG_TEXT = 1_000  # characters, more than the model reads of a text
MAX_SHOWN = 5  # wrong rows named in one error
MAX_VALUES = 15  # labels named in one error
OUTPUT_SCHEMA = pyarrow.schema(
    [("id", "string"), ("text", "string"), ("keyword", "string"), ("target", "int8")]
)
Mask = npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """The rows that were written; each array has an entry a row."""

    files: list[dict[str, Any]]  # of each file: its name, rows and detected form
    duplicates: Duplicates
    targets: npt.NDArray[np.int8]
    split_by: pyarrow.ChunkedArray  # groups, times in ms since 1970, or nulls
    train_only: Mask
    dropped: Counter[str]  # labels of the rows that were dropped


def write_rows(p: Prepare, path: Path) -> Rows:
    """Write the checked rows of all files to a Parquet file, and return what splits them.

    Raises:
        InputError: a file cannot be read or used; the message names the place.

    """
    files, targets, split_by = [], list[pyarrow.Array](), list[pyarrow.Array]()
    train_only, collector, dropped = list[Mask](), Collector(p.seed), Counter[str]()
    labels = frozenset(p.disaster + p.not_disaster)
    form = Format(p.text, p.label, labels, p.encoding, p.separator, p.quotes, "prepare.")
    names, read = find(p.source, p.files), 0
    with (
        pq.ParquetWriter(path, OUTPUT_SCHEMA) as writer,
        Progress(desc="prepare: reading", unit=" rows", unit_scale=True) as progress,
    ):
        for file in names:
            name, first, long_texts = below(file, p.source), read, 0
            with of_several(names, "prepare.files"), opened(file, form) as table:
                columns = _Columns(table, p, name)
                for chunk in table.chunks(columns.all):
                    tweets, values, labels_dropped = columns.checked(chunk, read)
                    writer.write_table(tweets)
                    collector.add(tweets["text"].combine_chunks())
                    targets.append(tweets["target"].combine_chunks())
                    split_by.append(values)
                    is_train_only = p.train_only and PurePosixPath(name).match(p.train_only)
                    train_only.append(np.full(len(tweets), bool(is_train_only)))
                    dropped += labels_dropped
                    long_texts += np.sum(pc.utf8_length(tweets["text"]).to_numpy() > LONG_TEXT)
                    read += len(chunk.table)
                    progress.update(len(chunk.table))
                about = {"name": name, "rows": read - first, **table.about}
                if long_texts:
                    about["texts_above_1000_characters"] = int(long_texts)
                if table.repeated_headers:
                    about |= {"repeated_headers_at_rows": table.repeated_headers[:20]}
                files.append(about)
    if not read:
        raise InputError(f"{p.source}: no rows below the header")
    if dropped.total() == read:
        raise InputError(f"{p.source}: prepare.drop_others leaves no row; labels: {_list(dropped)}")
    if p.train_only and not np.concatenate(train_only).any():
        raise InputError(f"{p.source}: prepare.train_only: no row is of a file {p.train_only}")
    return Rows(
        files,
        collector.duplicates(),
        np.asarray(pyarrow.chunked_array(targets)),
        pyarrow.chunked_array(split_by),
        np.concatenate(train_only),
        dropped,
    )


class _Columns:
    """The columns of one file that params.yaml names."""

    def __init__(self, table: Table, p: Prepare, name: str) -> None:
        self.table, self.p, self.name = table, p, name
        self.text = table.column(p.text, "prepare.text")
        self.label = table.column(p.label, "prepare.label")
        self.id, self.keyword = table.optional(p.id), table.optional("keyword")
        self.split_by = None
        if p.time:
            self.split_by = table.column(p.time, "prepare.time")
        elif p.group and (p.group != "file" or table.optional("file")):
            self.split_by = table.column(p.group, "prepare.group")
        names = (self.text, self.label, self.id, self.keyword, self.split_by)
        self.all = list(dict.fromkeys(name for name in names if name))

    def checked(
        self, chunk: Chunk, rows_before: int
    ) -> tuple[pyarrow.Table, pyarrow.Array, Counter[str]]:
        """Return the rows to keep, what splits them, and the labels of the others."""
        text, label = self._strings(chunk, self.text), self._strings(chunk, self.label)
        values = label.dictionary_encode()
        folded = pyarrow.array(map(fold, values.dictionary.to_pylist()), pyarrow.string())
        folded = folded.take(values.indices)
        disaster = np.asarray(pc.is_in(folded, value_set=pyarrow.array(self.p.disaster)))
        other = ~(disaster | pc.is_in(folded, value_set=pyarrow.array(self.p.not_disaster)))
        if other.any() and not self.p.drop_others:
            reason = (
                f"{self.label} is %r, which neither prepare.disaster nor prepare.not_disaster has; "
                "add it to one of them, or drop such rows by prepare.drop_others: true. "
                f"Values here: {_list(Counter(label.to_pylist()))}"
            )
            self._check(chunk, other, label, reason, most=1)
        blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(text), ""))
        self._check(chunk, blank & ~other, text, "text is blank (got %r)")
        long = np.asarray(pc.greater(pc.utf8_length(text), MAX_TEXT))
        reason = f"text is longer than {MAX_TEXT} characters (is a quote never closed? got %r)"
        self._check(chunk, long & ~other, text, reason)
        ids = pyarrow.array([str(rows_before + i) for i in range(1, len(text) + 1)])
        if self.id:
            ids = self._exact(chunk, self.id)
        keyword = pyarrow.array([""] * len(text))
        if self.keyword:
            words = self._strings(chunk, self.keyword).to_pylist()
            keyword = pyarrow.array([unquote(word).strip().lower() for word in words])
        tweets = pyarrow.table([ids, text, keyword, disaster.astype("int8")], schema=OUTPUT_SCHEMA)
        keep = pyarrow.array(~other)
        split_by = self._split_by(chunk, ~other).filter(keep)
        return (
            tweets.filter(keep),
            split_by,
            Counter(label.filter(pyarrow.array(other)).to_pylist()),
        )

    def _split_by(self, chunk: Chunk, keep: Mask) -> pyarrow.Array:
        if self.split_by is None:
            return pyarrow.array(
                [self.name if self.p.group else None] * len(keep), pyarrow.string()
            )
        values = self._exact(chunk, self.split_by)
        if not self.p.time:
            return values
        times, unreadable = milliseconds(values, self.p.time_format)
        reason = f"{self.split_by} is no time that can be read (got %r); {ADVICE}"
        self._check(chunk, unreadable & keep, values, reason)
        return pyarrow.array(times)

    def _strings(self, chunk: Chunk, name: str) -> pyarrow.Array:
        values = chunk.table[name].combine_chunks()
        is_nested = pyarrow.types.is_nested(values.type)
        if is_nested or (name == self.text and not is_text(values.type)):
            raise InputError(f"{self.table.name}: {name} is no text but {values.type}")
        with as_input(f"{self.table.name}: {name}"):
            return pc.fill_null(pc.cast(values, pyarrow.string()), "")

    def _exact(self, chunk: Chunk, name: str) -> pyarrow.Array:
        """Return a column of ids, groups or times as strings; floats lose a fraction of zero."""
        values = chunk.table[name].combine_chunks()
        if pyarrow.types.is_floating(values.type):
            if (pc.max(pc.abs(values)).as_py() or 0) > 2**53:
                raise InputError(
                    f"{self.table.name}: {name} is stored as a float, which has lost digits"
                )
            if pc.all(pc.equal(values, pc.floor(values))).as_py():
                index = chunk.table.schema.get_field_index(name)
                whole = pc.cast(values, pyarrow.int64())
                chunk = Chunk(chunk.numbers, chunk.table.set_column(index, name, whole))
        return pc.utf8_trim(self._strings(chunk, name), " '")

    def _check(
        self, chunk: Chunk, wrong: Mask, values: pyarrow.Array, reason: str, most: int = MAX_SHOWN
    ) -> None:
        """Raise an error that names the first wrong rows, each value at the %r in `reason`."""
        indexes = np.flatnonzero(wrong)
        if not len(indexes):
            return
        lines = [
            f"{self.table.name}: data row {chunk.numbers[i]}: "
            + reason.replace("%r", repr(values[int(i)].as_py()[:40]), 1)
            for i in indexes[:most]
        ]
        if len(indexes) > most:
            lines.append(f"... and {len(indexes) - most} more in the same part of the file")
        raise InputError("\n".join(lines))


def _list(counts: Counter[str]) -> str:
    shown = ", ".join(f"{value!r} ({n})" for value, n in counts.most_common(MAX_VALUES))
    return shown + (", …" if len(counts) > MAX_VALUES else "")
