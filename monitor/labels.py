"""What people said of answers: readers' verdicts, and tweets that were drawn and reviewed."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import fsspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from monitor.logs import SKEW, Lines, blocks
from monitor.window import Log, Rows
from reader.format import Format, fold
from reader.open import opened

TARGETS = {  # what a reviewer may write, or a spreadsheet make of it
    **dict.fromkeys(("0", "0.0", "false", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "true", LABELS[1]), 1),
}
FEEDBACK = "feedback"  # as `drawn`: a reader chose the tweet; else its probability, or "random"
COLUMNS = ("id", "label", "drawn")
VERDICT = "feedback"  # the message of a line of a reader's, among others on standard output


@dataclass(frozen=True)
class Labelled:
    """Predictions of a log whose answer is known: two arrays of equal length."""

    rows: Rows
    targets: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float64]  # 1 / the probability of being drawn
    given: int = 0  # labels, joined or not
    unknown: int = 0  # no prediction of these days has their id, or more than one
    contradicting: int = 0  # the client named another answer than the log does

    def right(self, log: Log) -> npt.NDArray[np.bool_]:
        """Tell which answers were right: (rows,)."""
        return np.asarray(log.disaster[self.rows] == (self.targets == 1))


def read_feedback(places: list[str], lines: Lines) -> pd.DataFrame:
    """Read verdicts: `right` and `label` (as the client had it) by id, the last of each.

    Counts all lines in `lines`.

    Raises:
        InputError: a file cannot be read.

    """
    found = []
    for path, block in blocks(places, "verdicts") if places else ():
        for number, line in block:
            lines.read += 1
            try:
                if verdict := _verdict(line):
                    found.append(verdict)
                else:
                    lines.others += 1
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                lines.add_broken(path, number, "no verdict")
    table = pd.DataFrame(found, columns=["id", "time", "label", "right"])
    return table.sort_values("time", kind="stable").drop_duplicates("id", keep="last")


def _verdict(line: bytes) -> tuple[str, datetime, str, bool] | None:
    """Read a reader's verdict, or None where the line is of something else."""
    if b'"right"' not in line and b'"message"' in line:  # of millions on standard output
        return None
    entry = json.loads(line)
    given = entry.get("jsonPayload", entry)  # as Cloud Logging exports it, with its time beside
    if given.get("message", VERDICT) != VERDICT:
        return None
    time = datetime.fromisoformat(given.get("time") or entry["timestamp"]).astimezone(UTC)
    if given["label"] not in LABELS or not isinstance(given["right"], bool):
        raise ValueError("no verdict")
    if time > datetime.now(UTC) + SKEW:
        raise ValueError("a clock that is ahead: it would overrule all others")
    return str(given["id"]), time, given["label"], given["right"]


def read_reviewed(places: list[str]) -> pd.DataFrame:
    """Return `target`, `drawn`, `weight` and `file_sha256` by id of rows that have a label.

    Raises:
        InputError: a file cannot be read, lacks a column, or has another label; names the row.

    """
    tables = [pd.DataFrame(columns=[*COLUMNS, "weight", "file_sha256"])]
    for place in places:
        with opened(place, Format("text", "label")) as file:
            columns = [file.column(name) for name in COLUMNS]
            for chunk in file.chunks(columns):
                table = chunk.table.rename_columns([*COLUMNS]).to_pandas().fillna("").astype(str)
                table = table.set_axis(chunk.numbers)
                table["label"] = table["label"].map(fold)
                chance = table["drawn"].replace(["random", FEEDBACK, ""], "1")
                table["weight"] = 1 / pd.to_numeric(chance, errors="coerce")
                labels = ", ".join(("0", "1", *LABELS))
                for name, is_valid, rule in (
                    ("label", table["label"].isin(("", *TARGETS)), f"one of {labels}"),
                    ("drawn", table["weight"].between(1, 1e9), f"a probability or {FEEDBACK}"),
                ):
                    if len(wrong := table.index[~is_valid]):
                        raise InputError(
                            f"{place}: data row {wrong[0]}: {name} must be {rule} "
                            f"(got {table.loc[wrong[0], name][:40]!r})"
                        )
                table["drawn"] = table["drawn"].where(table["drawn"] == FEEDBACK, "random")
                tables.append(table[table["label"] != ""].assign(file_sha256=_sha256(place)))
    table = pd.concat(tables)
    table = table.assign(target=table["label"].map(TARGETS).astype("int8"))
    return table.drop_duplicates("id", keep="last")


def _sha256(place: str) -> str:
    with fsspec.open(place, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def join_feedback(log: Log, verdicts: pd.DataFrame) -> Labelled:
    """Find what verdicts are of: the answer is the log's, whatever the client says it was.

    Of several on one tweet the last counts, whichever request it came with.
    """
    rows = log.rows(verdicts["id"].tolist())
    known = rows >= 0
    said = (verdicts["label"] == LABELS[1]).to_numpy(dtype=bool)
    right = verdicts["right"].to_numpy(dtype=bool)
    same = known & (said == log.disaster[rows])
    tweets = pd.Series(np.where(log.tweets[rows] == 0, rows, log.tweets[rows]))
    last = same & ~tweets.where(same).duplicated(keep="last").to_numpy()
    return Labelled(
        rows[last],
        (said == right)[last].astype(np.int8),
        np.ones(int(last.sum())),
        len(verdicts),
        int((~known).sum()),
        int((known & ~same).sum()),
    )


def join_reviewed(log: Log, reviewed: pd.DataFrame) -> Labelled:
    """Find what reviewed tweets were answered."""
    rows = log.rows(reviewed["id"].tolist())
    known = rows >= 0
    targets = reviewed["target"].to_numpy(dtype=np.int8)
    weights = reviewed["weight"].to_numpy(dtype=np.float64)
    return Labelled(rows[known], targets[known], weights[known], len(reviewed), int((~known).sum()))
