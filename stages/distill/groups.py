"""Lets a teacher answer the validation split and unseen groups, for the calibration in `export`.

A model learns the words of its training events, so on another event it finds fewer disasters and is
wrong more often. A network's answers to its own training tweets do not show this, and training it
again without each fold of groups takes long. A teacher is fitted in a second; `export` applies the
difference between its two sets of answers to the network's calibration.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

Rows = npt.NDArray[np.int64]  # indices of tweets
Vectors = npt.NDArray[np.float32]  # (tweets, units)


def make_folds(train: pd.DataFrame, max_folds: int) -> list[tuple[Rows, Rows]]:
    """Return folds of whole groups: the rows to fit a teacher to, and the rows to answer.

    The list is empty if the tweets have no groups or only one, or if both classes do not occur in
    the rows to fit to of each fold.
    """
    if "group" not in train:
        return []
    is_ungrouped = train["group"] == ""  # such a tweet is a group of its own
    groups = train["group"].mask(is_ungrouped, train.index.astype(str) + " alone").factorize()[0]
    if groups.max() == 0:
        return []
    folds = [*GroupKFold(min(max_folds, groups.max() + 1)).split(train, groups=groups)]
    is_usable = all(train["target"].iloc[fitted].nunique() == 2 for fitted, _ in folds)
    return folds if is_usable else []


def answer_groups(
    train: pd.DataFrame,
    validation: pd.DataFrame,
    vectors: tuple[Vectors, Vectors],
    folds: list[tuple[Rows, Rows]],
    teacher: Callable[[int], Pipeline],
) -> pd.DataFrame:
    """Return a teacher's answers, a row each: `target`, `probability` and `judged`.

    `judged` is "validation" for the validation split, answered by a teacher that was fitted to the
    train split. It is "unseen" for answers of a teacher that was fitted to no tweet of the group.

    Args:
        train: `target` and `group` of each tweet.
        validation: likewise.
        vectors: the base model's vectors of both, as `embed` returns them.
        folds: of the train split, from `make_folds`.
        teacher: returns an unfitted model; its argument is the number of tweets to fit to.

    """
    train_vectors, validation_vectors = vectors
    truth = train["target"].to_numpy()

    def answer(fitted: Rows, vectors: Vectors) -> npt.NDArray[np.float64]:
        model = teacher(len(fitted)).fit(train_vectors[fitted], truth[fitted])
        return np.asarray(model.predict_proba(vectors)[:, 1])

    out_of_group = np.zeros(len(train))
    for fitted, left_out in folds:
        out_of_group[left_out] = answer(fitted, train_vectors[left_out])
    answers = validation.assign(probability=answer(np.arange(len(train)), validation_vectors))
    is_new = ~validation["group"].isin(train["group"]) | (validation["group"] == "")
    parts = [
        answers.assign(judged="validation"),
        train.assign(probability=out_of_group, judged="unseen"),
        answers[is_new].assign(judged="unseen"),
    ]
    return pd.concat(parts, ignore_index=True)[["target", "probability", "judged"]]
