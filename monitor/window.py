"""The predictions of some days, a log for each model version: columns in memory."""

from collections.abc import Collection
from dataclasses import dataclass, field
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
from monitor.drift import some
from monitor.logs import Lines, scan

TEXTS = 20_000  # in which words are counted, at most
DAYS = 7  # the log's last ones, unless others are asked for
DAY = np.timedelta64(1, "D")

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.intp]
Time = np.datetime64


@dataclass(frozen=True)
class Log:
    """The predictions of one model version in some days: columns of equal length."""

    model: str
    ids: pyarrow.Array  # each is another
    all_texts: pyarrow.ChunkedArray  # null where the log does not have the text
    times: npt.NDArray[np.datetime64]  # milliseconds, UTC
    probabilities: npt.NDArray[np.float32]
    disaster: npt.NDArray[np.bool_]  # what was answered
    features: npt.NDArray[np.float32]  # (n, features); NaN where a line has none
    rates: npt.NDArray[np.float32]  # the share of the tweets that is logged
    tweets: Hashes  # of the text; 0 where the log has none
    took: npt.NDArray[np.float32]  # milliseconds until the answer; NaN where the log has none
    texts: list[str] = field(init=False)  # a sample

    def __post_init__(self) -> None:
        """Draw the sample of texts."""
        rows = some(np.flatnonzero(self.all_texts.is_valid()), TEXTS)
        object.__setattr__(self, "texts", self.all_texts.take(pyarrow.array(rows)).to_pylist())

    def __len__(self) -> int:
        """Count the predictions."""
        return len(self.ids)

    def rows(self, ids: Collection[str]) -> Rows:
        """Return the row of each id, (ids,); -1 where no prediction has it."""
        wanted = list(dict.fromkeys(ids))
        matches = pc.index_in(self.ids, value_set=pyarrow.array(wanted, pyarrow.string()))
        hits = np.flatnonzero(matches.is_valid())
        row_of = {wanted[matches[row].as_py()]: row for row in hits}
        return np.array([row_of.get(name, -1) for name in ids], dtype=np.intp)

    def lines(self, rows: Rows) -> pd.DataFrame:
        """Return predictions as a table: id, text (None where not logged), time, …."""
        chosen = pyarrow.array(rows)
        return pd.DataFrame(
            {
                "id": self.ids.take(chosen).to_pylist(),
                "text": self.all_texts.take(chosen).to_pylist(),
                "time": pd.to_datetime(self.times[rows], utc=True),
                "model": self.model,
                "probability": self.probabilities[rows].astype(np.float64),
            },
            index=rows,
        )

    def once(self) -> Rows:
        """Return the first row of each tweet: a reference holds none twice either."""
        hashed = np.flatnonzero(self.tweets)
        _, first = np.unique(self.tweets[hashed], return_index=True)
        return np.sort(np.concatenate([hashed[first], np.flatnonzero(self.tweets == 0)]))


def read(
    places: list[str], since: date | None = None, until: date | None = None
) -> tuple[dict[str, Log], Lines]:
    """Read the predictions of some days in UTC, both included: by default the log's last DAYS.

    A line that was delivered twice counts once.

    Returns:
        the log of each model version.

    Raises:
        InputError: there is no prediction, most are broken, or a file cannot be read.

    """
    if since and until and since > until:
        raise InputError(f"--since {since} is later than --until {until}")
    lines = Lines()
    parts: dict[str, list[pyarrow.Table]] = {}
    times: list[Time] = []
    for table in filter(len, scan(places, lines)):
        columns = _columns(table)
        moments = columns["times"].to_numpy()
        times = [min([moments.min(), *times]), max([moments.max(), *times])]
        start, end = _bounds(since, until, times[1])
        inside = (moments >= start) & (moments < end)
        for version in table["model"].unique().to_pylist():
            ours = pc.and_(pc.equal(table["model"], version), pyarrow.array(inside))
            recent = [part for part in parts.get(version, []) if _last(part) >= start]
            parts[version] = [*recent, *filter(len, [columns.filter(ours)])]
    lines.check(places, "prediction")
    start, _ = _bounds(since, until, times[1])
    logs = {}
    for version, some_parts in parts.items():
        if not (some_parts := [part for part in some_parts if _last(part) >= start]):
            continue
        table = pyarrow.concat_tables(some_parts)
        table = table.filter(pyarrow.array(table["times"].to_numpy() >= start))
        logs[version] = _log(version, table, lines)
    if not logs:
        raise InputError(
            f"no prediction of these days: the log has them from {times[0].astype('M8[D]')} to "
            f"{times[1].astype('M8[D]')}"
        )
    return logs, lines


