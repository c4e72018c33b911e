"""The source's rows, checked and brought to the columns of the prepared data."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pandas as pd
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
from stages.prepare.duplicates import CanonicalTexts, Kin
from stages.prepare.params import Prepare
from stages.prepare.times import UnclearTimeError, milliseconds

MAX_SHOWN = 5  # faulty rows named in one error
OUTPUT_SCHEMA = pyarrow.schema(
    [("id", "string"), ("text", "string"), ("keyword", "string"), ("target", "int8")]
)


class Source(NamedTuple):
    """What is known of the rows that were staged."""

    files: list[dict[str, Any]]
    kin: Kin
    targets: npt.NDArray[np.int8]
    sides: "pd.Series[Any]"  # groups, or times in ms since 1970, or nothing of use
    others: Counter[str]  # labels that were dropped
    train_only: npt.NDArray[np.bool_]  # of a file that judges no model


def stage(p: Prepare, staged: Path) -> Source:
    """Copy the checked rows of all files to a Parquet file.

    Raises:
        InputError: a file cannot be read or used; the message names the place.

    """
    files, targets, sides = [], [np.empty(0, np.int8)], list["pd.Series[Any]"]()
    texts_seen, others = CanonicalTexts(p.seed), Counter[str]()
    train_only = [np.empty(0, np.bool_)]
    done = 0
    labels = frozenset(p.disaster + p.not_disaster)
    form = Format(p.text, p.label, labels, p.encoding, p.separator, p.quotes, "prepare.")
    with (
        pq.ParquetWriter(staged, OUTPUT_SCHEMA) as writer,
        Progress(desc="prepare: reading", unit=" rows", unit_scale=True) as progress,
    ):
        for file in (found := find(p.source, p.files)):
            with of_several(found, "prepare.files"), opened(file, form) as table:
                name = below(file, p.source)
                columns = _Columns(table, p, name)
                only = p.train_only is not None and PurePosixPath(name).match(p.train_only)
                rows = 0
                for chunk in table.chunks(columns.all):
                    tweets, dropped = columns.checked(chunk, done)
                    writer.write_table(tweets)
                    texts_seen.add(tweets["text"].combine_chunks())
                    targets.append(tweets["target"].to_numpy())
                    train_only.append(np.full(len(tweets), only))
                    others += dropped
                    rows, done = rows + len(chunk.table), done + len(chunk.table)
                    progress.update(len(chunk.table))
                if len(side := columns.side()):
                    sides.append(side)
                about = {"name": name, "rows": rows, **table.about}
                if table.repeated_headers:
                    about |= {"repeated_headers_at_rows": table.repeated_headers[:20]}
                files.append(about)
    if not done:
        raise InputError(f"{p.source}: no rows below the header")
    if sum(map(len, targets)) == 0:
        raise InputError(
            f"{p.source}: prepare.drop_others leaves no row; labels: {_values(others)}"
        )
    never = np.concatenate(train_only)
    if p.train_only and not never.any():
        raise InputError(f"{p.source}: prepare.train_only: no row is of a file {p.train_only}")
    return Source(files, texts_seen.kin(), np.concatenate(targets), pd.concat(sides), others, never)


class _Columns:
    """The columns of one file, as params.yaml names them."""

    def __init__(self, table: Table, p: Prepare, name: str) -> None:
        self.table, self.p, self.name = table, p, name
        self.text = table.column(p.text, "prepare.text")
        self.label = table.column(p.label, "prepare.label")
        self.id, self.keyword = table.optional(p.id), table.optional("keyword")
        self.splitting = None
        if wanted := p.group or p.time:
            of_file = p.group == "file" and not table.optional("file")
            setting = f"prepare.{'group' if p.group else 'time'}"
            self.splitting = None if of_file else table.column(wanted, setting)
        self.kept, self.sides = list[npt.NDArray[np.int64]](), list[pyarrow.Array]()
        names = (self.text, self.label, self.id, self.keyword, self.splitting)
        self.all = list(dict.fromkeys(name for name in names if name))

    def checked(self, chunk: Chunk, done: int) -> tuple[pyarrow.Table, Counter[str]]:
        """Return the rows as they are kept, and the labels that are dropped."""
        text, label = self._strings(chunk, self.text), self._strings(chunk, self.label)
        values = label.dictionary_encode()
        spelt = pyarrow.array(map(fold, values.dictionary.to_pylist()), pyarrow.string())
        folded = spelt.take(values.indices)
        disaster = np.asarray(pc.is_in(folded, value_set=pyarrow.array(self.p.disaster)))
        other = ~(disaster | pc.is_in(folded, value_set=pyarrow.array(self.p.not_disaster)))
        dropped = Counter(label.filter(pyarrow.array(other)).to_pylist())
        keep = ~other if self.p.drop_others else np.ones(len(text), dtype=bool)
        if dropped and not self.p.drop_others:
            said = (
                f"{self.label} is %r, which neither prepare.disaster nor prepare.not_disaster has; "
                "put it into one of them, or drop such rows by prepare.drop_others: true. "
                f"Values here: {_values(Counter(label.to_pylist()))}"
            )
            self._refuse(chunk, other, label, said, most=1)
        blank = pc.equal(pc.utf8_trim_whitespace(text), "")
        self._refuse(chunk, np.asarray(blank) & keep, text, "text is blank (got %r)")
        long = np.asarray(pc.greater(pc.utf8_length(text), MAX_TEXT))
        said = f"text is longer than {MAX_TEXT} characters (is a quote never closed? got %r)"
        self._refuse(chunk, long & keep, text, said)
        ids = pyarrow.array([str(done + i) for i in range(1, len(text) + 1)])
        if self.id:
            ids = pc.utf8_trim(self._strings(chunk, self.id, exact=True), " '")
        keyword = pyarrow.array([""] * len(text))
        if self.keyword:
            words = self._strings(chunk, self.keyword).to_pylist()
            keyword = pyarrow.array([unquote(word).strip().lower() for word in words])
        tweets = pyarrow.table([ids, text, keyword, disaster.astype("int8")], schema=OUTPUT_SCHEMA)
        self.kept.append(chunk.numbers[keep])
        if self.splitting:
            side = pc.utf8_trim(self._strings(chunk, self.splitting, exact=True), " '")
            self.sides.append(side.filter(pyarrow.array(keep)))
        return tweets.filter(pyarrow.array(keep)), dropped

    def side(self) -> "pd.Series[Any]":
        """Return what splits the rows that were kept."""
        if not self.splitting:
            name = self.name if self.p.group else ""
            return pd.Series(np.full(sum(map(len, self.kept)), name), dtype="category")
        values = pyarrow.chunked_array(self.sides, pyarrow.string())
        if not self.p.time:
            return pd.Series(values.to_pandas(), dtype=str)
        try:
            return pd.Series(milliseconds(values))
        except UnclearTimeError as error:
            raise InputError(
                f"{self.table.name}: data row {np.concatenate(self.kept)[error.at]}: "
                f"{self.splitting} {error} (got {values[error.at].as_py()[:40]!r}); write all as "
                "2013-04-15 or 2013-04-15T12:30:00Z"
            ) from error

    def _strings(self, chunk: Chunk, name: str, exact: bool = False) -> pyarrow.Array:
        values = chunk.table[name].combine_chunks()
        nested = pyarrow.types.is_nested(values.type)
        if nested or (name == self.text and not is_text(values.type)):
            raise InputError(f"{self.table.name}: {name} is no text but {values.type}")
        with as_input(f"{self.table.name}: {name}"):
            if exact and pyarrow.types.is_floating(values.type):
                if (pc.max(pc.abs(values)).as_py() or 0) > 2**53:
                    raise InputError(
                        f"{self.table.name}: {name} is stored as a float, which has lost digits"
                    )
                whole = pc.equal(values, pc.floor(values))
                if pc.all(whole).as_py():
                    values = pc.cast(values, pyarrow.int64())
            return pc.fill_null(pc.cast(values, pyarrow.string()), "")

    def _refuse(
        self,
        chunk: Chunk,
        wrong: npt.NDArray[np.bool_],
        values: pyarrow.Array,
        said: str,
        most: int = MAX_SHOWN,
    ) -> None:
        at = np.flatnonzero(wrong)
        if not len(at):
            return
        lines = [
            f"{self.table.name}: data row {chunk.numbers[i]}: {said % values[int(i)].as_py()[:40]}"
            for i in at[:most]
        ]
        if len(at) > most:
            lines.append(f"... and {len(at) - most} more in the same part of the file")
        raise InputError("\n".join(lines))


def _values(counted: Counter[str]) -> str:
    shown = ", ".join(f"{value!r} ({n})" for value, n in counted.most_common(MAX_SHOWN * 3))
    return shown + (", …" if len(counted) > MAX_SHOWN * 3 else "")
