"""Labels of answers: readers' verdicts, and samples that reviewers labelled.

Labels are read from what any labelling tool exports; none is known by name. The label is in the
column whose values are labels, however deep.
"""

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import fsspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from monitor.log import Log, Rows
from monitor.quality import Labels
from monitor.records import VERDICT, Lines, read_records
from reader.canonical import canonical_texts
from reader.files import find
from reader.format import Format, fold
from reader.open import opened
from reader.table import as_input

FEEDBACK = "feedback"  # as `drawn`: a reader chose the tweet; else its probability, or "random"
RANDOM = "random"
LABEL = "label"  # the column that `monitor review` leaves empty
DRAWN = "drawn"
TARGETS = {  # as people and spreadsheets write them
    **dict.fromkeys(("0", "0.0", "0,0", "false", "no", LABELS[0]), 0),
    **dict.fromkeys(("1", "1.0", "1,0", "true", "yes", LABELS[1]), 1),
}
SKIPPED = {"ignore", "discarded", "draft", "pending", "skipped", "cancelled", "in_progress"}
REJECTED = {"reject", "rejected"}
STATES = SKIPPED | REJECTED  # what a reviewer did with a tweet
STATES |= {"accept", "submitted", "completed", "finished", "validated", "approved"}
NO_LABELS = re.compile("suggest|predict|option|cancel|ground_truth|model|score|drawn", re.I)
NAMED = 5  # contradictions that are listed
COLUMNS = ["file", "number", "target", "drawn", "sha256", "model", "row"]

Fields = dict[str, list[str]]  # by the path of a field: its values, without empty ones


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
    verdicts = [one for part in read_records(places, VERDICT, lines) for one in part]
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
    parts = [_matched(*_read(file), logs) for file in (find(places) if places else ())]
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    is_known = table["row"] >= 0
    tweet = ["model", "row"]
    drawn = table[is_known].groupby(tweet)["drawn"].transform("first")
    table.loc[is_known, "drawn"] = drawn
    labelled = table[table["target"].notna()].copy()
    for part in filter(len, parts):
        _check_use(part, labelled, len(parts))
    _check_agreement(labelled[labelled["row"] >= 0])
    if len(lost := labelled[labelled["drawn"].isna() & (labelled["row"] >= 0)]):
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
    groups = labelled.groupby(["model", "row"])
    differing = labelled[groups["target"].transform("nunique") > 1]
    pairs = [
        " and ".join(f"{file} row {n}" for file, n in zip(g["file"], g["number"], strict=True))
        for _, g in differing.groupby(["model", "row"])
    ]
    if pairs:
        more = f", and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
        raise InputError(
            f"two labels of one tweet differ: {'; '.join(pairs[:NAMED])}{more}. Decide, and leave "
            "one"
        )


def _read(file: str) -> tuple[pd.DataFrame, list[Fields]]:
    """Return the rows of CSV, JSON, JSON lines or Parquet: file, number, target, …; their fields.

    Raises:
        InputError: the file cannot be read, has a label that is none, or has two for a tweet.

    """
    with as_input(file), fsspec.open(file, "rb") as content:
        sha256 = hashlib.sha256(content.read()).hexdigest()
    numbers, fields = list[int](), list[Fields]()
    # `\0`: no column is special, and a list is as good as a string
    with opened(file, Format("\0")) as table:
        for chunk in table.chunks(table.columns):
            numbers += chunk.numbers.tolist()
            fields += map(_flat, chunk.table.to_pylist())
    columns = dict[str, list[str]]()
    for row in fields:
        for path, texts in row.items():
            columns.setdefault(path, []).extend(texts)
    column = _label_column(file, columns)
    is_state = {path: STATES.issuperset(map(fold, texts)) for path, texts in columns.items()}
    state = next((path for path, yes in is_state.items() if yes), "")
    about = [
        {
            "number": number,
            "target": _target(f"{file}: data row {number}", row, column, state),
            "drawn": next((texts[0] for path, texts in row.items() if _name(path) == DRAWN), None),
        }
        for number, row in zip(numbers, fields, strict=True)
    ]
    rows = pd.DataFrame(about, columns=["number", "target", "drawn"])
    rows = rows.astype({"target": "Int8", "drawn": object})
    return rows.assign(file=file, sha256=sha256), fields


def _flat(value: object) -> Fields:
    """Return the values below an object by their paths; a list has those of its items."""
    fields: Fields = {}
    for path, text in dict.fromkeys(_leaves(value, "")):
        fields.setdefault(path, []).append(text)
    return fields


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value[:1] in ("[", "{"):  # of JSON, or a list in a cell of a CSV
        for parse in (json.loads, ast.literal_eval):
            try:
                yield from _leaves(parse(value), path)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, path)
    elif value is not None and str(value).strip():
        yield path, str(value)


def _name(path: str) -> str:
    return fold(path.rpartition(".")[2])


def _as_label(text: str) -> int | None:
    return TARGETS.get(re.sub(r"[\s-]+", "_", fold(text)))


def _label_column(file: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Return the path of the labels, "" where no row has one.

    Raises:
        InputError: several columns could hold them, and differ.

    """
    labels = {path: [_as_label(text) for text in texts] for path, texts in columns.items()}
    named = [path for path in labels if _name(path) in (LABEL, f"{LABEL}s")]
    for path in named:
        if set(labels[path]) & {0, 1}:
            return path
    possible = {p: v for p, v in labels.items() if None not in v and not NO_LABELS.search(p)}
    candidates = [path for path, values in possible.items() if len(set(values)) == 2] or [*possible]
    if len({tuple(possible[path]) for path in candidates}) > 1:
        raise InputError(
            f"{file}: the labels may be in any of {', '.join(candidates)}: call their column "
            f"{LABEL}, or leave out the others"
        )
    return next(iter([*candidates, *named]), "")


def _target(where: str, fields: Fields, column: str, state: str) -> int | None:
    """Return a reviewer's label of a row's tweet, None without one."""
    labels = {_as_label(text) for text in fields.get(column, ())}
    states = {fold(text) for text in fields.get(state, ())}
    if not labels or states & SKIPPED:
        return None
    if None in labels or len(labels) > 1:
        raise InputError(
            f"{where}: {column} must be one of 0, 1, {', '.join(LABELS)} "
            f"(got {', '.join(fields[column])[:40]!r})"
        )
    (target,) = labels
    if states & REJECTED:  # the tweet is not what was proposed; of a choice that means nothing
        return 1 - target if target is not None and _name(column) == LABEL else None
    return target


def _matched(table: pd.DataFrame, fields: list[Fields], logs: Mapping[str, Log]) -> pd.DataFrame:
    """Return a file's rows with the predictions that they match."""
    parts, is_known = [], np.zeros(len(table), dtype=bool)
    for log in logs.values():
        rows = _rows(fields, log)
        parts.append(table.assign(model=log.model, row=rows)[rows >= 0])
        is_known |= rows >= 0
    return pd.concat([*parts, table.assign(model=None, row=-1)[~is_known]])


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
