"""Writes labelled live tweets as a source for the next training; trains nothing itself.

A reader's verdict counts only once a reviewer has confirmed it: these tweets go to a file of their
own, to be labelled.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from common.atomic import new_file
from common.errors import InputError
from monitor import review
from monitor.labels import FEEDBACK, RANDOM, join_feedback, join_reviewed
from monitor.window import Log
from reader.canonical import canonical_texts

SPLITS = ("train", "validation", "test")
VOLUNTEERS = 0.1  # of all tweets then known: the most that readers have chosen
COLUMNS = ("id", "text", "target", "time", "model", "probability", "labelled_by")
SEED = 0


@dataclass
class Harvest:
    """What became of the labelled tweets."""

    taken: int = 0
    to_review: int = 0
    unknown: int = 0  # labels of no prediction in the log
    without_text: int = 0
    in_test_split: int = 0
    known: int = 0
    over_cap: int = 0


def harvest(
    log: Log,
    feedback: pd.DataFrame,
    reviewed: pd.DataFrame,
    prepared: Path,
    output: Path,
) -> Harvest:
    """Write reviewed tweets to `output`, and readers' tweets beside it to be reviewed.

    A tweet that reads like one already known is left out, in the test split above all. Which of the
    readers' tweets are within the cap, chance decides.

    Raises:
        InputError: there is no prepared data, or the file to be reviewed exists.

    """
    counts = Harvest()
    known, tested = _known(prepared)
    labelled = join_reviewed(log, reviewed)
    rows = log.lines(labelled.rows).assign(target=labelled.targets)
    reviewed_ids = rows["id"]
    drawn = reviewed[reviewed["model"] == log.model].set_index("row")["drawn"]
    rows["labelled_by"] = [f"reviewer, drawn by {drawn[row]}" for row in rows.index]
    rows = _new(rows, known, tested, counts)
    is_random = drawn.reindex(rows.index) == RANDOM
    cap = _cap(len(known) + int(is_random.sum()))
    volunteered = rows[~is_random].sample(frac=1, random_state=SEED)
    counts.over_cap = max(0, len(volunteered) - cap)
    rows = pd.concat([rows[is_random], volunteered[:cap]])
    counts.taken = len(rows)

    verdicts = join_feedback(log, feedback[~feedback["id"].isin(reviewed_ids)])
    waiting = log.lines(verdicts.rows)
    waiting = _new(waiting, known | set(canonical_texts(rows["text"])), tested, counts)
    waiting = waiting.sample(frac=1, random_state=SEED)[: max(0, cap - len(volunteered))]
    counts.to_review = len(waiting)
    counts.unknown = labelled.unknown + verdicts.unknown
    if len(waiting):
        drawn_by = [FEEDBACK] * len(waiting)
        review.write(log, waiting.index.to_numpy(), drawn_by, to_review(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft:
        rows[[*COLUMNS]].to_csv(draft, index=False)
    return counts


def to_review(output: Path) -> Path:
    """Name the file of readers' tweets beside a harvest."""
    return output.with_name(f"{output.stem}-to-review.csv")


def _cap(others: int) -> int:
    """Return how many of the readers' tweets keep to their share beside so many others."""
    return int(VOLUNTEERS / (1 - VOLUNTEERS) * others)


def _known(prepared: Path) -> tuple[set[str], set[str]]:
    """Return the canonical texts of all prepared tweets, and those of the test split."""
    by_split = {}
    for split in SPLITS:
        path = prepared / f"{split}.parquet"
        try:
            texts = pq.read_table(path, columns=["text"])["text"]
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"{path}: cannot be read (`make repro` writes it): {error}") from error
        by_split[split] = set(canonical_texts(texts.to_pandas()))
    return set().union(*by_split.values()), by_split["test"]


def _new(rows: pd.DataFrame, known: set[str], tested: set[str], counts: Harvest) -> pd.DataFrame:
    """Return the rows with a text that reads like no known one; count the others."""
    counts.without_text += int(rows["text"].isna().sum())
    rows = rows[rows["text"].notna()]
    reads = pd.Series(canonical_texts(rows["text"]), index=rows.index, dtype=object)
    test = reads.isin(tested)
    double = (reads.isin(known) | reads.duplicated()) & ~test
    counts.in_test_split += int(test.sum())
    counts.known += int(double.sum())
    return rows[~(test | double)]
