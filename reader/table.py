"""A table of tweets in any format: its columns, and its rows in chunks in Arrow."""

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
MAX_NAMES = 30  # columns named in an error
Open = Callable[[], AbstractContextManager[BinaryIO]]  # opens the bytes at their beginning
Row = tuple[int, Sequence[str | None]]  # its number (the first below the header is 1), its fields
Refuse = Callable[[int, str], None]  # takes the number of a row that cannot be read, and the reason
UNPACKING_ERRORS = (EOFError, NotImplementedError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
# Raised for damaged files.
LIBRARY_ERRORS = (OSError, ValueError, csv.Error, pyarrow.ArrowException, *UNPACKING_ERRORS)
FULL_TEXT_PATHS = (  # fields with the full text, which APIs of Twitter and X add to truncated ones
    "full_text",
    "extended_tweet.full_text",
    "note_tweet.text",
    "retweeted_status.full_text",
    "retweeted_status.extended_tweet.full_text",
)
CUT = re.compile(r"\s*(…|\.\.\.)(\s*https?://\S+)?\s*$")  # how a cut text ends
RETWEET = re.compile(r"RT @\w+: ")


class EmptyFileError(NoTableError):
    """A file is empty, without a header."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the file is empty")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file, without refused ones."""

    numbers: npt.NDArray[np.int64]  # of the rows in the file, from 1
    table: pyarrow.Table


class Table(ABC):
    """A file of rows. Errors call it `name`; `about` describes the format that was detected."""

    def __init__(self, name: str, columns: list[str], about: dict[str, str], form: Format) -> None:
        self.name, self.columns, self.about = name, numbered(columns), about
        self.constants = dict[str, str]()  # columns that have one value in all rows
        self.text_columns = [name for name in self.columns if fold(name) == fold(form.text)]
        self.full_text_columns = [name for name in self.columns if fold(name) in FULL_TEXT_PATHS]
        self.repeated_headers: list[int] = []  # numbers of rows that are left out; set by `chunks`
        self.position: Callable[[], int] = lambda: 0  # returns the bytes read so far

    def add_constants(self, constants: Mapping[str, str]) -> None:
        """Add columns that have one value in all rows; a column of the file has precedence."""
        present = {*map(fold, self.columns)}
        self.constants = {name: v for name, v in constants.items() if fold(name) not in present}
        self.columns += self.constants

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, max_rows: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks with these columns, of at most `max_rows` rows.

        A row that cannot be read goes to `refuse`; without `refuse`, it raises an InputError.
        Truncated texts are replaced by the full ones of another column, if there is one.
        """
        own = [column for column in columns if column not in self.constants] or self.columns[:1]
        text_columns = [column for column in self.text_columns if column in own]
        needed = list(dict.fromkeys([*own, *(self.full_text_columns if text_columns else [])]))
        for chunk in self._chunks(needed, refuse, max_rows or CHUNK_ROWS):
            table = chunk.table
            for text_column in text_columns:
                table = _restore_full_texts(table, text_column, self.full_text_columns)
            for name, value in self.constants.items():
                table = table.append_column(name, pyarrow.array([value] * len(table)))
            yield Chunk(chunk.numbers, table.select([*columns]))

    @abstractmethod
    def _chunks(self, columns: list[str], refuse: Refuse | None, max_rows: int) -> Iterator[Chunk]:
        """Yield chunks with these columns, which are all in the file."""

    def column(self, name: str, setting: str | None = None) -> str:
        """Return the column's name as the file spells it; case, quotes and spaces are ignored.

        Raises InputError if the file has no such column, or several; `setting` is what the message
        advises to set.
        """
        if column := self.optional(name):
            return column
        names = ", ".join(self.columns[:MAX_NAMES]) + (
            ", …" if len(self.columns) > MAX_NAMES else ""
        )
        advice = f". If another one is meant, set {setting}" if setting else ""
        raise NoTableError(
            f"{self.name}: the header lacks the column {name}; it has: {names}{advice}"
        )

    def optional(self, name: str) -> str | None:
        """Return the column's name as the file spells it, or None if there is no such column.

        Raises InputError if several columns have the name.
        """
        matches = [column for column in self.columns if fold(column) == fold(name)]
        if name in matches and f"{name} (2)" not in self.columns:
            return name
        if len(matches) > 1 or name in matches:
            raise InputError(f"{self.name}: several columns are called {name}")
        return matches[0] if matches else None

    def refuse_row(self, refuse: Refuse | None, number: int, reason: str) -> None:
        """Hand a row to `refuse`, or raise an InputError if `refuse` is None."""
        if refuse is None:
            raise InputError(f"{self.name}: data row {number}: {reason}")
        refuse(number, reason)


class TextTable(Table):
    """A table whose fields are all text."""

    @abstractmethod
    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""

    def _chunks(self, columns: list[str], refuse: Refuse | None, max_rows: int) -> Iterator[Chunk]:
        rows, characters = list[Row](), 0
        for row in self.rows(columns, refuse):
            rows.append(row)
            characters += sum(len(field) for field in row[1] if field)
            if len(rows) == max_rows or characters >= CHUNK_CHARACTERS:
                yield _make_chunk(rows, columns)
                rows, characters = [], 0
        if rows:
            yield _make_chunk(rows, columns)


def _make_chunk(rows: list[Row], columns: list[str]) -> Chunk:
    numbers, fields = zip(*rows, strict=True)
    arrays = [pyarrow.array(column, pyarrow.string()) for column in zip(*fields, strict=True)]
    return Chunk(np.array(numbers, dtype=np.int64), pyarrow.table(arrays, names=columns))


def _restore_full_texts(
    table: pyarrow.Table, text_column: str, full_text_columns: Sequence[str]
) -> pyarrow.Table:
    """Return the table with truncated or missing texts replaced by those of other columns."""
    if not full_text_columns or not pyarrow.types.is_string(table.schema.field(text_column).type):
        return table
    candidates = zip(*(table[column].to_pylist() for column in full_text_columns), strict=True)
    texts = map(_full_text, table[text_column].to_pylist(), candidates)
    index = table.schema.get_field_index(text_column)
    return table.set_column(index, text_column, pyarrow.array(texts, pyarrow.string()))


def _full_text(text: str | None, candidates: tuple[object, ...]) -> str | None:
    full_texts = [candidate for candidate in candidates if candidate and isinstance(candidate, str)]
    if not text or text.isspace():
        return full_texts[0] if full_texts else text
    start = CUT.sub("", text)
    mark = match.group() if (match := RETWEET.match(start)) else ""
    for full_text in full_texts if start != text else ():
        if full_text.startswith(start):
            return full_text
        if full_text.startswith(start.removeprefix(mark)):  # the original has no RT @user
            return mark + full_text
    return text


def is_text(kind: pyarrow.DataType) -> bool:
    """Return whether a column of this type holds texts; a column of nulls counts as text."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    is_binary = types.is_binary(kind) or types.is_large_binary(kind)  # as old writers store texts
    is_string = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(is_binary or is_string or types.is_null(kind))


def numbered(columns: list[str]) -> list[str]:
    """Return unique names, such as a and a (2): spreadsheets may repeat names or leave them out."""
    counts = Counter[str]()
    names = []
    for name in columns:
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return names


@contextmanager
def as_input(name: str, setting: str = "") -> Iterator[None]:
    """Turn a library's error about a damaged file into an InputError that names the file.

    An error of encoding advises to set `setting`.
    """
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"{name}: {error}" + (f"; set {setting}" if setting else "")) from error
    except LIBRARY_ERRORS as error:
        raise InputError(f"{name}: cannot be read: {str(error).strip()}") from error
