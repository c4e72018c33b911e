"""Tables in Parquet; the columns keep their types."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reader.format import Format
from reader.table import FULL_TEXT_PATHS, Chunk, Refuse, Table, as_input, numbered


class Parquet(Table):
    """A Parquet file."""

    def __init__(self, path: Path, name: str, form: Format) -> None:
        self.path = path
        with as_input(name), pq.ParquetFile(path) as file:
            self.names = file.schema_arrow.names
            leaf_paths = {file.schema.column(i).path for i in range(len(file.schema))}
        super().__init__(name, self.names, {"format": "Parquet"}, form)
        nested_paths = leaf_paths - set(self.full_text_columns)
        self.full_text_columns += [path for path in FULL_TEXT_PATHS if path in nested_paths]

    def _chunks(self, columns: list[str], refuse: Refuse | None, max_rows: int) -> Iterator[Chunk]:
        rows_read = 0
        paths = [column for column in columns if column not in self.columns]
        pairs = zip(self.names, numbered(self.names), strict=True)
        names = [name for name, column in pairs if column in columns]
        with as_input(self.name), pq.ParquetFile(self.path) as file:
            size = self.path.stat().st_size
            self.position = lambda: size * rows_read // max(1, file.metadata.num_rows)
            for batch in file.iter_batches(max_rows, columns=list(dict.fromkeys(names + paths))):
                numbers = np.arange(rows_read + 1, rows_read + 1 + len(batch))
                table = pyarrow.Table.from_batches([batch])
                table = table.rename_columns(numbered(table.column_names))
                for path in paths:
                    first, *rest = path.split(".")
                    table = table.append_column(path, pc.struct_field(table[first], rest))
                table = table.select(columns)
                if reasons := _find_invalid_rows(table):
                    for row, reason in reasons.items():
                        self.refuse_row(refuse, int(numbers[row]), reason)
                    valid = np.setdiff1d(np.arange(len(table)), [*reasons])
                    numbers, table = numbers[valid], table.take(valid)
                yield Chunk(numbers, table)
                rows_read += len(batch)


def _find_invalid_rows(table: pyarrow.Table) -> dict[int, str]:
    """Return the rows with strings that are not UTF-8, with the reason to refuse each."""
    reasons = dict[int, str]()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not _is_valid(column):
            rows = [row for row in range(len(column)) if not _is_valid(column.take([row]))]
            reasons |= dict.fromkeys(rows, f"{name} is not UTF-8")
    return dict(sorted(reasons.items()))


def _is_valid(column: pyarrow.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid:
        return False
    return True
