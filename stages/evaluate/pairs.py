"""Contrast pairs: two tweets that share most of their words, of which one reports a disaster.

A model that judges by topic answers both tweets of a pair alike (Gardner et al. 2020,
https://arxiv.org/abs/2004.02709).
"""

from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import InputError
from locked.classifier import Classifier
from locked.labels import LABELS
from stages.evaluate.metrics import wilson

COLUMNS = ("pair", "kind", "label", "text")


def read_pairs(path: Path) -> pd.DataFrame:
    """Return the pairs in a CSV of COLUMNS: `pair`, `kind`, and a text in a column for each label.

    Raises InputError if the file cannot be read, or a pair is not one tweet of each label.
    """
    try:
        tweets = pd.read_csv(path, usecols=[*COLUMNS], dtype=str, encoding="utf-8-sig").fillna("")
    except (OSError, ValueError) as error:
        columns = ", ".join(COLUMNS)
        raise InputError(
            f"{path} is not a CSV in UTF-8 with the columns {columns}: {error}"
        ) from error
    for pair, both in tweets.groupby("pair", sort=False):
        if sorted(both["label"]) != sorted(LABELS) or both["kind"].nunique() > 1:
            raise InputError(
                f"{path}: pair {pair} must be two rows of one kind, with the labels "
                f"{' and '.join(LABELS)}"
            )
    return tweets.pivot(index=["pair", "kind"], columns="label", values="text").reset_index()


def answer_pairs(model: Classifier, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `pairs` with P(disaster) instead of the texts."""
    texts = [*pairs[LABELS[0]], *pairs[LABELS[1]]]
    scores = model.probabilities(texts).reshape(2, len(pairs))
    return pairs.assign(**dict(zip(LABELS, scores, strict=True)))


def judge_pairs(pairs: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """Return the figures of all pairs, then of each kind, the most frequent first.

    `both_right` is the share of pairs in which both labels are right, `interval_95` its Wilson
    interval, and `ranked` the share in which the disaster has the higher probability.
    """
    no_disaster, disaster = (pairs[label] for label in LABELS)
    pairs = pairs.assign(
        both=(no_disaster < threshold) & (disaster >= threshold), ranked=no_disaster < disaster
    )
    kinds = [("all", pairs), *pairs.groupby("kind")]
    return [
        {
            "kind": kind,
            "pairs": len(part),
            "both_right": float(part["both"].mean()),
            "interval_95": wilson(int(part["both"].sum()), len(part)),
            "ranked": float(part["ranked"].mean()),
        }
        for kind, part in sorted(kinds, key=lambda each: -len(each[1]))
        if len(part)
    ]
