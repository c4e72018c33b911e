"""Tables that say what is what: JSON lines and Parquet."""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as pq

from reader.format import Format
from reader.io import InputError
from reader.table import (
    CHUNK_ROWS,
    Chunk,
    Open,
    Refuse,
    Row,
    Table,
    TextTable,
    as_input,
    encoding_of,
)

HEAD = 1000  # objects whose keys are the columns


class JsonLines(TextTable):
    """A JSON object a line; the columns are the keys of the first of them."""

    def __init__(self, opened: Open, name: str, form: Format) -> None:
        self.opened, self.name = opened, name
        self.encoding, _ = encoding_of(opened, name, form)
        head = islice(self._objects(lambda _number, _reason: None), HEAD)
        columns = list(dict.fromkeys(key for _, found in head for key in found))
        if not columns:
            raise InputError(f"{name}: no line is a JSON object")
        super().__init__(name, columns, {"format": "JSON lines", "encoding": self.encoding})

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields; what is no text is written as JSON."""
        for number, found in self._objects(refuse):
            fields = [_text(found.get(column)) for column in columns]
            try:
                "".join(field for field in fields if field).encode()
            except UnicodeEncodeError:
                self.refused(refuse, number, "half a character (a lone surrogate)")
                continue
            yield number, fields

    def _objects(self, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, object]]]:
        with as_input(self.name), self.opened() as file:
            number = 0
            for line in io.TextIOWrapper(file, self.encoding):
                if not line.strip():
                    continue
                number += 1
                try:
                    found = json.loads(line)
                except ValueError as error:
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
            columns = pq.read_schema(path).names
        super().__init__(name, columns, {"format": "Parquet"})

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, most: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the rows, none of which is refused."""
        done = 0
        with as_input(self.name), pq.ParquetFile(self.path) as file:
            size = self.path.stat().st_size
            self.position = lambda: size * done // max(1, file.metadata.num_rows)
            for batch in file.iter_batches(most or CHUNK_ROWS, columns=[*columns]):
                numbers = np.arange(done + 1, done + 1 + len(batch))
                yield Chunk(numbers, pyarrow.Table.from_batches([batch]).select([*columns]))
                done += len(batch)


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
