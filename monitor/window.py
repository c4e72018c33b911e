"""The predictions of some days, as typed arrays: ten million of them fit in memory.

What stays of a prediction is numbers, and no text or id; of the texts, a bounded sample.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from locked.features import FEATURES
from locked.manifest import LABELS
from monitor.logs import Lines, scan
from reader.io import InputError

TEXTS = 20_000  # kept of a log, at most, to count words
DAYS = 7  # of the log's last, where nothing else is asked for
DAY = np.timedelta64(1, "D")

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Log:
    """Predictions as arrays of equal length; `texts` are a sample of theirs."""

    ids: Hashes  # of the id
    times: npt.NDArray[np.datetime64]  # milliseconds, UTC
    models: npt.NDArray[np.int16]  # an index into `versions`
    probabilities: npt.NDArray[np.float32]
    disaster: npt.NDArray[np.bool_]  # what was answered
    features: npt.NDArray[np.float32]  # (n, features); NaN where a line has none
    rates: npt.NDArray[np.float32]  # the share of the tweets that is logged
    tweets: Hashes  # of the text; 0 where the log does not say
    versions: list[str]
    texts: pd.Series  # by the row of the arrays

    def __len__(self) -> int:
        """Count the predictions."""
        return len(self.ids)

    def select(self, chosen: npt.NDArray[np.bool_]) -> "Log":
        """Return the rows of a mask."""
        places = np.cumsum(chosen) - 1
        rows = self.texts.index.to_numpy(dtype=np.intp)
        kept = self.texts[chosen[rows]]
        return replace(
            self,
            **{name: getattr(self, name)[chosen] for name in COLUMNS},
            texts=kept.set_axis(places[kept.index.to_numpy(dtype=np.intp)]),
        )

    def of(self, version: str) -> "Log":
        """Return what one model answered."""
        return self.select(self.models == self.versions.index(version))

    def days(self, since: date | None, until: date | None) -> "Log":
        """Return the predictions of some days in UTC, both included: of the last DAYS by default.

        Raises:
            InputError: there is none.

        """
        first, last = (self.times.min(), self.times.max())
        end = np.datetime64(until or last, "D") + DAY
        start = np.datetime64(since, "D") if since else end - DAYS * DAY
        if start >= end:
            raise InputError(f"--since {since} is later than --until {until or last}")
        chosen = (self.times >= start) & (self.times < end)
        if not chosen.any():
            raise InputError(
                f"no prediction from {start} to {end - DAY}: the log has them from "
                f"{np.datetime64(first, 'D')} to {np.datetime64(last, 'D')}"
            )
        return self.select(chosen)

    def rows(self, ids: Collection[str]) -> Rows:
        """Return the row of each id, (ids,); -1 where no prediction has it, or more than one."""
        wanted = hashes(pyarrow.chunked_array([pyarrow.array(ids, pyarrow.string())]))
        order = np.argsort(self.ids)
        ranked = self.ids[order]
        left, right = (np.searchsorted(ranked, wanted, side) for side in ("left", "right"))
        return np.where(right - left == 1, order[np.minimum(left, len(order) - 1)], -1)

    def distinct(self) -> "Log":
        """Return each tweet once, as it first came: a reference holds no tweet twice either."""
        known = np.flatnonzero(self.tweets)
        _, first = np.unique(self.tweets[known], return_index=True)
        chosen = self.tweets == 0
        chosen[known[first]] = True
        return self.select(chosen)


COLUMNS = ("ids", "times", "models", "probabilities", "disaster", "features", "rates", "tweets")


def read(places: list[str]) -> tuple[Log, Lines]:
    """Read all predictions of logs.

    Raises:
        InputError: there is none, or a file cannot be read.

    """
    lines = Lines()
    parts: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    versions: dict[str, int] = {}
    texts = pd.DataFrame({"rank": [], "text": []})
    rows = 0
    for table in scan(places, lines):
        for name, values in _arrays(table, versions).items():
            parts[name].append(values)
        texts = _sampled(texts, table["text"], parts["ids"][-1], rows)
        rows += len(table)
    if not rows:
        raise InputError(f"{', '.join(places)}: no prediction among {lines.read} lines")
    joined = {name: np.concatenate(_taken(parts[name])) for name in COLUMNS}
    return Log(**joined, versions=list(versions), texts=texts["text"].sort_index()), lines


def find(places: list[str], ids: Hashes) -> pd.DataFrame:
    """Read the ids and texts (None where not logged) of predictions: rows in the order of `ids`.

    Raises:
        InputError: a file cannot be read.

    """
    found = []
    for table in scan(places, Lines()):
        here = hashes(table["id"])
        chosen = np.flatnonzero(np.isin(here, ids))
        rows = table.select(["id", "text", "time", "model", "probability"]).take(chosen)
        found.append(rows.to_pandas().set_axis(here[chosen]))
    all_rows = pd.concat(found)
    once: pd.DataFrame = all_rows[~all_rows.index.duplicated()].loc[ids]
    return once


def hashes(values: pyarrow.ChunkedArray) -> Hashes:
    """Hash strings, (n,): equal ones alike, and null to 0."""
    given = np.asarray(pc.fill_null(values, ""), dtype=object)
    found: Hashes = pd.util.hash_array(given, categorize=False)
    found[values.is_null().to_numpy()] = 0
    return found


def _taken(parts: list[Any]) -> list[Any]:
    """Empty a list, so that the parts do not outlive what is made of them."""
    return [parts.pop(0) for _ in range(len(parts))]


def _arrays(table: pyarrow.Table, versions: dict[str, int]) -> dict[str, npt.NDArray[Any]]:
    """Reduce a block to numbers; `versions` grows by the models that are new."""
    models = table["model"].combine_chunks().dictionary_encode()
    codes = [versions.setdefault(name, len(versions)) for name in models.dictionary.to_pylist()]
    structs = table["features"].combine_chunks()
    features = [pc.struct_field(structs, name).to_numpy(zero_copy_only=False) for name in FEATURES]
    rates = pc.fill_null(table["rate"], 1.0).to_numpy()
    return {
        "ids": hashes(table["id"]),
        "times": table["time"].to_numpy().astype("datetime64[ms]"),
        "models": np.array(codes, dtype=np.int16)[models.indices.to_numpy()],
        "probabilities": table["probability"].to_numpy().astype(np.float32),
        "disaster": pc.equal(table["label"], LABELS[1]).to_numpy(),
        "features": np.column_stack(features).astype(np.float32),
        "rates": np.where((rates > 0) & (rates <= 1), rates, 1).astype(np.float32),
        "tweets": hashes(table["hash"]),
    }


def _sampled(known: pd.DataFrame, texts: Any, ids: Hashes, first: int) -> pd.DataFrame:  # noqa: ANN401
    """Add a block's texts to a sample: those whose ids have the lowest hashes, at most TEXTS."""
    rows = np.flatnonzero(texts.is_valid().to_numpy())
    if len(known) == TEXTS:
        rows = rows[ids[rows] < known["rank"].max()]
    here = pd.DataFrame(
        {"rank": ids[rows], "text": texts.take(rows).to_pylist()}, index=rows + first
    )
    both = pd.concat([known, here]) if len(known) else here
    return both.nsmallest(TEXTS, "rank") if len(both) > TEXTS else both
