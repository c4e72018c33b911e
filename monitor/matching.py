"""Finds the predictions that the rows of a label file are of, by id or else by text."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from monitor.exports import Row
from monitor.window import Log, Rows
from reader.canonical import canonical

LONG = 8  # characters of an id that no counter of a tool equals by chance


def rows_of(rows: list[Row], log: Log) -> Rows:
    """Return the prediction that each row of a file is of: (rows,), -1 for none."""
    texts = sorted({text for row in rows for column in row.fields.values() for text in column})
    by_id, ids = _by_best_column(rows, dict(zip(texts, log.rows(texts), strict=True)))
    if (by_id >= 0).all() and min(map(len, ids)) >= LONG:
        return by_id
    by_text, _ = _by_best_column(rows, _by_text(texts, log))
    same = by_id == by_text
    if len(both := np.flatnonzero((by_id >= 0) & (by_text >= 0))):
        read = [
            _canonical(log.all_texts.take(pyarrow.array(some[both]))) for some in (by_id, by_text)
        ]
        same[both] = pc.equal(*read).to_numpy(zero_copy_only=False)
    return np.where((by_id >= 0) & (same | (by_text < 0)), by_id, by_text)


def _by_best_column(rows: Sequence[Row], row_of: Mapping[str, int]) -> tuple[Rows, list[str]]:
    """Look rows up by the values of the column that has most matches; return these values too."""
    matches = [
        {
            path: hit
            for path, texts in row.fields.items()
            for hit in texts
            if row_of.get(hit, -1) >= 0
        }
        for row in rows
    ]
    ((best, _),) = Counter(path for paths in matches for path in paths).most_common(1) or [("", 0)]
    hits = [paths.get(best, "") for paths in matches]
    return np.array([row_of.get(hit, -1) for hit in hits], dtype=np.intp), hits


def _by_text(texts: list[str], log: Log) -> dict[str, int]:
    """Return the prediction of each text, if all of the same text were answered alike."""
    logged = np.flatnonzero(log.all_texts.is_valid())
    wanted = _canonical(pyarrow.array(texts, pyarrow.string()))
    at = pc.index_in(
        _canonical(log.all_texts.take(pyarrow.array(logged))), value_set=pc.unique(wanted)
    )
    hits = logged[at.is_valid().to_numpy(zero_copy_only=False)]
    table = pd.DataFrame({"at": at.drop_null(), "row": hits, "disaster": log.disaster[hits]})
    tweets = table.groupby("at").agg(row=("row", "min"), answers=("disaster", "nunique"))
    row_of = dict(tweets.loc[tweets["answers"] == 1, "row"])
    places = pc.index_in(wanted, value_set=pc.unique(wanted)).to_pylist()
    return {text: row_of.get(place, -1) for text, place in zip(texts, places, strict=True)}


def _canonical(texts: pyarrow.Array | pyarrow.ChunkedArray) -> pyarrow.Array:
    """Return what each text reads as."""
    chunked = isinstance(texts, pyarrow.ChunkedArray)
    return canonical(texts.combine_chunks() if chunked else texts)
