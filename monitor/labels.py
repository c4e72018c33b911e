"""Reads labels of answers: users' feedback, and samples that reviewers labelled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from monitor.exports import Fields, read_export
from monitor.log import Log, Rows
from monitor.quality import Labels
from monitor.records import FEEDBACK, Lines, read_records
from reader.canonical import canonical_texts
from reader.files import find

CHOSEN = "feedback"  # `drawn` if a user chose the tweet; otherwise "random" or a probability
RANDOM = "random"
MAX_EXAMPLES = 5  # contradictions that are listed
COLUMNS = ["file", "number", "target", "drawn", "sha256", "model", "row"]


class UnusedLabelsError(InputError):
    """None of a file's labels matches an answer in the log."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.file = file


@dataclass(frozen=True)
class Labelled(Labels):
    """Labels of a log's predictions; `rows` are those of the log."""

    total: int = 0  # labels, matched or not
    unknown: int = 0  # labels that match no prediction in the period
    contradicting: int = 0  # the client named another answer than the log does


def read_feedback(places: list[str], lines: Lines) -> pd.DataFrame:
    """Return the last feedback of each id: id, time, right, label (may be missing).

    Counts all lines in `lines`.

    Raises:
        InputError: a file cannot be read, or most of its feedback is broken.

    """
    records = [record for block in read_records(places, FEEDBACK, lines) for record in block]
    if lines.broken:
        lines.check(places, FEEDBACK)
    table = pd.DataFrame(records, columns=["id", "time", "right", "label"])
    return table.sort_values("time", kind="stable").drop_duplicates("id", keep="last")


def join_feedback(log: Log, feedback: pd.DataFrame) -> Labelled:
    """Return the labels that follow from feedback and the logged answers.

    The last feedback on a tweet counts, even if it is on another request.
    """
    total, rows = len(feedback), log.find_rows(feedback["id"].tolist())
    feedback, unknown = feedback[rows >= 0], int((rows < 0).sum())
    rows = rows[rows >= 0]
    answers = np.array(LABELS)[log.disaster[rows].astype(int)]
    is_same = (feedback["label"].isna() | (feedback["label"] == answers)).to_numpy(dtype=bool)
    rows, is_right = rows[is_same], feedback["right"].to_numpy(dtype=bool)[is_same]
    is_last = ~pd.Series(log.tweets[rows]).duplicated(keep="last").to_numpy()
    targets = (log.disaster[rows] == is_right)[is_last].astype(np.int8)
    contradicting = int((~is_same).sum())
    weights = np.ones(len(targets))
    return Labelled(rows[is_last], targets, weights, total, unknown, contradicting)


