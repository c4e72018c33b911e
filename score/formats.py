"""A table as the content of a Parquet, CSV or JSON lines file."""

import io
import json
from typing import Any, Literal

import pyarrow
import pyarrow.csv
import pyarrow.parquet as pq
from pyarrow import types
from pydantic_core import to_json

Kind = Literal["parquet", "csv", "jsonl"]


def encode(rows: pyarrow.Table, kind: Kind) -> bytes:
    """Return a table as a file's content; the same rows give the same bytes.

    CSV has lists and structs as JSON; JSON has null for NaN and infinities; both have bytes as
    URL-safe base64, and times as Arrow prints them.

    Raises:
        ValueError, OverflowError, pyarrow.ArrowException: the format cannot hold a value.

    """
    content = io.BytesIO()
    if kind == "parquet":
        pq.write_table(rows, content, compression="zstd")
    elif kind == "csv":
        columns = [_cells(column) for column in rows.columns]
        pyarrow.csv.write_csv(pyarrow.table(columns, names=rows.column_names), content)
    else:
        # Python's times have no nanoseconds and no years beyond 9999.
        columns = [
            c.cast(pyarrow.string()) if types.is_temporal(c.type) else c for c in rows.columns
        ]
        for line in pyarrow.table(columns, names=rows.column_names).to_pylist():
            content.write(_json(line) + b"\n")
    return content.getvalue()


def _cells(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Return a column whose type CSV can hold."""
    kind = column.type
    if types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind):
        return column
    if types.is_string(kind) or types.is_large_string(kind):
        return column
    texts = [None if value is None else _cell(value) for value in column.to_pylist()]
    return pyarrow.chunked_array([pyarrow.array(texts, pyarrow.string())])


def _cell(value: object) -> str:
    text = _json(value).decode()
    return json.loads(text) if text.startswith('"') else text


def _json(value: Any) -> bytes:  # noqa: ANN401 - whatever Arrow can hold
    return to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=str)
