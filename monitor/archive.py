"""What `python -m score` answered, as a log of predictions: the drift of an archive.

An archive has no time of its own: a tweet's is that of the file that its answer is in.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fsspec
import pyarrow
import pyarrow.compute as pc

from common.errors import InputError
from common.progress import Progress
from common.storage import reaching
from locked.features import features, words
from reader.files import find, size
from reader.open import opened

RUN = "run.json"  # what tells such a folder from others
ANSWERS = "answers"
ADDED = 3  # columns behind those of the input: label, probability, model


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
                added, own = table.columns[-ADDED:], table.optional(text)
                shown = [own] if own in table.columns[:-ADDED] else []
                for chunk in table.chunks([*shown, *added]):
                    ids = [f"{name}:{number}" for number in chunk.numbers]
                    yield _lines(chunk.table, ids, written, bool(shown), schema)
            progress.update(size(name))


def _lines(
    rows: pyarrow.Table, ids: list[str], written: datetime, has_text: bool, schema: pyarrow.Schema
) -> pyarrow.Table:
    label, probability, model = rows.columns[-ADDED:]
    texts: list[str] = rows.column(0).to_pylist() if has_text else []
    nothing: list[Any] = [None] * len(rows)
    columns = {
        "schema": nothing,
        "id": ids,
        "time": [written] * len(rows),
        "model": model,
        "probability": pc.cast(probability, pyarrow.float64()),
        "label": label,
        "features": [features(t, ()) | {"unknown": None} for t in texts] if texts else nothing,
        "rate": [1.0] * len(rows),
        "hash": [" ".join(words(t)) for t in texts] if texts else nothing,
        "text": texts or nothing,
        "ms": nothing,
    }
    return pyarrow.table([columns[field.name] for field in schema], schema=schema)


def _written(name: str) -> datetime:
    with reaching(name):
        system, path = fsspec.core.url_to_fs(name)
        moment: datetime = system.modified(path)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
