"""Reads labels from the export of any labelling tool, without knowing the tool.

The column of labels, which may be nested, is the one whose values are labels.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from common.errors import InputError
from locked.labels import LABELS
from reader.format import Format, fold
from reader.open import opened

LABEL = "label"  # the column that `monitor review` leaves empty
TARGETS = {  # by the texts that people and spreadsheets write
    **dict.fromkeys(("0", "0.0", "false", "no", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "true", "yes", LABELS[1]), 1),
}
STATES = ("answer", "status")  # columns with the state of a tweet's review
SKIPPED = {"ignore", "discarded", "draft", "pending", "skipped", "cancelled", "in_progress"}
REJECTED = {"reject", "rejected"}
# Names of columns with other labels than the reviewer's.
NO_LABELS = re.compile("suggest|predict|option|cancel|ground_truth|model|score|drawn", re.I)

Fields = dict[str, list[str]]  # the values of each field by its path, without empty ones


@dataclass(frozen=True)
class Label:
    """A row of an export that has a label."""

    number: int  # of the row
    target: int
    fields: Fields


def read_export(file: str) -> list[Label]:
    """Return the labels of an export.

    Raises:
        InputError: the file cannot be read, a label is invalid, or a tweet has two labels.

    """
    rows = dict[int, Fields]()
    # `\0` is no column's name, so the text column may be missing or have any type
    with opened(file, Format("\0")) as table:
        for chunk in table.chunks(table.columns):
            rows |= zip(chunk.numbers.tolist(), map(_flatten, chunk.table.to_pylist()), strict=True)
    columns = dict[str, list[str]]()
    for fields in rows.values():
        for path, texts in fields.items():
            columns.setdefault(path, []).extend(texts)
    column = _label_column(file, columns)
    targets = {
        number: _target(f"{file}: data row {number}", fields, column)
        for number, fields in rows.items()
    }
    return [
        Label(number, target, rows[number])
        for number, target in targets.items()
        if target is not None
    ]


def _flatten(value: object) -> Fields:
    """Return the values in an object by their paths; items of a list have the list's path."""
    fields: Fields = {}
    for path, text in dict.fromkeys(_leaves(value, "")):
        fields.setdefault(path, []).append(text)
    return fields


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value[:1] in ("[", "{"):  # JSON in a cell
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
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
    for path in labels:
        if _name(path) in (LABEL, f"{LABEL}s") and {0, 1} & set(labels[path]):
            return path
    candidates = {p: v for p, v in labels.items() if None not in v and not NO_LABELS.search(p)}
    paths = [path for path, values in candidates.items() if len(set(values)) == 2] or [*candidates]
    if len({tuple(candidates[path]) for path in paths}) > 1:
        raise InputError(
            f"{file}: the labels may be in any of {', '.join(paths)}. Name their column "
            f"{LABEL}, or remove the other columns"
        )
    return paths[0] if paths else ""


def _target(where: str, fields: Fields, column: str) -> int | None:
    """Return the reviewer's label of a row, None if it has no label."""
    labels = {_as_label(text) for text in fields.get(column, ())}
    states = {fold(text) for path in fields if _name(path) in STATES for text in fields[path]}
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
