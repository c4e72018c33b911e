"""Writes labelled live tweets as a source for the next training; trains nothing itself.

A reader's verdict counts only once a reviewer has confirmed it: these tweets go to a file of their
own, to be labelled.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from common.atomic import new_file
from common.errors import InputError
from monitor import review
from monitor.labels import FEEDBACK, RANDOM, join_feedback, join_reviewed
from monitor.log import Log
from reader.canonical import canonical_texts

VOLUNTEERS = 0.1  # of all prepared and harvested tweets: the most that readers have chosen
COLUMNS = ["id", "text", "target", "time", "model", "probability", "labelled_by"]
# Outcomes of labelled tweets; unknown ones match no prediction in the log.
COUNTS = ("harvested", "to_review", "unknown", "without_text", "in_test", "duplicate", "over_cap")
SEED = 0


def harvest(
    log: Log, feedback: pd.DataFrame, reviewed: pd.DataFrame, prepared: Path, output: Path
) -> dict[str, int]:
    """Write reviewed tweets to `output`, and readers' tweets beside it to be reviewed.

    A tweet that reads like a prepared one is left out, in the test split above all. Chance
    decides which of the readers' tweets are within the cap.

    Returns:
        the number of tweets by outcome (COUNTS).

    Raises:
        InputError: there is no prepared data, or the file to be reviewed exists.

    """
    counts = Counter[str]()
    prepared_texts, test_texts = _canonical(prepared)
    labelled = join_reviewed(log, reviewed)
    rows = log.table.loc[labelled.rows].assign(target=labelled.targets)
    drawn = reviewed[reviewed["model"] == log.model].set_index("row")["drawn"]
    rows["labelled_by"] = "reviewer, drawn by " + drawn[rows.index]
    reviewed_ids = rows["id"]
    rows = _new(rows, prepared_texts, test_texts, counts)
    is_random = drawn.reindex(rows.index) == RANDOM
    # readers' tweets keep to their share beside so many others
    cap = int(VOLUNTEERS / (1 - VOLUNTEERS) * (len(prepared_texts) + int(is_random.sum())))
    volunteered = rows[~is_random].sample(frac=1, random_state=SEED)
    counts["over_cap"] = max(0, len(volunteered) - cap)
    rows = pd.concat([rows[is_random], volunteered[:cap]])
    counts["harvested"] = len(rows)

    verdicts = join_feedback(log, feedback[~feedback["id"].isin(reviewed_ids)])
    texts = prepared_texts | set(canonical_texts(rows["text"]))
    waiting = _new(log.table.loc[verdicts.rows], texts, test_texts, counts)
    waiting = waiting.sample(frac=1, random_state=SEED)[: max(0, cap - len(volunteered))]
    counts["to_review"] = len(waiting)
    counts["unknown"] = labelled.unknown + verdicts.unknown
    if len(waiting):
        drawn_by = [FEEDBACK] * len(waiting)
        review.write(log, waiting.index.to_numpy(), drawn_by, to_review(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft:
        rows.astype({"probability": float})[COLUMNS].to_csv(draft, index=False)
    return {name: counts[name] for name in COUNTS}


def to_review(output: Path) -> Path:
    """Name the file of readers' tweets beside a harvest."""
    return output.with_name(f"{output.stem}-to-review.csv")


def _canonical(prepared: Path) -> tuple[set[str], set[str]]:
    """Return the canonical texts of all prepared tweets, and those of the test split."""
    texts = {}
    for split in ("train", "validation", "test"):
        path = prepared / f"{split}.parquet"
        try:
            texts[split] = set(canonical_texts(pd.read_parquet(path, columns=["text"])["text"]))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read (`make repro` writes it): {error}") from error
    return set().union(*texts.values()), texts["test"]


def _new(
    rows: pd.DataFrame, texts: set[str], test_texts: set[str], counts: Counter[str]
) -> pd.DataFrame:
    """Return the rows with a text that reads like none of `texts`; count the others."""
    counts["without_text"] += int(rows["text"].isna().sum())
    rows = rows[rows["text"].notna()]
    canonical = pd.Series(canonical_texts(rows["text"]), index=rows.index, dtype="str")
    is_tested = canonical.isin(test_texts)
    is_duplicate = (canonical.isin(texts) | canonical.duplicated()) & ~is_tested
    counts["in_test"] += int(is_tested.sum())
    counts["duplicate"] += int(is_duplicate.sum())
    return rows[~(is_tested | is_duplicate)]
