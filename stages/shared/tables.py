"""Reads CSV files that a param names, and refuses wrong rows."""

from pathlib import Path

import pandas as pd

from common.errors import InputError
from locked.labels import LABELS


def read_csv(path: Path, columns: set[str], param: str) -> pd.DataFrame:
    """Return a CSV in UTF-8; each cell is a text, and a blank one is "".

    Raises InputError if the file or one of `columns` is missing, or it is no CSV; the message names
    file and row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist. Put the CSV there, or set {param} to none.csv"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a CSV in UTF-8: {error}") from error
    if missing := columns - set(table.columns):
        raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes a surplus cell for an index
        raise InputError(f"{path}: row 2: more cells than the header has; quote texts with commas")
    return table


def parse_labels(path: Path, labels: "pd.Series[str]") -> "pd.Series[str]":
    """Return labels as in LABELS, where they may be 0 or 1; refuse others."""
    parsed = labels.str.strip().replace({"0": LABELS[0], "1": LABELS[1]})
    refuse(path, ~parsed.isin(LABELS), labels, f"label must be {' or '.join(LABELS)}")
    return parsed


def refuse(path: Path, is_wrong: "pd.Series[bool]", values: pd.Series, rule: str) -> None:
    """Raise InputError for the first wrong row, if any."""
    for number, value in values[is_wrong].items():
        raise InputError(f"{path}: row {int(str(number)) + 2}: {rule} (got {value!r})")
