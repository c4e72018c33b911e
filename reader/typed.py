"""Tables that say what is what: JSON lines and Parquet."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as pq

from common.errors import NoTableError
from reader.format import Format, fold
from reader.table import (
    CHUNK_ROWS,
    Chunk,
    Open,
    Refuse,
    Row,
    Table,
    TextTable,
    as_input,
    numbered,
)

MOST_KEYS = 10_000


class JsonLines(TextTable):
    """A JSON object a line; the columns are the keys of all of them."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Look for the keys.

        Raises:
            InputError: there is none, or more than MOST_KEYS.

        """
        self.opened, self.name, self.encoding = opened, name, encoding
        self.texts = fold(form.text)
        keys = dict[str, None]()
        for _, found in self._objects(lambda _number, _reason: None):
            keys |= dict.fromkeys(found)
            if len(keys) > MOST_KEYS:
                raise NoTableError(f"{name}: more than {MOST_KEYS} different keys are no columns")
        if not keys:
            raise NoTableError(f"{name}: no line is a JSON object")
        super().__init__(name, [*keys], {"format": "JSON lines"})

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields; what is no string is written as JSON."""
        texts = [column for column in columns if fold(column) == self.texts]
        for number, found in self._objects(refuse):
            try:
                fields = [_text(found.get(column)) for column in columns]
                "".join(field for field in fields if field).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                half = isinstance(error, UnicodeEncodeError)
                reason = "half a character (a lone surrogate)" if half else "nested too deep"
                self.refused(refuse, number, reason)
                continue
            for name in texts:
                if not isinstance(found.get(name), str | None):
                    said = str(_text(found[name]))[:40]
                    self.refused(refuse, number, f"{name} is no string (got {said})")
                    break
            else:
                yield number, fields

    def _objects(self, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, object]]]:
        with self.opened() as file:
            number = 0
            for line in io.TextIOWrapper(file, self.encoding):
                if not line.strip():
                    continue
                number += 1
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as error:
                    self.refused(refuse, number, f"not JSON: {error}")
                    continue
                if isinstance(found, dict):
                    yield number, found
                else:
                    self.refused(refuse, number, f"no JSON object but {line.strip()[:40]!r}")


class Parquet(Table):
    """A Parquet file; columns keep their types."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with as_input(name):
            self.names = pq.read_schema(path).names
        super().__init__(name, self.names, {"format": "Parquet"})

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, most: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the rows; one is refused where a string of it is not UTF-8."""
        done = 0
        with as_input(self.name), pq.ParquetFile(self.path) as file:
            size = self.path.stat().st_size
            self.position = lambda: size * done // max(1, file.metadata.num_rows)
            pairs = zip(self.names, self.columns, strict=True)
            names = [name for name, column in pairs if column in columns]
            for batch in file.iter_batches(most or CHUNK_ROWS, columns=list(dict.fromkeys(names))):
                numbers = np.arange(done + 1, done + 1 + len(batch))
                table = pyarrow.Table.from_batches([batch])
                table = table.rename_columns(numbered(table.column_names)).select([*columns])
                if broken := _broken(table):
                    for row, reason in broken.items():
                        self.refused(refuse, int(numbers[row]), reason)
                    whole = np.setdiff1d(np.arange(len(table)), [*broken])
                    numbers, table = numbers[whole], table.take(whole)
                yield Chunk(numbers, table)
                done += len(batch)


def _broken(table: pyarrow.Table) -> dict[int, str]:
    """Return the rows that have strings which are not UTF-8, and what to say of each."""
    found = dict[int, str]()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not _is_sound(column):
            rows = [row for row in range(len(column)) if not _is_sound(column.take([row]))]
            found |= dict.fromkeys(rows, f"{name} is not UTF-8")
    return dict(sorted(found.items()))


def _is_sound(column: pyarrow.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid:
        return False
    return True


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
