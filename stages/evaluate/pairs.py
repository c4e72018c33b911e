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


def answer_pairs(path: Path, model: Classifier) -> pd.DataFrame:
    """Return the tweets of the pairs in a CSV of COLUMNS, with the model's `probability`.

    Raises InputError if the file cannot be read or is empty, or a pair is not one tweet of each
    label.
    """
    try:
        tweets = pd.read_csv(path, usecols=[*COLUMNS], dtype=str, encoding="utf-8-sig").fillna("")
    except (OSError, ValueError) as error:
        columns = f"the columns {', '.join(COLUMNS)}"
        raise InputError(f"{path} is not a CSV in UTF-8 with {columns}: {error}") from error
    if tweets.empty:
        raise InputError(f"{path} has no pairs; set evaluate.pairs to none.csv")
    for pair, both in tweets.groupby("pair", sort=False):
        if sorted(both["label"]) != sorted(LABELS) or both["kind"].nunique() > 1:
            raise InputError(
                f"{path}: pair {pair} must be two rows of one kind, with the labels "
                f"{' and '.join(LABELS)}"
            )
    return tweets.assign(probability=model.probabilities(tweets["text"].tolist()))


def judge_pairs(tweets: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """Return the figures of all pairs, then of each kind, the most frequent first.

    `both_right` is the share of pairs in which both labels are right, `interval_95` its Wilson
    interval, and `ranked` the share in which the disaster has the higher probability.
    """
    pairs = tweets.pivot(index=["pair", "kind"], columns="label", values="probability")
    no_disaster, disaster = (pairs[label] for label in LABELS)
    right = pd.DataFrame(
        {
            "both": (no_disaster < threshold) & (disaster >= threshold),
            "ranked": no_disaster < disaster,
        }
    )
    kinds = sorted(right.groupby("kind"), key=lambda kind: -len(kind[1]))
    return [
        {
            "kind": kind,
            "pairs": len(part),
            "both_right": float(part["both"].mean()),
            "interval_95": wilson(int(part["both"].sum()), len(part)),
            "ranked": float(part["ranked"].mean()),
        }
        for kind, part in [("all", right), *kinds]
    ]
