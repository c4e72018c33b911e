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
LEAST = 10  # labelled tweets
LEAST_OF_CLASS = 2  # so that one can be held out


@dataclass(frozen=True)
class Labelled:
    """Labelled tweets, no two of them the same."""

    texts: list[str]
    truth: npt.NDArray[np.int8]  # (tweets,), 1 is a disaster
    weights: npt.NDArray[np.float64]  # (tweets,), of mean 1


def read_labels(path: Path) -> Labelled:
    """Return the tweets of a CSV with the columns text, label and, optionally, drawn.

    A label is disaster (or 1) or not_disaster (or 0); a row without one (or with unsure) is left
    out. `drawn` is the probability with which a tweet was drawn; the tweet weighs 1 / drawn. The
    same tweet with the same label counts once.

    Raises:
        InputError: a column is missing, a value is wrong, two labels of one tweet differ, or there
            are too few labels. The message names file and row.

    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist. Put the CSV there, or reset lock.labels (null) or train.event "
            "(none.csv)"
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is not a CSV in UTF-8: {error}") from error
    if missing := {"text", "label"} - set(table.columns):
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
    table = table[~table["label"].str.strip().isin(UNLABELLED)]
    label = table["label"].str.strip().replace({"0": LABELS[0], "1": LABELS[1]})
    _refuse(path, ~label.isin(LABELS), table["label"], f"label must be {' or '.join(LABELS)}")
    drawn = pd.to_numeric(table.get("drawn", pd.Series("1", table.index)), errors="coerce")
    _refuse(path, ~drawn.between(0, 1, "right"), drawn, "drawn must be above 0 and at most 1")
    table = table.assign(
        truth=(label == LABELS[1]).astype(np.int8),
        weight=1 / drawn,
        canonical=canonical_texts(table["text"]),
    )
    conflict = table.groupby("canonical")["truth"].transform("nunique") > 1
    _refuse(path, conflict, table["text"], "one tweet has two labels")
    table = table.drop_duplicates("canonical")
    truth = table["truth"].to_numpy()
    rarer = min(truth.sum(), len(truth) - truth.sum())
    if len(table) < LEAST or rarer < LEAST_OF_CLASS:
        raise InputError(
            f"{path}: {len(table)} labelled tweets, {truth.sum()} of them disasters. An adaptation "
            f"needs {LEAST} or more, with {LEAST_OF_CLASS} or more of each label"
        )
    weights = table["weight"].to_numpy()
    return Labelled(table["text"].tolist(), truth, weights / weights.mean())


def _refuse(path: Path, wrong: "pd.Series[bool]", values: pd.Series, rule: str) -> None:
    for number, value in values[wrong].items():
        raise InputError(f"{path}: row {int(str(number)) + 2}: {rule} (got {value!r})")
