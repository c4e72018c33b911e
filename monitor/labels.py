"""What people said of answers: readers' verdicts, and samples that reviewers labelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from monitor.exports import Row, read_rows
from monitor.logs import SKEW, Lines, blocks
from monitor.matching import rows_of
from monitor.records import Record, records, timestamp
from monitor.window import Log, Rows
from reader.files import find

FEEDBACK = "feedback"  # as `drawn`: a reader chose the tweet; else its probability, or "random"
RANDOM = "random"
NAMED = 5  # contradictions that are listed
VERDICT = frozenset(("id", "right"))  # the fields of a reader's verdict


class UnusedLabelsError(InputError):
    """None of a file's labels is of an answer that the log has."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.file = file


@dataclass(frozen=True)
class Labelled:
    """Predictions of a log whose answer is known: arrays of equal length."""

    rows: Rows
    targets: npt.NDArray[np.int8]
    weights: npt.NDArray[np.float64]  # 1 / the probability of being drawn
    given: int = 0  # labels, whatever they are of
    unknown: int = 0  # labels that match no prediction of these days
    contradicting: int = 0  # the client named another answer than the log does

    def right(self, log: Log) -> npt.NDArray[np.bool_]:
        """Tell which answers were right: (rows,)."""
        return np.asarray(log.disaster[self.rows] == (self.targets == 1))


def read_feedback(places: list[str], lines: Lines) -> pd.DataFrame:
    """Return readers' verdicts: id, time, right, label (None without one); the last of each id.

    Counts all lines in `lines`.

    Raises:
        InputError: a file cannot be read, or most verdicts are broken.

    """
    verdicts = []
    for path, block in blocks(places, "verdicts") if places else ():
        for number, line in block:
            lines.read += 1
            matches = list(records(line.decode("utf-8", "replace"), VERDICT))
            if not matches:
                lines.others += 1
            for match in matches:
                try:
                    verdicts.append(_verdict(match))
                except ValueError as error:
                    lines.add_broken(path, number, str(error))
    if lines.broken:
        lines.check(places, "verdict")
    table = pd.DataFrame(verdicts, columns=["id", "time", "right", "label"])
    return table.sort_values("time", kind="stable").drop_duplicates("id", keep="last")


def _verdict(entry: Record) -> tuple[str, datetime, bool, str | None]:
    time = timestamp(entry["time"])
    if time is None:
        raise ValueError("no `time`")
    if time > datetime.now(UTC) + SKEW:
        raise ValueError("`time` is ahead of the clock: it would overrule all others")
    if not isinstance(entry["right"], bool) or entry.get("label", LABELS[0]) not in LABELS:
        raise ValueError("`right` or `label` is no verdict")
    return str(entry["id"]), time, entry["right"], entry.get("label")


