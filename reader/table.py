"""A table of tweets in any format: its columns, and its rows in chunks in Arrow."""

import csv
import lzma
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow

from common.errors import InputError
from reader.format import fold

CHUNK_ROWS = 50_000
MAX_NAMES = 30  # columns named in an error
Open = Callable[[], AbstractContextManager[BinaryIO]]  # opens the bytes at their beginning
Row = tuple[int, Sequence[str | None]]  # its number (the first below the header is 1), its fields
Refuse = Callable[[int, str], None]  # takes the number of a row that cannot be read, and the reason
# Raised for damaged files; a RuntimeError is about a zip's password.
UNPACKING_ERRORS = (EOFError, RuntimeError, lzma.LZMAError, zipfile.BadZipFile, zlib.error)
LIBRARY_ERRORS = (OSError, ValueError, csv.Error, pyarrow.ArrowException, *UNPACKING_ERRORS)


class EmptyFileError(InputError):
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

    def __init__(self, name: str, columns: list[str], about: dict[str, str]) -> None:
        self.name, self.columns, self.about = name, columns, about
        self.repeated_headers: list[int] = []  # numbers of rows that are left out; set by `chunks`
        self.position: Callable[[], int] = lambda: 0  # returns the bytes read so far

    @abstractmethod
    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, max_rows: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks with these columns, of at most `max_rows` rows.

        A row that cannot be read goes to `refuse`; without `refuse`, it raises an InputError.
        """

    def column(self, name: str, advice: str) -> str:
        """Return the column's name as the file spells it; case, quotes and spaces are ignored.

        Raises InputError, with advice what to do, if the file has no such column, or several.
        """
        if column := self.optional(name):
            return column
        names = ", ".join(self.columns[:MAX_NAMES])
        reason = f"the header lacks the column {name}; it has: {names}"
        raise InputError(f"{self.name}: {reason}; {advice}")

    def optional(self, name: str) -> str | None:
        """Return the column's name as the file spells it, or None if there is no such column.

        Raises InputError if several columns have the name, in other spellings.
        """
        if name in self.columns:
            return name
        matches = [column for column in self.columns if fold(column) == fold(name)]
        if len(matches) > 1:
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

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, max_rows: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks as Table does."""
        rows = self.rows(columns, refuse)
        while chunk := list(islice(rows, max_rows or CHUNK_ROWS)):
            numbers, fields = zip(*chunk, strict=True)
            arrays = [pyarrow.array(texts, pyarrow.string()) for texts in zip(*fields, strict=True)]
            yield Chunk(np.array(numbers), pyarrow.table(arrays, names=[*columns]))


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
