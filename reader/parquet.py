"""Tables in Parquet; the columns keep their types."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as pq

from reader.table import CHUNK_ROWS, Chunk, Refuse, Table, as_input


class Parquet(Table):
    """A Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        with as_input(name), pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
        super().__init__(name, columns, {"format": "Parquet"})

    def chunks(
        self, columns: Sequence[str], refuse: Refuse | None = None, max_rows: int | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks as Table does; all rows can be read, or none."""
        rows_read, size = 0, self.path.stat().st_size
        with as_input(self.name), pq.ParquetFile(self.path) as file:
            self.position = lambda: size * rows_read // max(1, file.metadata.num_rows)
            for batch in file.iter_batches(max_rows or CHUNK_ROWS, columns=[*columns]):
                batch.validate(full=True)  # finds strings that are not UTF-8
                numbers = np.arange(rows_read + 1, rows_read + 1 + len(batch))
                yield Chunk(numbers, pyarrow.Table.from_batches([batch]).select([*columns]))
                rows_read += len(batch)
