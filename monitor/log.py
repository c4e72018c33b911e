"""The predictions of one model version in a period, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.features import FEATURES
from locked.labels import LABELS
from monitor.records import Lines, Prediction, read_records
from reader.canonical import canonical_texts

DAYS = 7  # of the default period, the log's last days
DAY = pd.Timedelta(days=1)
KEY = ["id", "time", "probability"]  # equal in a line that was delivered twice

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Log:
    """The predictions of one model version in a period.

    The table has a row for each: id (unique), text (missing where it is not logged), time (UTC),
    probability, disaster (the label answered), rate (the share of the tweets that is logged), tweet
    (a hash of its words, 0 where there is none), FEATURES.
    """

    table: pd.DataFrame
    others: dict[str, int]  # answers of each other model version in the period

    def __len__(self) -> int:
        """Count the predictions."""
        return len(self.table)

    @cached_property
    def positions(self) -> Rows:
        """The number of each row's tweet among the distinct tweets, (rows,)."""
        hashes = self.table["tweet"].to_numpy()
        # a tweet without a hash is distinct
        keys = np.where(hashes == 0, np.arange(len(self), dtype=np.uint64), hashes)
        return np.asarray(pd.factorize(keys)[0])

    @cached_property
    def distinct(self) -> pd.DataFrame:
        """The first row of each tweet, because a reference has each tweet once too."""
        return self.table[~pd.Series(self.positions).duplicated()]

    @cached_property
    def texts(self) -> "pd.Series[str]":
        """The texts that are logged, by row."""
        return self.table["text"].dropna()

    @cached_property
    def _row_of_text(self) -> "pd.Series[int]":
        """The first row with each canonical text."""
        rows = pd.Series(self.texts.index, canonical_texts(self.texts))
        return rows[~rows.index.duplicated()]

    def find_ids(self, values: Sequence[str]) -> Rows:
        """Return the row of the prediction with each id, -1 if there is none."""
        return np.asarray(pd.Index(self.table["id"]).get_indexer(pd.array(values, dtype="str")))

    def find_texts(self, values: Sequence[str]) -> Rows:
        """Return the row of the first prediction with each text, -1 if there is none."""
        rows = self._row_of_text.reindex(canonical_texts(values))
        return np.asarray(rows.fillna(-1).astype(np.intp))


def read(
    places: list[str], version: str, since: date | None = None, until: date | None = None
) -> tuple[Log, Lines]:
    """Return the log of a model version, and the counts of lines.

    The period is that of days in UTC, `until` included, by default the last DAYS. A line that was
    delivered twice counts once.

    Raises:
        InputError: there is no prediction of this version, most lines are broken, or a file cannot
            be read.

    """
    if since and until and since > until:
        raise InputError(f"--since {since} is later than --until {until}")
    lines, tables = Lines(), list[pd.DataFrame]()
    first, last = pd.Timestamp.max.tz_localize("UTC"), pd.Timestamp.min.tz_localize("UTC")
    for records in filter(None, read_records(places, lines)):
        table = _make_table(records)
        first, last = min(first, table["time"].min()), max(last, table["time"].max())
        end = (pd.Timestamp(until, tz="UTC") if until else last.floor("D")) + DAY
        start = pd.Timestamp(since, tz="UTC") if since else end - DAYS * DAY
        # drop blocks before the period, which may have moved on
        tables = [part for part in [*tables, table] if part["time"].max() >= start]
    lines.check(places)
    tables = [part[(part["time"] >= start) & (part["time"] < end)] for part in tables]
    if not sum(map(len, tables)):
        raise InputError(
            f"no prediction in this period: the log has them from {first:%Y-%m-%d} to "
            f"{last:%Y-%m-%d}"
        )
    table = pd.concat(tables, ignore_index=True)
    is_duplicate = table.duplicated(["model", *KEY])
    lines.duplicates = int(is_duplicate.sum())
    table = table[~is_duplicate]
    is_own = table["model"] == version
    others = {str(model): int(n) for model, n in table["model"][~is_own].value_counts().items()}
    if not is_own.any():
        raise InputError(
            f"the log is of model {', '.join(others)}, not of {version}: name the model's folder "
            "with --model"
        )
    return Log(_make_ids_unique(table[is_own].drop(columns="model")), others), lines


def _make_table(records: Sequence[Prediction]) -> pd.DataFrame:
    """Return predictions as columns that take little memory."""
    columns = ["id", "text", "time", "model", "probability", "label", "rate", "hash"]
    table = pd.DataFrame.from_records(records, columns=columns)
    for name in ("id", "text", "model"):
        table[name] = table[name].astype("str")
    table["time"] = table["time"].dt.as_unit("ms")
    table["disaster"] = table.pop("label") == LABELS[1]
    table["rate"] = table["rate"].astype(np.float32).where(lambda rate: (rate > 0) & (rate <= 1), 1)
    table["tweet"] = _hash_strings(table.pop("hash"))
    features: list[Any] = [record.get("features") or {} for record in records]
    return pd.concat(
        [
            table.astype({"probability": np.float32}),
            pd.DataFrame(features, columns=[*FEATURES], dtype=np.float32),
        ],
        axis=1,
    )


def _hash_strings(values: "pd.Series[Any]") -> npt.NDArray[np.uint64]:
    """Return a hash of each string, (n,); 0 for a missing one."""
    hashed = pd.util.hash_array(values.astype(object).fillna("").to_numpy(), categorize=False)
    return np.where(values.isna(), np.uint64(0), hashed)


def _make_ids_unique(table: pd.DataFrame) -> pd.DataFrame:
    """Append a hash to each id that several predictions share."""
    table = table.reset_index(drop=True)
    repeated = table["id"].duplicated(keep=False)
    marks = pd.util.hash_pandas_object(table.loc[repeated, KEY], index=False)
    table.loc[repeated, "id"] += pd.array([f"~{mark:016x}" for mark in marks], dtype="str")
    return table
