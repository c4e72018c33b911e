"""Reads the answers that `python -m score` wrote, as predictions."""

import json
import re
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import fsspec

from common.errors import InputError
from common.progress import Progress
from common.storage import Folder, reaching
from locked.answer import SCHEMA, SCORED
from locked.features import features, words
from reader.files import find
from reader.open import opened
from reader.table import Table

RUN = "run.json"  # only a folder of `python -m score` has one


def is_archive(place: str) -> bool:
    """Return whether `python -m score` wrote this folder."""
    with reaching(place):
        system, path = fsspec.core.url_to_fs(f"{place.rstrip('/')}/{RUN}")
        return bool(system.exists(path))


def read_archive(place: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the answers of `python -m score` as predictions, with the time of their file.

    Features and hash need the text: if score's `--keep` names columns, it must include the text.
    The feature `unknown`, which needs the training tweets' words, is missing.
    """
    try:
        text = str(json.loads(Folder(place).read(RUN) or b"")["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place}/{RUN} is not what `python -m score` writes") from error
    for name in Progress(find(f"{place.rstrip('/')}/answers"), desc="monitor: answers"):
        with reaching(name):
            system, path = fsspec.core.url_to_fs(name)
            modified = system.modified(path)
        time = modified if modified.tzinfo else modified.replace(tzinfo=UTC)
        with opened(name) as table:
            columns = {field: _added_column(table, field) for field in SCORED}
            column = table.optional(text)
            if column and column not in columns.values():
                columns["text"] = column
            for chunk in table.chunks([*columns.values()]):
                rows = chunk.table.rename_columns([*columns]).to_pylist()
                for number, row in zip(chunk.numbers, rows, strict=True):
                    row |= {"schema": SCHEMA, "time": time, "id": f"{name}:{number}"}
                    row["probability"] = float(row["probability"])
                    if "text" in row:
                        row["features"] = features(row["text"], ()) | {"unknown": None}
                        row["hash"] = " ".join(words(row["text"]))
                yield rows


def _added_column(table: Table, field: str) -> str:
    """Return the column that score added for a field: predicted_… if the input has its name."""
    pattern = re.compile(rf"(predicted_)?{field}(_\d+)?")
    return next(column for column in reversed(table.columns) if pattern.fullmatch(column))
