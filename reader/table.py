"""A table of tweets, whatever it is written in: its columns, and its rows in chunks."""

import codecs
import csv
import lzma
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
Open = Callable[[], AbstractContextManager[BinaryIO]]  # the bytes, from their beginning
Row = tuple[int, Sequence[str | None]]  # its number, counted from 1 below the header; its fields
Refuse = Callable[[int, str], None]  # told of a row that cannot be read, and why
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")  # in Windows-1252
BROKEN = (  # what libraries say of a broken file
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    csv.Error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    pyarrow.ArrowException,
)


class EmptyFileError(NoTableError):
    """There is nothing in a file, not even a header."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the file is empty")


@dataclass(frozen=True)
class Chunk:
    """Rows that follow each other in a file, without those refused, and their numbers."""

    numbers: npt.NDArray[np.int64]
    table: pyarrow.Table


class Table(ABC):
    """One file of rows. `name` is what errors call it, `about` says what was found out."""

    def __init__(self, name: str, columns: list[str], about: dict[str, str]) -> None:
        self.name, self.columns, self.about = name, numbered(columns), about
        self.repeated_headers: list[int] = []  # rows that were left out, once they are read
        self.position: Callable[[], int] = lambda: 0  # bytes of the file that are read

    @abstractmethod
    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, most: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the rows, of these columns alone, at most so many at a time.

        A row that cannot be read goes to `refuse`, or is an InputError where that is None.
        """

    def column(self, wanted: str, setting: str | None = None) -> str:
        """Return the column's name as the file has it.

        Raises:
            InputError: there is none, or there are several.

        """
        if found := self.optional(wanted):
            return found
        names = ", ".join(self.columns[:SHOWN]) + (", …" if len(self.columns) > SHOWN else "")
        advice = f". If another one is meant, set {setting}" if setting else ""
        raise NoTableError(
            f"{self.name}: the header lacks the column {wanted}; it has: {names}{advice}"
        )

    def optional(self, wanted: str) -> str | None:
        """Return the column's name as the file has it, None where there is none."""
        found = [name for name in self.columns if fold(name) == fold(wanted)]
        if wanted in found and f"{wanted} (2)" not in self.columns:
            return wanted
        if len(found) > 1 or wanted in found:
            raise InputError(f"{self.name}: several columns are called {wanted}")
        return found[0] if found else None

    def refused(self, refuse: Refuse | None, number: int, reason: str) -> None:
        """Hand a row to `refuse`, or end the reading."""
        if refuse is None:
            raise InputError(f"{self.name}: data row {number}: {reason}")
        refuse(number, reason)


class TextTable(Table):
    """A table all fields of which are text."""

    @abstractmethod
    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, most: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the rows; fewer at a time where they are long."""
        part, size, most = list[Row](), 0, most or CHUNK_ROWS
        for row in self.rows(columns, refuse):
            part.append(row)
            size += sum(len(field) for field in row[1] if field)
            if len(part) == most or size >= CHUNK_CHARACTERS:
                yield _chunk(part, columns)
                part, size = [], 0
        if part:
            yield _chunk(part, columns)


def _chunk(rows: list[Row], columns: Sequence[str]) -> Chunk:
    numbers, fields = zip(*rows, strict=True)
    arrays = [pyarrow.array(column, pyarrow.string()) for column in zip(*fields, strict=True)]
    return Chunk(np.array(numbers, dtype=np.int64), pyarrow.table(arrays, names=[*columns]))


def is_text(kind: pyarrow.DataType) -> bool:
    """Tell whether a column of this type holds texts; one of nulls alone lacks them."""
    types = pyarrow.types
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    binary = types.is_binary(kind) or types.is_large_binary(kind)  # what old writers make of texts
    string = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(binary or string or types.is_null(kind))


def numbered(columns: list[str]) -> list[str]:
    """Tell columns of one name apart, as spreadsheets with empty names have them: a, a (2)."""
    seen = Counter[str]()
    names = []
    for name in columns:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def encoding_of(opened: Open, name: str, form: Format) -> tuple[str, str]:
    """Find out the encoding: as set, by its mark, UTF-8, or else what Windows writes in the West.

    Returns:
        Python's name of it, and a remark where it is not certain.

    Raises:
        InputError: it is UTF-8 but for some bytes, or what is set is no encoding of texts.

    """
    setting = f"{form.prefix}encoding"
    with opened() as file:
        head = file.read(4096)
    marked = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), "")
    if form.encoding:
        try:
            "".encode(form.encoding)  # the lookup finds codecs of bytes too
            known = codecs.lookup(form.encoding).name
        except (LookupError, ValueError) as error:
            raise InputError(f"{setting}: {form.encoding} is no encoding of texts") from error
        same = marked.startswith(known) or marked == known.removesuffix("-le").removesuffix("-be")
        return (marked if same else known), ""
    if marked == "utf-16":
        return marked, ""
    if head.count(b"\0") > len(head) // 4:
        return ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be"), "no byte order mark"
    good = bad = 0
    first = undefined = ""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    line = 1
    with opened() as file:
        for block in iter(lambda: file.read(2**20), b""):
            text = decoder.decode(block)
            if not text.isascii():
                wrong = [c for c in text if "\udc80" <= c <= "\udcff"]
                good += sum(c > "\x7f" for c in text) - len(wrong)
                bad += len(wrong)
                undefined = undefined or "".join(c for c in wrong if ord(c) & 255 in UNDEFINED)
                if wrong and not first:
                    before = text[: text.index(wrong[0])]
                    first = f"line {line + before.count(chr(10))}"
            line += block.count(b"\n")
    if not bad:
        return (marked or "utf-8"), ""
    if good > bad:
        raise InputError(
            f"{name}: {first}: not UTF-8, though the rest of the file is; mend it, or set {setting}"
        )
    return ("latin-1" if undefined else "cp1252"), f"{first} is not UTF-8"


@contextmanager
def as_input(name: str, setting: str = "") -> Iterator[None]:
    """Turn what a library says of a broken file into an InputError that names it."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"{name}: {error}" + (f"; set {setting}" if setting else "")) from error
    except BROKEN as error:
        raise InputError(f"{name}: cannot be read: {str(error).strip()}") from error
