"""The predictions of some days, as typed arrays: ten million of them fit in memory.

What stays of a prediction is numbers, and no text or id; of the texts, a bounded sample.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc

from common.errors import InputError
from locked.features import FEATURES
from locked.labels import LABELS
from monitor.logs import Lines, scan

TEXTS = 3000  # kept of a day and model, at most, to count words
DAYS = 7  # of the log's last, where nothing else is asked for
DAY = np.timedelta64(1, "D")

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]
Time = np.datetime64


@dataclass(frozen=True)
class Arrays:
    """Predictions of one model, as arrays of equal length."""

    ids: Hashes  # of the id
    times: npt.NDArray[np.datetime64]  # milliseconds, UTC
    probabilities: npt.NDArray[np.float32]
    disaster: npt.NDArray[np.bool_]  # what was answered
    features: npt.NDArray[np.float32]  # (n, features); NaN where a line has none
    rates: npt.NDArray[np.float32]  # the share of the tweets that is logged
    tweets: Hashes  # of the text; 0 where the log does not say
    took: npt.NDArray[np.float32]  # milliseconds until it was answered; NaN where it does not say

    def __len__(self) -> int:
        """Count the predictions."""
        return len(self.ids)


@dataclass(frozen=True)
class Log(Arrays):
    """The predictions of some days, and a sample of their texts."""

    texts: list[str]

    def rows(self, ids: Collection[str]) -> Rows:
        """Return the row of each id, (ids,); -1 where no prediction has it, or more than one."""
        wanted = hashes(pyarrow.chunked_array([pyarrow.array(ids, pyarrow.string())]))
        if not len(wanted):
            return np.empty(0, dtype=np.intp)
        known, places = np.unique(wanted, return_inverse=True)
        near = np.minimum(np.searchsorted(known, self.ids), len(known) - 1)
        hits = np.flatnonzero(known[near] == self.ids)
        found = np.full(len(known), -1)
        found[near[hits]] = hits
        found[np.bincount(near[hits], minlength=len(known)) > 1] = -1
        return np.asarray(found[places])

    def once(self) -> Rows:
        """Return a row of each tweet, as it first came: a reference holds none twice either."""
        known = np.flatnonzero(self.tweets)
        _, first = np.unique(self.tweets[known], return_index=True)
        return np.sort(np.concatenate([known[first], np.flatnonzero(self.tweets == 0)]))


def read(
    places: list[str], since: date | None = None, until: date | None = None
) -> tuple[dict[str, Log], Lines]:
    """Read the predictions of some days in UTC, both included: by default the log's last DAYS.

    A line that is there twice, as after a second delivery, counts once.

    Returns:
        the log of each model version.

    Raises:
        InputError: there is no prediction, or a file cannot be read.

    """
    if since and until and since > until:
        raise InputError(f"--since {since} is later than --until {until}")
    lines = Lines()
    parts: dict[str, list[Arrays]] = {}
    texts = pd.DataFrame({"model": [], "day": np.array([], "M8[ms]"), "rank": [], "text": []})
    times: list[Time] = []
    for table in filter(len, scan(places, lines)):
        known = table["time"].to_numpy().astype("datetime64[ms]")
        times = [min([known.min(), *times]), max([known.max(), *times])]
        start, end = _bounds(since, until, times[1])
        table = table.filter(pyarrow.array((known >= start) & (known < end)))
        for version in table["model"].unique().to_pylist():
            ours = table.filter(pc.equal(table["model"], version))
            kept = [one for one in parts.get(version, []) if one.times.max() >= start]
            parts[version] = [*kept, _arrays(ours)]
        texts = _sampled(texts[texts["day"] >= start], table)
    if not times:
        broken = f", {lines.broken} of them broken ({lines.named[0]})" if lines.broken else ""
        raise InputError(f"{', '.join(places)}: no prediction among {lines.read} lines{broken}")
    start, _ = _bounds(since, until, times[1])
    pyarrow.default_memory_pool().release_unused()
    found = {
        version: Log(
            **_distinct(_joined(own, start), lines),
            texts=texts["text"][texts["model"] == version].tolist(),
        )
        for version, own in parts.items()
    }
    found = {version: log for version, log in found.items() if len(log)}
    if not found:
        raise InputError(
            f"no prediction of these days: the log has them from {times[0].astype('M8[D]')} to "
            f"{times[1].astype('M8[D]')}"
        )
    return found, lines


def find(places: list[str], ids: Hashes) -> pd.DataFrame:
    """Read predictions again, with id and text (None where not logged), in the order of `ids`.

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


def _bounds(since: date | None, until: date | None, newest: Time) -> tuple[Time, Time]:
    """Return the first moment of the days asked for, and the first after them."""
    end = (np.datetime64(until, "D") if until else newest.astype("M8[D]")) + DAY
    start = np.datetime64(since, "D") if since else end - DAYS * DAY
    return start.astype("M8[ms]"), end.astype("M8[ms]")


def _joined(parts: list[Arrays], start: Time) -> dict[str, npt.NDArray[Any]]:
    """Join parts from `start` on, a column at a time, so that no column is there twice for long."""
    masks = [part.times >= start for part in parts]
    size = sum(int(mask.sum()) for mask in masks)
    joined = {}
    for column in fields(Arrays):
        arrays = [vars(part).pop(column.name) for part in parts]
        joined[column.name] = np.empty((size, *arrays[0].shape[1:]), arrays[0].dtype)
        done = 0
        for mask in masks:
            chosen = arrays.pop(0)[mask]
            joined[column.name][done : done + len(chosen)] = chosen
            done += len(chosen)
    return joined


def _distinct(columns: dict[str, npt.NDArray[Any]], lines: Lines) -> dict[str, npt.NDArray[Any]]:
    """Leave out, and count, what is there twice: the same id, time and probability."""
    ids = np.sort(columns["ids"])
    if not (ids[1:] == ids[:-1]).any():
        return columns
    keys = {name: columns[name] for name in ("ids", "times", "probabilities")}
    double = pd.DataFrame(keys).duplicated().to_numpy()
    lines.double += int(double.sum())
    return {name: values[~double] for name, values in columns.items()}


def _arrays(table: pyarrow.Table) -> Arrays:
    structs = table["features"].combine_chunks()
    features = [pc.struct_field(structs, name).to_numpy(zero_copy_only=False) for name in FEATURES]
    rates = pc.fill_null(table["rate"], 1.0).to_numpy()
    return Arrays(
        ids=hashes(table["id"]),
        times=table["time"].to_numpy().astype("datetime64[ms]"),
        probabilities=table["probability"].to_numpy().astype(np.float32),
        disaster=pc.equal(table["label"], LABELS[1]).to_numpy(),
        features=np.column_stack(features).astype(np.float32),
        rates=np.where((rates > 0) & (rates <= 1), rates, 1).astype(np.float32),
        tweets=hashes(table["hash"]),
        took=table["ms"].to_numpy().astype(np.float32),
    )


def _sampled(known: pd.DataFrame, table: pyarrow.Table) -> pd.DataFrame:
    """Add a block's texts to a sample: of each day and model those whose ids have low hashes."""
    table = table.filter(table["text"].is_valid())
    here = pd.DataFrame(
        {
            "model": table["model"].to_pandas(),
            "day": table["time"].to_numpy().astype("datetime64[D]").astype("datetime64[ms]"),
            "rank": hashes(table["id"]),
            "text": table["text"].to_pandas(),
        }
    )
    both = pd.concat([known, here], ignore_index=True) if len(known) else here
    return both[both.groupby(["model", "day"])["rank"].rank(method="first") <= TEXTS]