def read_reviewed(places: list[str], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return the labels of files, each with the prediction that it matches.

    A label matches the prediction whose id is in any column of the row. Otherwise it matches one
    with its text, if all answers to this text are equal. `drawn` may be in another file.

    Returns:
        COLUMNS and weight, 1 / the probability of being drawn. Model and row are None and -1 for a
        label without a prediction. A label is repeated for each model that answered its tweet.

    Raises:
        InputError: a file cannot be read or has no usable label; two labels of a tweet differ.

    """
    parts = [_match_rows(*read_export(file), logs) for file in (find(places) if places else ())]
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    tweet, is_matched = ["model", "row"], table["row"] >= 0
    drawn = table[is_matched].groupby(tweet)["drawn"].transform("first")
    table.loc[is_matched, "drawn"] = drawn
    labelled = table[table["target"].notna()].copy()
    for part in filter(len, parts):
        _check_use(part, labelled, len(parts))
    matched = labelled[labelled["row"] >= 0]
    _check_agreement(matched)
    if len(undrawn := matched[matched["drawn"].isna()]):
        raise InputError(
            f"{undrawn['file'].iloc[0]}: no column `drawn`, which has each tweet's probability "
            "of being drawn. Name the sample of `monitor review` too: --reviewed SAMPLE FILE"
        )
    probabilities = labelled["drawn"].fillna(RANDOM).replace([RANDOM, CHOSEN], "1")
    labelled["weight"] = 1 / pd.to_numeric(probabilities, errors="coerce")
    if len(invalid := labelled[~labelled["weight"].between(1, 1e9)]):
        first = invalid.iloc[0]
        raise InputError(
            f"{first['file']}: data row {first['number']}: drawn must be {RANDOM}, {CHOSEN} or a "
            f"probability (got {first['drawn'][:40]!r})"
        )
    labelled["drawn"] = labelled["drawn"].where(labelled["drawn"] == CHOSEN, RANDOM)
    unique = labelled[(labelled["row"] < 0) | ~labelled.duplicated(tweet)]
    return unique.astype({"target": "int8", "row": "int64"})


def join_reviewed(log: Log, reviewed: pd.DataFrame) -> Labelled:
    """Return the labels of a log's predictions."""
    matches = reviewed[reviewed["model"] == log.model]
    total = len(reviewed.drop_duplicates(["file", "number"]))
    rows, targets, weights = (matches[name].to_numpy() for name in ("row", "target", "weight"))
    return Labelled(rows, targets, weights, total, total - len(matches))


def _check_use(rows: pd.DataFrame, labelled: pd.DataFrame, files: int) -> None:
    """Raise UnusedLabelsError if a file has no label, or none that matches a prediction."""
    file = rows["file"].iloc[0]
    labels = labelled[labelled["file"] == file]
    if labels.empty and (files == 1 or rows["drawn"].isna().all()):
        raise UnusedLabelsError(
            file, f"none of its {len(rows)} rows has a label: write 0 or 1 in `label`"
        )
    if len(labels) and not (labels["row"] >= 0).any():
        raise UnusedLabelsError(
            file,
            f"none of its {len(labels)} labels matches an answer in this period, by id or by text. "
            "Name the log and the days (--since, --until) of the sample; spreadsheets round long "
            "ids, so keep the column `text` too",
        )


def _check_agreement(labelled: pd.DataFrame) -> None:
    """Raise InputError if two labels of one tweet differ."""
    differing = labelled[labelled.groupby(["model", "row"])["target"].transform("nunique") > 1]
    places = differing["file"] + " row " + differing["number"].astype(str)
    pairs = places.groupby([differing["model"], differing["row"]]).agg(" and ".join).tolist()
    if pairs:
        more = f", and {len(pairs) - MAX_EXAMPLES} more" if len(pairs) > MAX_EXAMPLES else ""
        raise InputError(
            f"two labels of one tweet differ: {'; '.join(pairs[:MAX_EXAMPLES])}{more}. "
            "Decide, and keep one"
        )


def _match_rows(table: pd.DataFrame, fields: list[Fields], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return a file's rows with the predictions that they match."""
    parts, is_matched = [], np.zeros(len(table), dtype=bool)
    for log in logs.values():
        rows = _find_predictions(fields, log)
        parts.append(table.assign(model=log.model, row=rows)[rows >= 0])
        is_matched |= rows >= 0
    return pd.concat([*parts, table.assign(model=None, row=-1)[~is_matched]])


def _find_predictions(fields: list[Fields], log: Log) -> Rows:
    """Return the prediction that each row of a file matches, by id or else by text; -1 for none."""
    texts = sorted({text for row in fields for column in row.values() for text in column})
    by_id = _match_by_column(fields, dict(zip(texts, log.find_rows(texts), strict=True)))
    answers = log.table["disaster"].groupby(log.canonical)  # of the rows that have a text
    firsts = log.canonical.drop_duplicates()
    row_of = pd.Series(firsts.index, firsts)[answers.nunique() == 1]
    canonical_values = pd.Series(canonical_texts(texts), dtype="str")
    matches = row_of.reindex(canonical_values).fillna(-1).astype(int)
    by_text = _match_by_column(fields, dict(zip(texts, matches, strict=True)))
    # a tool's row numbers may equal a client's ids; then the texts differ
    canonical = log.canonical.reindex(range(-1, len(log))).to_numpy()
    is_same = canonical[by_id + 1] == canonical[by_text + 1]
    return np.where((by_id >= 0) & (is_same | (by_text < 0)), by_id, by_text)


def _match_by_column(fields: Sequence[Fields], row_of: Mapping[str, int]) -> npt.NDArray[np.intp]:
    """Return each row's match in the column that has most matches, or -1."""
    matches = [
        {p: row_of[text] for p, texts in row.items() for text in texts if row_of[text] >= 0}
        for row in fields
    ]
    ((best, _),) = Counter(path for paths in matches for path in paths).most_common(1) or [("", 0)]
    return np.array([paths.get(best, -1) for paths in matches], dtype=np.intp)
