"""Reads labels from what any labelling tool exports; no tool is recognised by name.

The label is in the column whose values are labels, however deep.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence

import fsspec
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from reader.format import Format, fold
from reader.open import opened
from reader.table import as_input

LABEL = "label"  # the column that `monitor review` leaves empty
DRAWN = "drawn"
TARGETS = {  # as people and spreadsheets write them
    **dict.fromkeys(("0", "0.0", "0,0", "false", "no", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "1,0", "true", "yes", LABELS[1]), 1),
}
SKIPPED = {"ignore", "discarded", "draft", "pending", "skipped", "cancelled", "in_progress"}
REJECTED = {"reject", "rejected"}
STATES = SKIPPED | REJECTED  # what a reviewer did with a tweet
STATES |= {"accept", "submitted", "completed", "finished", "validated", "approved"}
NO_LABELS = re.compile("suggest|predict|option|cancel|ground_truth|model|score|drawn", re.I)

Fields = dict[str, list[str]]  # by the path of a field: its values, without empty ones


def read_export(file: str) -> tuple[pd.DataFrame, list[Fields]]:
    """Return the rows of CSV, JSON, JSON lines or Parquet: file, number, target, …; their fields.

    Raises:
        InputError: the file cannot be read, has a label that is none, or has two for a tweet.

    """
    with as_input(file), fsspec.open(file, "rb") as content:
        sha256 = hashlib.sha256(content.read()).hexdigest()
    numbers, fields = list[int](), list[Fields]()
    # `\0`: no column is special, and a list is as good as a string
    with opened(file, Format("\0")) as table:
        for chunk in table.chunks(table.columns):
            numbers += chunk.numbers.tolist()
            fields += map(_flat, chunk.table.to_pylist())
    columns = dict[str, list[str]]()
    for row in fields:
        for path, texts in row.items():
            columns.setdefault(path, []).extend(texts)
    column = _label_column(file, columns)
    is_state = {path: STATES.issuperset(map(fold, texts)) for path, texts in columns.items()}
    state = next((path for path, yes in is_state.items() if yes), "")
    about = [
        {
            "number": number,
            "target": _target(f"{file}: data row {number}", row, column, state),
            "drawn": next((texts[0] for path, texts in row.items() if _name(path) == DRAWN), None),
        }
        for number, row in zip(numbers, fields, strict=True)
    ]
    rows = pd.DataFrame(about, columns=["number", "target", "drawn"])
    rows = rows.astype({"target": "Int8", "drawn": object})
    return rows.assign(file=file, sha256=sha256), fields


def _flat(value: object) -> Fields:
    """Return the values below an object by their paths; a list has those of its items."""
    fields: Fields = {}
    for path, text in dict.fromkeys(_leaves(value, "")):
        fields.setdefault(path, []).append(text)
    return fields


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value[:1] in ("[", "{"):  # of JSON, or a list in a cell of a CSV
        for parse in (json.loads, ast.literal_eval):
            try:
                yield from _leaves(parse(value), path)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, path)
    elif value is not None and str(value).strip():
        yield path, str(value)


def _name(path: str) -> str:
    return fold(path.rpartition(".")[2])


def _as_label(text: str) -> int | None:
    return TARGETS.get(re.sub(r"[\s-]+", "_", fold(text)))


def _label_column(file: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Return the path of the labels, "" where no row has one.

    Raises:
        InputError: several columns could hold them, and differ.

    """
    labels = {path: [_as_label(text) for text in texts] for path, texts in columns.items()}
    named = [path for path in labels if _name(path) in (LABEL, f"{LABEL}s")]
    for path in named:
        if set(labels[path]) & {0, 1}:
            return path
    possible = {p: v for p, v in labels.items() if None not in v and not NO_LABELS.search(p)}
    candidates = [path for path, values in possible.items() if len(set(values)) == 2] or [*possible]
    if len({tuple(possible[path]) for path in candidates}) > 1:
        raise InputError(
            f"{file}: the labels may be in any of {', '.join(candidates)}: call their column "
            f"{LABEL}, or leave out the others"
        )
    return next(iter([*candidates, *named]), "")


def _target(where: str, fields: Fields, column: str, state: str) -> int | None:
    """Return a reviewer's label of a row's tweet, None without one."""
    labels = {_as_label(text) for text in fields.get(column, ())}
    states = {fold(text) for text in fields.get(state, ())}
    if not labels or states & SKIPPED:
        return None
    if None in labels or len(labels) > 1:
        raise InputError(
            f"{where}: {column} must be one of 0, 1, {', '.join(LABELS)} "
            f"(got {', '.join(fields[column])[:40]!r})"
        )
    (target,) = labels
    if states & REJECTED:  # the tweet is not what was proposed; of a choice that means nothing
        return 1 - target if target is not None and _name(column) == LABEL else None
    return target
