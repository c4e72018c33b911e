"""Contrast pairs: two tweets that share many words, of which only one reports a disaster.

A model that judges by topic gives both the same label (Gardner et al. 2020,
https://arxiv.org/abs/2004.02709).
"""

from pathlib import Path
from typing import Any

import pandas as pd

from common.errors import InputError
from locked.classifier import Classifier
from locked.labels import LABELS
from stages.evaluate.metrics import wilson
from stages.shared.tables import parse_labels, read_csv, refuse

COLUMNS = ["pair", "kind", "label", "text"]


def answer_pairs(path: Path, model: Classifier) -> pd.DataFrame:
    """Return the tweets of the pairs in a CSV of COLUMNS, with the model's `probability`.

    Raises InputError if the file is missing or empty, a value is wrong, or a pair is not one tweet
    of each label; the message names file and row.
    """
    tweets = read_csv(path, {*COLUMNS}, "evaluate.pairs")[COLUMNS]
    if tweets.empty:
        raise InputError(f"{path} has no pairs; set evaluate.pairs to none.csv")
    for column in COLUMNS:
        values = tweets[column]
        refuse(path, values.str.strip() == "", values, f"{column} must not be blank")
    is_word = tweets["kind"].str.fullmatch(r"[\w ,-]+")
    refuse(path, ~is_word, tweets["kind"], "kind must consist of words")
    tweets["label"] = parse_labels(path, tweets["label"])
    by_pair = tweets.groupby("pair")
    sizes, labels = (by_pair["label"].transform(each) for each in ("size", "nunique"))
    is_whole = (sizes == 2) & (labels == 2)
    refuse(path, ~is_whole, tweets["pair"], f"a pair must have one {' and one '.join(LABELS)}")
    has_two_kinds = by_pair["kind"].transform("nunique") == 2
    refuse(path, has_two_kinds, tweets["kind"], "both tweets of a pair must have the same kind")
    return tweets.assign(probability=model.probabilities(tweets["text"].tolist()))


def judge_pairs(tweets: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Return the figures of `all` pairs, and of `kinds`, the most frequent kind first.

    `both_right` is the share of pairs in which both labels are right, `interval_95` its Wilson
    interval, and `ranked` the share in which the disaster has the higher probability.
    """
    pairs = tweets.pivot(index=["pair", "kind"], columns="label", values="probability")
    no_disaster, disaster = (pairs[label] for label in LABELS)
    pairs["both_right"] = (no_disaster < threshold) & (disaster >= threshold)
    pairs["ranked"] = no_disaster < disaster
    kinds = sorted(pairs.groupby("kind"), key=lambda group: -len(group[1]))
    return {"all": _figures(pairs), "kinds": {kind: _figures(group) for kind, group in kinds}}


def _figures(pairs: pd.DataFrame) -> dict[str, Any]:
    return {
        "pairs": len(pairs),
        "both_right": float(pairs["both_right"].mean()),
        "interval_95": wilson(int(pairs["both_right"].sum()), len(pairs)),
        "ranked": float(pairs["ranked"].mean()),
    }
