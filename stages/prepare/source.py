"""Reads the rows of the source, checks them and converts them to the prepared data's columns."""

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from common.errors import InputError
from common.progress import Progress
from locked.text import MAX_TEXT
from reader.canonical import is_cut
from reader.files import below, find
from reader.format import Format, fold
from reader.open import opened
from reader.table import Chunk, Table, as_input, is_text

if TYPE_CHECKING:
    from stages.params import Prepare

FULL_TEXTS = ("full_text", "extended_tweet.full_text", "note_tweet.text")  # columns
MAX_VALUES = 15  # labels named in an error
TIME_ADVICE = (
    "write ISO 8601, or set prepare.time_format; Twitter's own is '%a %b %d %H:%M:%S %z %Y'"
)
SCHEMA = pyarrow.schema(
    [("id", "string"), ("text", "string"), ("keyword", "string"), ("target", "int8")]
)
TWEET_ID = r"\d{17,18}|[1-8]\d{18}"  # a snowflake: above its lowest 22 bits is its time in ms
TWEET_EPOCH = 1_288_834_974_657  # ms from 1970 to the time 0 of snowflakes
Mask = npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """The checked rows of all files."""

    files: list[dict[str, Any]]  # each file's name, number of rows and detected format
    table: pyarrow.Table  # SCHEMA, split_by (group, ms since 1970, or null), train_only
    dropped: Counter[str]  # labels of the rows that were dropped


def read_rows(p: "Prepare") -> Rows:
    """Return the checked rows of all files, with the column that they are split by.

    Raises InputError if a file cannot be read or used; the message names file and row.
    """
    labels = frozenset(map(fold, p.disaster + p.not_disaster))
    form = Format(p.text, p.label, labels, p.encoding, p.separator, p.quotes, "prepare.")
    files, tables, dropped = [], list[pyarrow.Table](), Counter[str]()
    rows_read = 0
    with Progress(desc="prepare: reading", unit=" rows", unit_scale=True) as progress:
        for file in find(p.source, p.files):
            name, rows_before = below(file, p.source), rows_read
            with opened(file, form) as table:
                columns = _Columns(table, p, name)
                for chunk in table.chunks(columns.all):
                    rows, other_labels = columns.check(chunk, rows_read)
                    tables.append(rows)
                    dropped += other_labels
                    rows_read += len(chunk.table)
                    progress.update(len(chunk.table))
                about = {"name": name, "rows": rows_read - rows_before, **table.about}
                if table.repeated_headers:
                    about |= {"repeated_headers_at_rows": table.repeated_headers[:20]}
                files.append(about)
    if not rows_read:
        raise InputError(f"{p.source}: no rows below the header")
    if dropped.total() == rows_read:
        raise InputError(f"{p.source}: prepare.drop_others leaves no row; labels: {_list(dropped)}")
    all_rows = pyarrow.concat_tables(tables)
    if p.train_only and not pc.any(all_rows["train_only"]).as_py():
        raise InputError(
            f"{p.source}: prepare.train_only: no file with rows matches {p.train_only}"
        )
    return Rows(files, all_rows, dropped)


