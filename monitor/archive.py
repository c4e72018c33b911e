"""Reads what `python -m score` answered as a log of predictions.

An archive has no times: a tweet's is that of the file that its answer is in.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec
import pyarrow

from common.errors import InputError
from common.progress import Progress
from common.storage import reaching
from locked.answer import SCORED
from locked.features import features, words
from reader.files import find, size
from reader.open import opened

RUN = "run.json"  # what tells such a folder from others
ANSWERS = "answers"


def is_archive(place: str) -> bool:
    """Tell whether a place is a folder of answers."""
    with reaching(place):
        system, path = fsspec.core.url_to_fs(place)
        return bool(system.exists(f"{path.rstrip('/')}/{RUN}"))


def predictions(place: str, schema: pyarrow.Schema) -> Iterator[pyarrow.Table]:
    """Yield the answers, in the columns of a log's lines, some at a time.

    Features and hash need the text: `--keep` must have it, where it names columns. The words that
    the training tweets lack are not counted.

    Raises:
        InputError: a file cannot be read.

    """
    place = place.rstrip("/")
    with fsspec.open(f"{place}/{RUN}", "rb") as file:
        try:
            text = str(json.load(file)["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{place}/{RUN} is not what `python -m score` writes") from error
    names = find(f"{place}/{ANSWERS}")
    total = sum(map(size, names))
    with Progress(desc="monitor: answers", total=total, unit="B", unit_scale=True) as progress:
        for name in names:
            written = _written(name)
            with opened(name) as table:
                added = [_column(table.columns, field) for field in SCORED]
                own = table.optional(text)
                shown = [own] if own and own not in added else []
                for chunk in table.chunks([*added, *shown]):
                    rows = chunk.table.rename_columns([*SCORED, *["text"] * len(shown)])
                    ids = [f"{name}:{number}" for number in chunk.numbers]
                    yield _lines(rows, ids, written, schema)
            progress.update(size(name))


def _column(columns: list[str], field: str) -> str:
    """Return the name that score gave to a field where the input's columns left it."""
    named = re.compile(rf"(predicted_)?{field}(_\d+)?", re.I)
    return next(name for name in reversed(columns) if named.fullmatch(name))


def _lines(
    rows: pyarrow.Table, ids: list[str], written: datetime, schema: pyarrow.Schema
) -> pyarrow.Table:
    """Return answers as a log's lines; what an archive does not have is null."""
    texts = rows["text"].to_pylist() if "text" in rows.column_names else []
    columns: dict[str, Any] = {name: rows[name].cast(schema.field(name).type) for name in SCORED}
    columns |= {"id": ids, "time": [written] * len(rows), "rate": [1.0] * len(rows)}
    if texts:
        columns["text"] = texts
        columns["features"] = [features(text, ()) | {"unknown": None} for text in texts]
        columns["hash"] = [" ".join(words(text)) for text in texts]
    nothing = [None] * len(rows)
    return pyarrow.table([columns.get(name, nothing) for name in schema.names], schema=schema)


def _written(name: str) -> datetime:
    with reaching(name):
        system, path = fsspec.core.url_to_fs(name)
        moment: datetime = system.modified(path)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
