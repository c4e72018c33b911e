"""A table of answers as a file's content: Parquet, CSV or JSON lines."""

import base64
import io
import json
import math
from typing import Any, Literal

import pyarrow
import pyarrow.csv
import pyarrow.parquet as pq
from pyarrow import types

Kind = Literal["parquet", "csv", "jsonl"]


def written(rows: pyarrow.Table, kind: Kind) -> bytes:
    """Return a table as a file's content; the same rows give the same bytes.

    In CSV, lists and structs are JSON. In JSON, NaN and infinities are null. In both, bytes are
    base64, and times are what Arrow writes.

    Raises:
        ValueError, OverflowError, pyarrow.ArrowException: a value has no form there.

    """
    content = io.BytesIO()
    if kind == "parquet":
        pq.write_table(rows, content, compression="zstd")
        return content.getvalue()
    if kind == "csv":
        cells = [_cells(column) for column in rows.columns]
        pyarrow.csv.write_csv(pyarrow.table(cells, names=rows.column_names), content)
        return content.getvalue()
    # Python's own times lack nanoseconds and years beyond 9999.
    columns = [c.cast(pyarrow.string()) if types.is_temporal(c.type) else c for c in rows.columns]
    lines = pyarrow.table(columns, names=rows.column_names).to_pylist()
    return "".join(f"{_dumped(_plain(line))}\n" for line in lines).encode()


def _cells(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Return a column as CSV can hold it."""
    kind = column.type
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind):
        return column
    if types.is_string(kind) or types.is_large_string(kind):
        return column
    plain = [_plain(value) for value in column.to_pylist()]
    texts = [v if v is None or isinstance(v, str) else _dumped(v) for v in plain]
    return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.string())])


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever Arrow can hold
    """Return a value as JSON can hold it."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, str | int) else str(value)


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
