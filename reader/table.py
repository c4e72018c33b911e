"""A table of tweets in any format: its columns, and its rows in chunks."""

import csv
import lzma
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow

from common.errors import InputError, NoTableError
from reader.format import Format, fold

CHUNK_ROWS = 50_000
CHUNK_CHARACTERS = 2**26
SHOWN = 30  # columns named in an error
Open = Callable[[], AbstractContextManager[BinaryIO]]  # opens the bytes at their beginning
Row = tuple[int, Sequence[str | None]]  # its number, counted from 1 below the header; its fields
Refuse = Callable[[int, str], None]  # takes the number of a row that cannot be read, and the reason
PACKED_ERRORS = (EOFError, NotImplementedError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
# Raised for broken files.
LIBRARY_ERRORS = (OSError, ValueError, csv.Error, pyarrow.ArrowException, *PACKED_ERRORS)
PATHS = (  # at which an API of Twitter or X has the whole text of a tweet, beside the cut one
    "full_text",
    "extended_tweet.full_text",
    "note_tweet.text",
    "retweeted_status.full_text",
    "retweeted_status.extended_tweet.full_text",
)
CUT = re.compile(r"\s*(…|\.\.\.)(\s*https?://\S+)?\s*$")  # how a cut text ends
RETWEET = re.compile(r"RT @\w+: ")


class EmptyFileError(NoTableError):
    """A file is empty: it has not even a header."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the file is empty")


@dataclass(frozen=True)
class Chunk:
    """Rows that follow each other in a file, without those refused, and their numbers."""

    numbers: npt.NDArray[np.int64]
    table: pyarrow.Table


class Table(ABC):
    """One file of rows. `name` stands in errors; `about` has what was detected."""

    def __init__(self, name: str, columns: list[str], about: dict[str, str], form: Format) -> None:
        self.name, self.columns, self.about = name, numbered(columns), about
        self.constants = dict[str, str]()  # columns that have one value in all rows
        self.texts = [column for column in self.columns if fold(column) == fold(form.text)]
        self.whole = [column for column in self.columns if fold(column) in PATHS]
        self.repeated_headers: list[int] = []  # the rows left out, filled by reading
        self.position: Callable[[], int] = lambda: 0  # bytes of the file that are read

    def add_constants(self, constants: Mapping[str, str]) -> None:
        """Add columns that have one value in all rows; a column of the file has precedence."""
        present = {*map(fold, self.columns)}
        self.constants = {name: v for name, v in constants.items() if fold(name) not in present}
        self.columns += self.constants

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, most: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the rows, with these columns, at most `most` at a time.

        A row that cannot be read goes to `refuse`; without `refuse`, it raises an InputError.
        """
        own = [column for column in columns if column not in self.constants] or self.columns[:1]
        texts = [column for column in self.texts if column in own]
        needed = list(dict.fromkeys([*own, *(self.whole if texts else [])]))
        for chunk in self._chunks(needed, refuse, most or CHUNK_ROWS):
            table = chunk.table
            for text in texts:
                table = _with_whole_texts(table, text, self.whole)
            for name, value in self.constants.items():
                table = table.append_column(name, pyarrow.array([value] * len(table)))
            yield Chunk(chunk.numbers, table.select([*columns]))

    @abstractmethod
    def _chunks(self, columns: list[str], refuse: Refuse | None, most: int) -> Iterator[Chunk]:
        """Yield the rows with these columns of the file."""

    def column(self, name: str, setting: str | None = None) -> str:
        """Return the column's name as the file has it.

        Raises InputError if the file has no such column, or several.
        """
        if column := self.optional(name):
            return column
        names = ", ".join(self.columns[:SHOWN]) + (", …" if len(self.columns) > SHOWN else "")
        advice = f". If another one is meant, set {setting}" if setting else ""
        raise NoTableError(
            f"{self.name}: the header lacks the column {name}; it has: {names}{advice}"
        )

    def optional(self, name: str) -> str | None:
        """Return the column's name as the file has it, None if it has none."""
        matches = [column for column in self.columns if fold(column) == fold(name)]
        if name in matches and f"{name} (2)" not in self.columns:
            return name
        if len(matches) > 1 or name in matches:
            raise InputError(f"{self.name}: several columns are called {name}")
        return matches[0] if matches else None

    def refused(self, refuse: Refuse | None, number: int, reason: str) -> None:
        """Hand a row to `refuse`, or raise an InputError if that is None."""
        if refuse is None:
            raise InputError(f"{self.name}: data row {number}: {reason}")
        refuse(number, reason)


class TextTable(Table):
    """A table whose fields are all text."""

    @abstractmethod
    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""

    def _chunks(self, columns: list[str], refuse: Refuse | None, most: int) -> Iterator[Chunk]:
        part, size = list[Row](), 0
        for row in self.rows(columns, refuse):
            part.append(row)
            size += sum(len(field) for field in row[1] if field)
            if len(part) == most or size >= CHUNK_CHARACTERS:
                yield _chunk(part, columns)
                part, size = [], 0
        if part:
            yield _chunk(part, columns)


def _chunk(rows: list[Row], columns: list[str]) -> Chunk:
    numbers, fields = zip(*rows, strict=True)
    arrays = [pyarrow.array(column, pyarrow.string()) for column in zip(*fields, strict=True)]
    return Chunk(np.array(numbers, dtype=np.int64), pyarrow.table(arrays, names=columns))


def _with_whole_texts(table: pyarrow.Table, text: str, paths: Sequence[str]) -> pyarrow.Table:
    """Return the table with each cut or missing text replaced by the whole one in these columns."""
    if not paths or not pyarrow.types.is_string(table.schema.field(text).type):
        return table
    candidates = zip(*(table[path].to_pylist() for path in paths), strict=True)
    texts = map(_whole, table[text].to_pylist(), candidates)
    index = table.schema.get_field_index(text)
    return table.set_column(index, text, pyarrow.array(texts, pyarrow.string()))


def _whole(text: str | None, candidates: tuple[object, ...]) -> str | None:
    texts = [candidate for candidate in candidates if candidate and isinstance(candidate, str)]
    if not text or text.isspace():
        return texts[0] if texts else text
    start = CUT.sub("", text)
    mark = match.group() if (match := RETWEET.match(start)) else ""
    for whole in texts if start != text else ():
        if whole.startswith(start):
            return whole
        if whole.startswith(start.removeprefix(mark)):  # the original has no RT @user
            return mark + whole
    return text


def is_text(kind: pyarrow.DataType) -> bool:
    """Return whether a column of this type holds texts; one of nulls alone has missing texts."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    binary = types.is_binary(kind) or types.is_large_binary(kind)  # of texts, by old writers
    string = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(binary or string or types.is_null(kind))


def numbered(columns: list[str]) -> list[str]:
    """Return unique names: a, a (2). Spreadsheets have several columns without a name."""
    counts = Counter[str]()
    names = []
    for name in columns:
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return names


@contextmanager
def as_input(name: str, setting: str = "") -> Iterator[None]:
    """Turn a library's error about a broken file into an InputError that names the file."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"{name}: {error}" + (f"; set {setting}" if setting else "")) from error
    except LIBRARY_ERRORS as error:
        raise InputError(f"{name}: cannot be read: {str(error).strip()}") from error
