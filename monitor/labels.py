"""Labels of answers: readers' verdicts, and samples that reviewers labelled."""

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
from monitor.records import VERDICT, Lines, read_records
from reader.canonical import canonical_texts
from reader.files import find

FEEDBACK = "feedback"  # as `drawn`: a reader chose the tweet; else its probability, or "random"
RANDOM = "random"
NAMED = 5  # contradictions that are listed
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
    """Return readers' verdicts: id, time, right, label (missing without one); the last of each id.

    Counts all lines in `lines`.

    Raises:
        InputError: a file cannot be read, or most verdicts are broken.

    """
    verdicts = [verdict for block in read_records(places, VERDICT, lines) for verdict in block]
    if lines.broken:
        lines.check(places, VERDICT)
    table = pd.DataFrame(verdicts, columns=["id", "time", "right", "label"])
    return table.sort_values("time", kind="stable").drop_duplicates("id", keep="last")


def join_feedback(log: Log, verdicts: pd.DataFrame) -> Labelled:
    """Return the labels that readers' verdicts imply; the log says what the answers were.

    Of several verdicts on one tweet the last counts, whichever request it came with.
    """
    rows = log.rows(verdicts["id"].tolist())
    verdicts, unknown = verdicts[rows >= 0], int((rows < 0).sum())
    rows = rows[rows >= 0]
    answers = np.array(LABELS)[log.disaster[rows].astype(int)]
    is_same = (verdicts["label"].isna() | (verdicts["label"] == answers)).to_numpy(dtype=bool)
    rows, is_right = rows[is_same], verdicts["right"].to_numpy(dtype=bool)[is_same]
    last = ~pd.Series(log.tweets[rows]).duplicated(keep="last").to_numpy()
    targets = (log.disaster[rows] == is_right)[last].astype(np.int8)
    contradicting = int((~is_same).sum())
    weights = np.ones(len(targets))
    return Labelled(rows[last], targets, weights, len(verdicts) + unknown, unknown, contradicting)


def read_reviewed(places: list[str], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return the labels in files, each with the prediction that it matches.

    A label matches the prediction whose id the row has in any column, or else the one with its
    text, if all answers to this text are equal. `drawn` may be in another file of the tweet.

    Returns:
        COLUMNS and weight, 1 / the probability of being drawn; model and row are None and -1 for a
        label without a prediction; a label comes once for each model that answered its tweet.

    Raises:
        InputError: a file cannot be read or is of no use; two labels of a tweet differ.

    """
    parts = [_matched(*read_export(file), logs) for file in (find(places) if places else ())]
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
            f"{undrawn['file'].iloc[0]}: no column `drawn` says how each tweet came into the "
            "sample: name the sample that `monitor review` wrote as well, --reviewed SAMPLE FILE"
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
    return once.astype({"target": "int8", "row": "int64"})


def join_reviewed(log: Log, reviewed: pd.DataFrame) -> Labelled:
    """Return the labels of a log's answers."""
    own = reviewed[reviewed["model"] == log.model]
    total = len(reviewed.drop_duplicates(["file", "number"]))
    rows, targets, weights = (own[name].to_numpy() for name in ("row", "target", "weight"))
    return Labelled(rows, targets, weights, total, total - len(own))


def _check_use(rows: pd.DataFrame, labelled: pd.DataFrame, files: int) -> None:
    """Refuse a file without labels, or without a label of a prediction in the log."""
    file = rows["file"].iloc[0]
    own = labelled[labelled["file"] == file]
    if own.empty and (files == 1 or rows["drawn"].isna().all()):
        raise UnusedLabelsError(
            file, f"none of its {len(rows)} rows has a label: write 0 or 1 in `label`"
        )
    if len(own) and not (own["row"] >= 0).any():
        raise UnusedLabelsError(
            file,
            f"none of its {len(own)} labels matches an answer in this period, by id or by text: "
            "name the log and the days (--since, --until) of the sample; spreadsheets spoil long "
            "ids, so keep the column `text` too",
        )


def _check_agreement(labelled: pd.DataFrame) -> None:
    """Refuse two labels of one tweet that differ."""
    differing = labelled[labelled.groupby(["model", "row"])["target"].transform("nunique") > 1]
    places = differing["file"] + " row " + differing["number"].astype(str)
    pairs = places.groupby([differing["model"], differing["row"]]).agg(" and ".join).tolist()
    if pairs:
        more = f", and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
        raise InputError(
            f"two labels of one tweet differ: {'; '.join(pairs[:NAMED])}{more}. Decide, and leave "
            "one"
        )


def _matched(table: pd.DataFrame, fields: list[Fields], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return a file's rows with the predictions that they match."""
    parts, is_matched = [], np.zeros(len(table), dtype=bool)
    for log in logs.values():
        rows = _rows(fields, log)
        parts.append(table.assign(model=log.model, row=rows)[rows >= 0])
        is_matched |= rows >= 0
    return pd.concat([*parts, table.assign(model=None, row=-1)[~is_matched]])


def _rows(fields: list[Fields], log: Log) -> Rows:
    """Return the prediction that each row of a file matches, by id or else by text; -1 for none."""
    texts = sorted({text for row in fields for column in row.values() for text in column})
    by_id = _by_best_column(fields, dict(zip(texts, log.rows(texts), strict=True)))
    answers = log.table["disaster"].groupby(log.canonical)  # of the rows that have a text
    firsts = log.canonical.drop_duplicates()
    row_of = pd.Series(firsts.index, firsts)[answers.nunique() == 1]
    read = pd.Series(canonical_texts(texts), dtype="str")
    matches = row_of.reindex(read).fillna(-1).astype(int)
    by_text = _by_best_column(fields, dict(zip(texts, matches, strict=True)))
    # numbers that a tool counts may be a client's ids: then the texts differ
    canonical = log.canonical.reindex(range(-1, len(log))).to_numpy()
    same = canonical[by_id + 1] == canonical[by_text + 1]
    return np.where((by_id >= 0) & (same | (by_text < 0)), by_id, by_text)


def _by_best_column(fields: Sequence[Fields], row_of: Mapping[str, int]) -> npt.NDArray[np.intp]:
    """Look rows up by the values of the column that has most matches."""
    matches = [
        {p: row_of[text] for p, texts in row.items() for text in texts if row_of[text] >= 0}
        for row in fields
    ]
    ((best, _),) = Counter(path for paths in matches for path in paths).most_common(1) or [("", 0)]
    return np.array([paths.get(best, -1) for paths in matches], dtype=np.intp)
