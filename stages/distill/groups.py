"""Compares a teacher's answers to the validation split with those to unseen groups.

The tweets of an event have words of their own, and a model learns them: on the next event it finds
fewer disasters and is wrong more often. A network's answers to its own training tweets do not show
this, and training it again for each group left out takes long. A teacher is fitted again in a
second, and `lock` carries the difference over to the network.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]  # (tweets, units)


def folds_of(train: pd.DataFrame, most: int) -> list[tuple[Rows, Rows]]:
    """Return folds of whole groups: the rows to fit to, and those to answer.

    There are none where the tweets have no groups, or too few to leave some out.
    """
    if "group" not in train:
        return []
    alone = train["group"] == ""  # a tweet without a group is a group of its own
    groups = train["group"].mask(alone, train.index.astype(str) + " alone").factorize()[0]
    if groups.max() == 0:
        return []
    folds = [*GroupKFold(min(most, groups.max() + 1)).split(train, groups=groups)]
    is_usable = all(train["target"].iloc[fitted].nunique() == 2 for fitted, _ in folds)
    return folds if is_usable else []


def answers(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    vectors: tuple[Vectors, Vectors],
    folds: list[tuple[Rows, Rows]],
    teacher: Callable[[int], Pipeline],
) -> pd.DataFrame:
    """Return a teacher's answers: `target`, `probability` and `judged`.

    `judged` is "validation", by a teacher fitted to the train split, or "unseen", by one that was
    fitted to no tweet of the same group.

    Args:
        train: `target` and `group` of each tweet.
        validation: likewise.
        vectors: of both.
        folds: of the train split, from `folds_of`.
        teacher: makes a model for so many tweets.

    """
    truth = train["target"].to_numpy()

    def answer(fitted: Rows, asked: Vectors) -> npt.NDArray[np.float64]:
        model = teacher(len(fitted)).fit(vectors[0][fitted], truth[fitted])
        return np.asarray(model.predict_proba(asked)[:, 1])

    out_of_group = np.zeros(len(train))
    for fitted, left_out in folds:
        out_of_group[left_out] = answer(fitted, vectors[0][left_out])
    scored = validation.assign(probability=answer(np.arange(len(train)), vectors[1]))
    is_new = ~validation["group"].isin(train["group"]) | (validation["group"] == "")
    parts = [
        scored.assign(judged="validation"),
        train.assign(probability=out_of_group, judged="unseen"),
        scored[is_new].assign(judged="unseen"),
    ]
    return pd.concat(parts, ignore_index=True)[["target", "probability", "judged"]]