def hashes(values: pyarrow.ChunkedArray) -> Hashes:
    """Hash strings, (n,): equal ones alike, and null to 0."""
    strings = np.asarray(pc.fill_null(values, ""), dtype=object)
    hashed: Hashes = pd.util.hash_array(strings, categorize=False)
    hashed[values.is_null().to_numpy()] = 0
    return hashed


def _bounds(since: date | None, until: date | None, newest: Time) -> tuple[Time, Time]:
    """Return the first moment of the days asked for, and the first after them."""
    end = (np.datetime64(until, "D") if until else newest.astype("M8[D]")) + DAY
    start = np.datetime64(since, "D") if since else end - DAYS * DAY
    return start.astype("M8[ms]"), end.astype("M8[ms]")


def _last(part: pyarrow.Table) -> Time:
    return np.datetime64(part["times"].to_numpy().max())


def _columns(table: pyarrow.Table) -> pyarrow.Table:
    """Return a block of lines as columns that take little memory."""
    rates = pc.fill_null(table["rate"], 1.0).to_numpy()
    structs = table["features"].combine_chunks()
    return pyarrow.table(
        {
            "ids": table["id"],
            "all_texts": table["text"],
            "times": table["time"].to_numpy().astype("datetime64[ms]"),
            "probabilities": table["probability"].cast(pyarrow.float32()),
            "disaster": pc.equal(table["label"], LABELS[1]),
            "rates": np.where((rates > 0) & (rates <= 1), rates, 1).astype(np.float32),
            "tweets": hashes(table["hash"]),
            "took": table["ms"].cast(pyarrow.float32()),
            "hashed_ids": hashes(table["id"]),
        }
        | {name: pc.struct_field(structs, name).cast(pyarrow.float32()) for name in FEATURES}
    )


def _log(version: str, table: pyarrow.Table, lines: Lines) -> Log:
    """Join a version's predictions; leave out and count what was delivered twice."""
    keys = ["hashed_ids", "times", "probabilities"]
    if len(np.unique(table["hashed_ids"])) < len(table):
        double = table.select(keys).to_pandas().duplicated().to_numpy()
        lines.double += int(double.sum())
        table = table.filter(pyarrow.array(~double))
    columns: dict[str, Any] = {
        name: table[name].to_numpy()
        for name in ("times", "probabilities", "disaster", "rates", "tweets", "took")
    }
    features = [table[name].to_numpy() for name in FEATURES]
    return Log(
        version,
        _distinct(table["ids"].combine_chunks(), table.select(keys).to_pandas()),
        table["all_texts"],
        features=np.column_stack(features),
        **columns,
    )


def _distinct(ids: pyarrow.Array, keys: pd.DataFrame) -> pyarrow.Array:
    """Return an id of its own for each prediction, where a client sent one id many times."""
    repeated = keys["hashed_ids"].duplicated(keep=False).to_numpy()
    if not repeated.any():
        return ids
    marks = pd.util.hash_pandas_object(keys[repeated], index=False)
    names = ids.filter(pyarrow.array(repeated)).to_pylist()
    own = [f"{name}~{mark:016x}" for name, mark in zip(names, marks, strict=True)]
    return pc.replace_with_mask(ids, pyarrow.array(repeated), pyarrow.array(own))
