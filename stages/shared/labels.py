"""Reads the labelled tweets of an event."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.errors import InputError
from locked.labels import LABELS
from reader.canonical import canonical_texts

UNLABELLED = ("", "unsure")
MIN_TWEETS = 10  # labelled ones
MIN_OF_LABEL = 2


@dataclass(frozen=True)
class Labelled:
    """Labelled tweets without duplicates."""

    texts: list[str]
    truth: npt.NDArray[np.int8]  # (tweets,), 1 is a disaster


def read_labels(path: Path) -> Labelled:
    """Return the labelled tweets in a CSV with the columns text and label.

    A label is disaster (or 1) or not_disaster (or 0); rows with a blank label or unsure are left
    out. Of duplicates with equal labels, the first is kept.

    Raises:
        InputError: the file or a column is missing, a value is wrong, duplicates have different
            labels, or there are too few labels. The message names file and row.

    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist. Put the CSV there, or set train.event to none.csv"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is not a CSV in UTF-8: {error}") from error
    if missing := {"text", "label"} - set(table.columns):
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
    table = table[~table["label"].str.strip().isin(UNLABELLED)]
    label = table["label"].str.strip().replace({"0": LABELS[0], "1": LABELS[1]})
    _refuse(path, ~label.isin(LABELS), table["label"], f"label must be {' or '.join(LABELS)}")
    table = table.assign(
        truth=(label == LABELS[1]).astype(np.int8), canonical=canonical_texts(table["text"])
    )
    is_conflict = table.groupby("canonical")["truth"].transform("nunique") > 1
    _refuse(path, is_conflict, table["text"], "one tweet has two labels")
    table = table.drop_duplicates("canonical")
    truth = table["truth"].to_numpy()
    rarer = min(truth.sum(), len(truth) - truth.sum())
    if len(table) < MIN_TWEETS or rarer < MIN_OF_LABEL:
        raise InputError(
            f"{path}: {len(table)} labelled tweets, {truth.sum()} of them disasters. "
            f"{MIN_TWEETS} or more are needed, with {MIN_OF_LABEL} or more of each label"
        )
    return Labelled(table["text"].tolist(), truth)


def _refuse(path: Path, is_wrong: "pd.Series[bool]", values: pd.Series, rule: str) -> None:
    """Raise InputError for the first wrong row, if any."""
    for number, value in values[is_wrong].items():
        raise InputError(f"{path}: row {int(str(number)) + 2}: {rule} (got {value!r})")
