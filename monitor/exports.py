"""Reads labels from any file in which people have given them: what a labelling tool exports.

No tool is known by name. The label is in the column whose values are labels, however deep.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec

from common.errors import InputError
from locked.labels import LABELS
from reader.format import Format, fold
from reader.open import opened
from reader.table import as_input

LABEL = "label"  # the column that `monitor review` leaves empty
DRAWN = "drawn"
TARGETS = {  # as people write them, and as spreadsheets make of them
    **dict.fromkeys(("0", "0.0", "0,0", "false", "no", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "1,0", "true", "yes", LABELS[1]), 1),
}
KEPT = {"accept", "submitted", "completed", "finished", "validated", "approved"}
SKIPPED = {"ignore", "discarded", "draft", "pending", "skipped", "cancelled", "in_progress"}
REJECTED = {"reject", "rejected"}
STATES = KEPT | SKIPPED | REJECTED  # what a reviewer did with a tweet
NOT_VERDICTS = re.compile("suggest|predict|option|cancel|ground_truth|model|score|drawn", re.I)

Fields = dict[str, tuple[str, ...]]  # by the path of a field: its values, without empty ones


@dataclass(frozen=True)
class Row:
    """A row of a file of labels."""

    file: str
    number: int  # from 1
    sha256: str  # of the file
    fields: Fields
    target: int | None  # None without a label
    drawn: str | None  # how the tweet came into the sample; None where the file has lost that


def read_rows(file: str) -> list[Row]:
    """Return the rows of CSV, JSON, JSON lines or Parquet.

    Raises:
        InputError: the file cannot be read, has a label that is none, or has two for a tweet.

    """
    with as_input(file), fsspec.open(file, "rb") as content:
        sha256 = hashlib.sha256(content.read()).hexdigest()
    rows: dict[int, Fields] = {}
    # `\0`: no column is special, and a list is as good as a string
    with opened(file, Format("\0")) as table:
        for chunk in table.chunks(table.columns):
            rows |= zip(chunk.numbers.tolist(), map(_flat, chunk.table.to_pylist()), strict=True)
    column = _label_column(file, list(rows.values()))
    state = next((path for path in _paths(rows) if _is_state(path, rows)), "")
    return [
        Row(
            file,
            number,
            sha256,
            fields,
            _target(file, number, fields, column, state),
            _drawn(fields),
        )
        for number, fields in rows.items()
    ]


def _flat(value: object) -> Fields:
    """Return the values below an object by their paths; a list has those of its items."""
    fields: Fields = {}
    for path, text in _leaves(value, ""):
        if text not in fields.get(path, ()):
            fields[path] = (*fields.get(path, ()), text)
    return fields


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value[:1] in ("[", "{"):  # a list in a cell of a CSV
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


def _paths(rows: dict[int, Fields]) -> list[str]:
    return list(dict.fromkeys(path for fields in rows.values() for path in fields))


def _name(path: str) -> str:
    return fold(path.rpartition(".")[2])


def _as_label(text: str) -> int | None:
    return TARGETS.get(re.sub(r"[\s-]+", "_", fold(text)))


def _label_column(file: str, rows: list[Fields]) -> str:
    """Return the path of the labels, "" where no row has one.

    Raises:
        InputError: several columns could hold them, and differ.

    """
    columns: dict[str, list[int | None]] = {}
    for fields in rows:
        for path, texts in fields.items():
            columns.setdefault(path, []).extend(map(_as_label, texts))
    for path, labels in columns.items():
        if _name(path) in (LABEL, f"{LABEL}s") and any(label is not None for label in labels):
            return path
    possible = {p: v for p, v in columns.items() if None not in v and not NOT_VERDICTS.search(p)}
    two_sided = [path for path, labels in possible.items() if len(set(labels)) == 2]
    candidates = two_sided or [*possible]
    if len({tuple(possible[path]) for path in candidates}) > 1:
        raise InputError(
            f"{file}: the labels may be in any of {', '.join(candidates)}: call their column "
            f"{LABEL}, or leave out the others"
        )
    if not candidates and (wrong := [path for path in columns if _name(path) == LABEL]):
        return wrong[0]
    return candidates[0] if candidates else ""


def _is_state(path: str, rows: dict[int, Fields]) -> bool:
    return all(fold(text) in STATES for fields in rows.values() for text in fields.get(path, ()))


def _target(file: str, number: int, fields: Fields, column: str, state: str) -> int | None:
    """Return what a reviewer says of a row's tweet, None for nothing."""
    labels = {_as_label(text) for text in fields.get(column, ())}
    states = {fold(text) for text in fields.get(state, ())}
    if not labels or states & SKIPPED:
        return None
    if None in labels or len(labels) > 1:
        raise InputError(
            f"{file}: data row {number}: {column} must be one of 0, 1, {', '.join(LABELS)} "
            f"(got {', '.join(fields[column])[:40]!r})"
        )
    (target,) = labels
    if states & REJECTED:  # the tweet is not what was proposed; of a choice that means nothing
        return 1 - target if target is not None and _name(column) == LABEL else None
    return target


def _drawn(fields: Fields) -> str | None:
    return next((texts[0] for path, texts in fields.items() if _name(path) == DRAWN), None)
