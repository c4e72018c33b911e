"""Tweets of a new event without labels, which the network learns from a teacher's predictions.

A large transfer set lets a small network match its teacher (Turc et al. 2019,
https://arxiv.org/abs/1908.08962).
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from common.errors import InputError
from stages.shared.duplicates import find_duplicates

Probabilities = npt.NDArray[np.float64]  # (tweets,)


def read_unlabelled(path: Path, judging: list[str], max_rows: int, seed: int) -> list[str]:
    """Return at most `max_rows` random texts of a CSV's column `text`.

    No text is a near-duplicate of another one or of `judging`, the texts of the validation and test
    split.

    Raises:
        InputError: the file cannot be read, or no text remains.

    """
    try:
        table = pd.read_csv(path, usecols=["text"], dtype=str, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a CSV in UTF-8 with a column text: {error}") from error
    texts = table["text"].dropna()
    candidates = pd.Series([*judging, *texts])
    near = find_duplicates(pyarrow.chunked_array([pyarrow.array(candidates)]), seed).near
    new = candidates[~pd.Series(near).duplicated()].loc[len(judging) :]
    if new.empty:
        raise InputError(f"{path}: no text is left without those of the validation and test split")
    drawn = new.sample(min(max_rows, len(new)), random_state=seed)
    print(
        f"{path}: {len(texts)} tweets, {len(texts) - len(new)} of them duplicates or "
        f"near-duplicates of others; {len(drawn)} are learnt"
    )
    return list(drawn)


def recalibrate(
    probabilities: Probabilities, judged: Probabilities, truth: npt.NDArray[np.int8]
) -> Probabilities:
    """Return a teacher's probabilities after Platt scaling on judged ones with known labels."""
    platt = LogisticRegression(C=np.inf).fit(logit(judged)[:, None], truth)
    return np.asarray(platt.predict_proba(logit(probabilities)[:, None])[:, 1])
