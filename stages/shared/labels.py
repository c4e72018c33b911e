"""Reads the labelled tweets of an event."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from locked.labels import LABELS
from reader.canonical import canonical_texts
from stages.shared.tables import parse_labels, read_csv, refuse

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
    table = read_csv(path, {"text", "label"}, "train.event")
    table = table[~table["label"].str.strip().isin(UNLABELLED)]
    refuse(path, table["text"].str.strip() == "", table["text"], "text must not be blank")
    is_disaster = parse_labels(path, table["label"]) == LABELS[1]
    table = table.assign(
        truth=is_disaster.astype(np.int8), canonical=canonical_texts(table["text"])
    )
    is_conflict = table.groupby("canonical")["truth"].transform("nunique") > 1
    refuse(path, is_conflict, table["text"], "one tweet has two labels")
    table = table.drop_duplicates("canonical")
    truth = table["truth"].to_numpy()
    rarer = min(truth.sum(), len(truth) - truth.sum())
    if len(table) < MIN_TWEETS or rarer < MIN_OF_LABEL:
        raise InputError(
            f"{path}: {len(table)} labelled tweets, {truth.sum()} of them disasters. "
            f"{MIN_TWEETS} or more are needed, with {MIN_OF_LABEL} or more of each label"
        )
    return Labelled(table["text"].tolist(), truth)
