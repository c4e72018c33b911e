"""Finds the logged tweets that labels of a reviewed sample are about."""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import fsspec
import numpy as np

from common.errors import InputError
from monitor.exports import Fields, read_export
from monitor.log import Log, Rows
from monitor.quality import Labels
from reader.files import find
from reader.table import as_input


@dataclass(frozen=True)
class Reviewed(Labels):
    """Labels of a log's distinct tweets."""

    total: int  # labels, matched or not
    unknown: int  # labels that match no prediction in the period


def read_reviewed(files: list[str], log: Log, fitted_sha256: str | None = None) -> Reviewed:
    """Return the labels of files.

    A label is about the prediction whose id is in any column of its row, or else about one with its
    text. A file without a label for this log, and that with the hash `fitted_sha256`, is left out.

    Raises:
        InputError: a file cannot be read or has no label; two labels of a tweet differ.

    """
    targets, places, total, unknown = dict[int, int](), dict[int, str](), 0, 0
    for file in find(files) if files else ():
        if fitted_sha256 and _hash(file) == fitted_sha256:
            continue
        labels = read_export(file)
        if not labels:
            raise InputError(f"{file}: no row has a label: write 0 or 1 in `label`")
        rows = _find_predictions([label.fields for label in labels], log)
        if rows.max() < 0:
            print(
                f"warning: {file}: left out, because none of its {len(labels)} labels matches an "
                "answer in this period, by id or by text. Name the log and the days (--since, "
                "--until) of the sample. Spreadsheets round long ids: keep the column `text` too",
                file=sys.stderr,
            )
            continue
        total, unknown = total + len(labels), unknown + int((rows < 0).sum())
        for label, row in zip(labels, rows, strict=True):
            if row < 0:
                continue
            tweet, place = int(log.positions[row]), f"{file} row {label.number}"
            first_place = places.setdefault(tweet, place)
            if targets.setdefault(tweet, label.target) != label.target:
                raise InputError(
                    f"two labels of one tweet differ: {first_place} and {place}. Keep one of them"
                )
    tweets = np.array([*targets], dtype=np.intp)
    return Reviewed(tweets, np.array([*targets.values()], dtype=np.int8), total, unknown)


def _hash(file: str) -> str:
    with as_input(file), fsspec.open(file, "rb") as content:
        return hashlib.sha256(content.read()).hexdigest()


def _find_predictions(rows: list[Fields], log: Log) -> Rows:
    """Return the prediction that each row of a file is about, -1 for none."""
    texts = sorted({text for fields in rows for column in fields.values() for text in column})
    by_id = _match_by_column(rows, dict(zip(texts, log.find_ids(texts), strict=True)))
    by_text = _match_by_column(rows, dict(zip(texts, log.find_texts(texts), strict=True)))
    return np.where(by_id >= 0, by_id, by_text)


def _match_by_column(rows: Sequence[Fields], row_of: Mapping[str, int]) -> Rows:
    """Return each row's match in the column that has most matches, or -1."""
    matches = [
        {
            path: row_of[text]
            for path, texts in fields.items()
            for text in texts
            if row_of[text] >= 0
        }
        for fields in rows
    ]
    ((best, _),) = Counter(path for paths in matches for path in paths).most_common(1) or [("", 0)]
    return np.array([paths.get(best, -1) for paths in matches], dtype=np.intp)