def read_reviewed(places: list[str], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return the labels in files, and which predictions they are of.

    A label is of the prediction whose id the row has in any column, or else of the one with its
    text, if all that have it were answered alike. `drawn` may be in another file of the tweet.

    Returns:
        file, number, target, drawn, weight, file_sha256, model and row (None, -1 for a label of
        no prediction); a label once for each model that answered its tweet.

    Raises:
        InputError: a file cannot be read or is of no use; two labels of a tweet differ.

    """
    table = pd.DataFrame(columns=["file", "number", "target", "drawn", "sha256", "model", "row"])
    files = [read_rows(file) for file in (find(places) if places else ())]
    parts = [_matched(rows, logs) for rows in files if rows]
    table = pd.concat([table, *parts], ignore_index=True)
    known = table["row"] >= 0
    tweet = ["model", "row"]
    table.loc[known, "drawn"] = table[known].groupby(tweet)["drawn"].transform("first")
    labelled = table[table["target"].notna()].copy()
    for rows in files:
        _check_use(rows, labelled, len(files))
    _check_agreement(labelled[labelled["row"] >= 0])
    if (lost := labelled[labelled["drawn"].isna() & (labelled["row"] >= 0)]).any(axis=None):
        raise InputError(
            f"{lost['file'].iloc[0]}: no column `drawn` says how each tweet came into the sample: "
            "name the sample that `monitor review` wrote as well, --reviewed SAMPLE FILE"
        )
    chances = labelled["drawn"].fillna(RANDOM).replace([RANDOM, FEEDBACK], "1")
    labelled["weight"] = 1 / pd.to_numeric(chances, errors="coerce")
    if len(wrong := labelled[~labelled["weight"].between(1, 1e9)]):
        first = wrong.iloc[0]
        raise InputError(
            f"{first['file']}: data row {first['number']}: drawn must be {RANDOM}, {FEEDBACK} or a "
            f"probability (got {first['drawn'][:40]!r})"
        )
    labelled["drawn"] = labelled["drawn"].where(labelled["drawn"] == FEEDBACK, RANDOM)
    once = labelled[(labelled["row"] < 0) | ~labelled.duplicated(tweet)]
    return once.rename(columns={"sha256": "file_sha256"}).astype({"target": "int8", "row": "int64"})


def _check_use(rows: list[Row], labelled: pd.DataFrame, files: int) -> None:
    """Refuse a file without labels, or with labels of nothing in the log."""
    if not rows:
        return
    file, own = rows[0].file, labelled[labelled["file"] == rows[0].file]
    if own.empty and (files == 1 or all(row.drawn is None for row in rows)):
        raise UnusedLabelsError(
            file, f"none of its {len(rows)} rows has a label: write 0 or 1 in `label`"
        )
    if len(own) and not (own["row"] >= 0).any():
        raise UnusedLabelsError(
            file,
            f"none of its {len(own)} labels matches an answer of these days, by id or by text: "
            "name the log and the days (--since, --until) of the sample; spreadsheets spoil long "
            "ids, so keep the column `text` too",
        )


def _check_agreement(labelled: pd.DataFrame) -> None:
    """Refuse two labels of one tweet that differ."""
    groups = labelled.groupby(["model", "row"])
    if not len(differ := labelled[groups["target"].transform("nunique") > 1]):
        return
    pairs = [
        " and ".join(f"{file} row {n}" for file, n in zip(g["file"], g["number"], strict=True))
        for _, g in differ.groupby(["model", "row"])
    ]
    more = f", and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    raise InputError(
        f"two labels of one tweet differ: {'; '.join(pairs[:NAMED])}{more}. Decide, and leave one"
    )


def _matched(rows: list[Row], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return a file's rows with the predictions that they are of."""
    about = [
        {
            "file": r.file,
            "number": r.number,
            "target": r.target,
            "drawn": r.drawn,
            "sha256": r.sha256,
        }
        for r in rows
    ]
    table = pd.DataFrame(about).astype({"target": "Int8", "drawn": object})
    parts, is_known = [], np.zeros(len(rows), dtype=bool)
    for log in logs.values():
        matches = rows_of(rows, log)
        parts.append(table.assign(model=log.model, row=matches)[matches >= 0])
        is_known |= matches >= 0
    return pd.concat([*parts, table.assign(model=None, row=-1)[~is_known]])


def join_feedback(log: Log, verdicts: pd.DataFrame) -> Labelled:
    """Return what readers' verdicts say of a log's answers, whatever a client says these were.

    Of several verdicts on one tweet the last counts, whichever request it came with.
    """
    rows = log.rows(verdicts["id"].tolist())
    known = rows >= 0
    answers = np.array(LABELS, dtype=object)[log.disaster[rows].astype(int)] if len(rows) else []
    same = known & (verdicts["label"].isna() | (verdicts["label"] == answers)).to_numpy(dtype=bool)
    right = verdicts["right"].to_numpy(dtype=bool)
    tweets = pd.Series(np.where(log.tweets[rows] == 0, rows, log.tweets[rows]))
    last = same & ~tweets.where(same).duplicated(keep="last").to_numpy()
    return Labelled(
        rows[last],
        (log.disaster[rows] == right)[last].astype(np.int8),
        np.ones(int(last.sum())),
        len(verdicts),
        int((~known).sum()),
        int((known & ~same).sum()),
    )


def join_reviewed(log: Log, reviewed: pd.DataFrame) -> Labelled:
    """Return the labels of a log's answers."""
    ours = reviewed[reviewed["model"] == log.model]
    given = len(reviewed.drop_duplicates(["file", "number"]))
    return Labelled(
        ours["row"].to_numpy(dtype=np.intp),
        ours["target"].to_numpy(dtype=np.int8),
        ours["weight"].to_numpy(dtype=np.float64),
        given,
        given - len(ours),
    )