class _Columns:
    """The columns that params.yaml names, in one file."""

    def __init__(self, table: Table, p: "Prepare", name: str) -> None:
        self.table, self.p, self.name = table, p, name
        advice = "set prepare.{}, or leave this file out by prepare.files"
        self.text = table.column(p.text, advice.format("text"))
        self.label = table.column(p.label, advice.format("label"))
        self.id, self.keyword = table.optional(p.id), table.optional("keyword")
        self.split_by = None
        if p.time:
            self.split_by = table.column(p.time, advice.format("time"))
        elif p.group and p.group != "file":
            self.split_by = table.column(p.group, advice.format("group"))
        self.full_text = None  # a column with the full texts, which JsonTable itself uses
        if table.about["format"] != "JSON":
            self.full_text = next(filter(None, map(table.optional, FULL_TEXTS)), None)
        columns = (self.text, self.label, self.id, self.keyword, self.split_by, self.full_text)
        self.all = list(dict.fromkeys(filter(None, columns)))
        self.is_train_only = bool(p.train_only and PurePosixPath(name).match(p.train_only))

    def check(self, chunk: Chunk, rows_before: int) -> tuple[pyarrow.Table, Counter[str]]:
        """Return the rows as in `Rows.table`, and the labels of the rows that were dropped.

        `rows_before` is the number of rows in the chunks before, for ids.

        Raises InputError if a label, text or time is invalid.
        """
        text, label = self._strings(chunk, self.text), self._strings(chunk, self.label)
        values = label.dictionary_encode()
        folded = np.array([*map(fold, values.dictionary.to_pylist()), ""])
        folded = folded[np.asarray(values.indices)]
        is_disaster = np.isin(folded, [*map(fold, self.p.disaster)])
        is_other = ~(is_disaster | np.isin(folded, [*map(fold, self.p.not_disaster)]))
        if is_other.any() and not self.p.drop_others:
            reason = (
                f"{self.label} is %r, which neither prepare.disaster nor prepare.not_disaster has; "
                "add it to one of them, or drop such rows by prepare.drop_others: true. "
                f"Values here: {_list(Counter(label.to_pylist()))}"
            )
            self._refuse(chunk, is_other, label, reason)
        is_blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(text), ""))
        self._refuse(chunk, is_blank & ~is_other, text, "text is blank (got %r)")
        is_long = np.asarray(pc.greater(pc.utf8_length(text), MAX_TEXT))
        reason = f"text is longer than {MAX_TEXT} characters (is a quote never closed? got %r)"
        self._refuse(chunk, is_long & ~is_other, text, reason)
        if self.full_text and self.full_text != self.text:
            length = pc.utf8_length(self._strings(chunk, self.full_text))
            is_longer = np.asarray(pc.greater(length, pc.utf8_length(text)))
            is_truncated = np.asarray(is_cut(text)) & is_longer & ~is_other
            reason = f"text is truncated (%r); put the text of {self.full_text} in its place"
            self._refuse(chunk, is_truncated, text, reason)
        ids = [str(rows_before + i) for i in range(1, len(text) + 1)]
        keywords = [""] * len(text)
        if self.keyword:
            words = self._strings(chunk, self.keyword).to_pylist()
            keywords = [unquote(word).strip().lower() for word in words]
        rows = {
            "id": self._exact(chunk, self.id) if self.id else pyarrow.array(ids),
            "text": text,
            "keyword": pyarrow.array(keywords, pyarrow.string()),
            "target": pyarrow.array(is_disaster.astype("int8")),
            "split_by": self._split_values(chunk, ~is_other),
            "train_only": pyarrow.array([self.is_train_only] * len(text)),
        }
        dropped = Counter(label.filter(pyarrow.array(is_other)).to_pylist())
        return pyarrow.table(rows).filter(pyarrow.array(~is_other)), dropped

    def _split_values(self, chunk: Chunk, is_kept: Mask) -> pyarrow.Array:
        """Return each row's group or time in ms; null if the split is random."""
        if self.split_by is None:
            name = self.name if self.p.group else None
            return pyarrow.array([name] * len(is_kept), pyarrow.string())
        values = self._exact(chunk, self.split_by)
        if not self.p.time:
            return values
        times, is_unreadable = _milliseconds(values.to_pandas(), self.p.time_format)
        reason = f"{self.split_by} is not a readable time (got %r); {TIME_ADVICE}"
        self._refuse(chunk, is_unreadable & is_kept, values, reason)
        return pyarrow.array(times)

    def _strings(self, chunk: Chunk, name: str) -> pyarrow.Array:
        values = chunk.table[name].combine_chunks()
        is_nested = pyarrow.types.is_nested(values.type)
        if is_nested or (name == self.text and not is_text(values.type)):
            raise InputError(f"{self.table.name}: {name} has the type {values.type}, not text")
        with as_input(f"{self.table.name}: {name}"):
            return pc.fill_null(pc.cast(values, pyarrow.string()), "")

    def _exact(self, chunk: Chunk, name: str) -> pyarrow.Array:
        """Return a column of ids, groups or times as strings; the float 3.0 becomes "3"."""
        values = chunk.table[name]
        if pyarrow.types.is_floating(values.type):
            if (pc.max(pc.abs(values)).as_py() or 0) > 2**53:
                raise InputError(
                    f"{self.table.name}: {name} is stored as a float, which has lost digits"
                )
            if pc.all(pc.equal(values, pc.floor(values))).as_py():
                integers = pyarrow.table({name: pc.cast(values, pyarrow.int64())})
                chunk = Chunk(chunk.numbers, integers)
        return pc.utf8_trim(self._strings(chunk, name), " '")

    def _refuse(self, chunk: Chunk, is_wrong: Mask, values: pyarrow.Array, reason: str) -> None:
        """Raise InputError for the first wrong row, if any, with its value at %r in `reason`."""
        if is_wrong.any():
            first = int(is_wrong.argmax())
            reason = reason.replace("%r", repr(values[first].as_py()[:40]), 1)
            raise InputError(f"{self.table.name}: data row {chunk.numbers[first]}: {reason}")


def _milliseconds(texts: "pd.Series[str]", form: str | None) -> tuple[npt.NDArray[np.int64], Mask]:
    """Return the ms from 1970 to each time, and a mask of unreadable values: (texts,) each.

    Without the strptime format `form`, a time is in ISO 8601, or the id of a tweet.

    Raises InputError if `form` is not valid.
    """
    is_id = texts.str.fullmatch(TWEET_ID).to_numpy(bool) & (form is None)
    try:
        times = pd.to_datetime(texts, errors="coerce", utc=True, format=form or "ISO8601")
    except ValueError as error:
        raise InputError(f"prepare.time_format: {error}") from error
    milliseconds = times.dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)
    milliseconds[is_id] = (texts[is_id].to_numpy(np.int64) >> 22) + TWEET_EPOCH
    return milliseconds, times.isna().to_numpy() & ~is_id


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{value!r} ({n})" for value, n in counts.most_common(MAX_VALUES))
