"""Writes labelled live tweets as a source for the next training.

A user's feedback counts only once a reviewer has confirmed it: tweets with feedback go to a
separate file, to be labelled.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from common.atomic import new_file
from common.errors import InputError
from monitor import review
from monitor.labels import CHOSEN, RANDOM, join_feedback, join_reviewed
from monitor.log import Log
from reader.canonical import canonical_texts

FEEDBACK_SHARE = 0.1  # of tweets with feedback among prepared and harvested ones, at most
COLUMNS = ["id", "text", "target", "time", "model", "probability", "labelled_by"]
# Outcomes of labelled tweets; the unknown match no prediction in the log.
COUNTS = ("harvested", "to_review", "unknown", "without_text", "in_test", "duplicate", "over_cap")
SEED = 0


def harvest(
    log: Log, feedback: pd.DataFrame, reviewed: pd.DataFrame, prepared: Path, output: Path
) -> dict[str, int]:
    """Write reviewed tweets to `output`, and tweets with feedback beside it, to be reviewed.

    Duplicates of prepared tweets are left out. If there are too many tweets with feedback, a
    random sample is written.

    Returns:
        the number of tweets by outcome (COUNTS).

    Raises:
        InputError: there is no prepared data, or the file of tweets to be reviewed exists.

    """
    counts = Counter[str]()
    prepared_texts, test_texts = _canonical(prepared)
    labelled = join_reviewed(log, reviewed)
    rows = log.table.loc[labelled.rows].assign(target=labelled.targets)
    drawn = reviewed[reviewed["model"] == log.model].set_index("row")["drawn"]
    rows["labelled_by"] = "reviewer, drawn by " + drawn[rows.index]
    reviewed_ids = rows["id"]
    rows = _select_new(rows, prepared_texts, test_texts, counts)
    is_random = drawn.reindex(rows.index) == RANDOM
    # of tweets with feedback, so that their share is at most FEEDBACK_SHARE
    cap = int(FEEDBACK_SHARE / (1 - FEEDBACK_SHARE) * (len(prepared_texts) + int(is_random.sum())))
    with_feedback = rows[~is_random].sample(frac=1, random_state=SEED)
    counts["over_cap"] = max(0, len(with_feedback) - cap)
    rows = pd.concat([rows[is_random], with_feedback[:cap]])
    counts["harvested"] = len(rows)

    feedback_labels = join_feedback(log, feedback[~feedback["id"].isin(reviewed_ids)])
    texts = prepared_texts | set(canonical_texts(rows["text"]))
    unreviewed = _select_new(log.table.loc[feedback_labels.rows], texts, test_texts, counts)
    unreviewed = unreviewed.sample(frac=1, random_state=SEED)[: max(0, cap - len(with_feedback))]
    counts["to_review"] = len(unreviewed)
    counts["unknown"] = labelled.unknown + feedback_labels.unknown
    if len(unreviewed):
        drawn_by = [CHOSEN] * len(unreviewed)
        review.write(log, unreviewed.index.to_numpy(), drawn_by, get_review_path(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft:
        rows.astype({"probability": float})[COLUMNS].to_csv(draft, index=False)
    return {name: counts[name] for name in COUNTS}


def get_review_path(output: Path) -> Path:
    """Return the path of the tweets with feedback beside a harvest."""
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


def _select_new(
    rows: pd.DataFrame, texts: set[str], test_texts: set[str], counts: Counter[str]
) -> pd.DataFrame:
    """Return the rows whose text is no duplicate of `texts`; count the others by outcome."""
    counts["without_text"] += int(rows["text"].isna().sum())
    rows = rows[rows["text"].notna()]
    canonical = pd.Series(canonical_texts(rows["text"]), index=rows.index, dtype="str")
    is_tested = canonical.isin(test_texts)
    is_duplicate = (canonical.isin(texts) | canonical.duplicated()) & ~is_tested
    counts["in_test"] += int(is_tested.sum())
    counts["duplicate"] += int(is_duplicate.sum())
    return rows[~(is_tested | is_duplicate)]
