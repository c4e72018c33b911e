"""Reads labels from the export of any labelling tool, without knowing the tool.

The column of labels, which may be nested, is the one whose values are labels.
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
TARGETS = {  # by the texts that people and spreadsheets write
    **dict.fromkeys(("0", "0.0", "0,0", "false", "no", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "1,0", "true", "yes", LABELS[1]), 1),
}
SKIPPED = {"ignore", "discarded", "draft", "pending", "skipped", "cancelled", "in_progress"}
REJECTED = {"reject", "rejected"}
STATES = SKIPPED | REJECTED  # of a tweet's review
STATES |= {"accept", "submitted", "completed", "finished", "validated", "approved"}
# Names of columns with other labels than the reviewer's.
NO_LABELS = re.compile("suggest|predict|option|cancel|ground_truth|model|score|drawn", re.I)

Fields = dict[str, list[str]]  # the values of each field by its path, without empty ones


def read_export(file: str) -> tuple[pd.DataFrame, list[Fields]]:
    """Return the rows of an export: number, target, drawn, file, sha256; and their fields.

    Raises:
        InputError: the file cannot be read, a label is invalid, or a tweet has two labels.

    """
    with as_input(file), fsspec.open(file, "rb") as content:
        sha256 = hashlib.sha256(content.read()).hexdigest()
    numbers, fields = list[int](), list[Fields]()
    # `\0` is no column's name, so the text column may be missing or have any type
    with opened(file, Format("\0")) as table:
        for chunk in table.chunks(table.columns):
            numbers += chunk.numbers.tolist()
            fields += map(_flatten, chunk.table.to_pylist())
    columns = dict[str, list[str]]()
    for row in fields:
        for path, texts in row.items():
            columns.setdefault(path, []).extend(texts)
    column = _label_column(file, columns)
    is_state = {path: STATES.issuperset(map(fold, texts)) for path, texts in columns.items()}
    state = next((path for path, yes in is_state.items() if yes), "")
    records = [
        {
            "number": number,
            "target": _target(f"{file}: data row {number}", row, column, state),
            "drawn": next((texts[0] for path, texts in row.items() if _name(path) == DRAWN), None),
        }
        for number, row in zip(numbers, fields, strict=True)
    ]
    rows = pd.DataFrame(records, columns=["number", "target", "drawn"])
    rows = rows.astype({"target": "Int8", "drawn": object})
    return rows.assign(file=file, sha256=sha256), fields


def _flatten(value: object) -> Fields:
    """Return the values in an object by their paths; items of a list have the list's path."""
    fields: Fields = {}
    for path, text in dict.fromkeys(_leaves(value, "")):
        fields.setdefault(path, []).append(text)
    return fields


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value[:1] in ("[", "{"):  # JSON, or a Python list in a cell
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
    """Return the path of the column of labels, "" if no row has a label.

    Raises:
        InputError: several columns could hold the labels, and differ.

    """
    labels = {path: [_as_label(text) for text in texts] for path, texts in columns.items()}
    named_paths = [path for path in labels if _name(path) in (LABEL, f"{LABEL}s")]
    for path in named_paths:
        if set(labels[path]) & {0, 1}:
            return path
    candidates = {p: v for p, v in labels.items() if None not in v and not NO_LABELS.search(p)}
    paths = [path for path, values in candidates.items() if len(set(values)) == 2] or [*candidates]
    if len({tuple(candidates[path]) for path in paths}) > 1:
        raise InputError(
            f"{file}: the labels may be in any of {', '.join(paths)}. Name their column "
            f"{LABEL}, or remove the other columns"
        )
    return next(iter([*paths, *named_paths]), "")


def _target(where: str, fields: Fields, column: str, state: str) -> int | None:
    """Return the reviewer's label of a row, None if it has no label."""
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
    if states & REJECTED:  # a proposed label is wrong; a rejected choice is no label
        return 1 - target if target is not None and _name(column) == LABEL else None
    return target
