"""Reading tables that a test has written."""

from pathlib import Path

import pyarrow

from reader.format import Format
from reader.open import opened

FORM = Format("text", "target", frozenset({"0", "1"}), prefix="prepare.")


def read(path: Path | str, form: Format = FORM) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """Return what was detected, and the rows."""
    with opened(str(path), form) as table:
        parts = [chunk.table for chunk in table.chunks(table.columns)]
        rows = pyarrow.concat_tables(parts).to_pylist() if parts else []
        return table.about, [tuple(row.values()) for row in rows]


def refusals(path: Path, column: str = "text") -> tuple[list[int], list[tuple[int, str]]]:
    """Return the numbers of the rows that were read, and of the others with the reason."""
    refused = list[tuple[int, str]]()
    with opened(str(path), FORM) as table:
        chunks = list(table.chunks([column], lambda *row: refused.append(row)))
    return [int(number) for chunk in chunks for number in chunk.numbers], refused
