"""Reads the tweets that another stage wrote."""

from pathlib import Path

import pandas as pd
import pyarrow

from common.errors import InputError


def read_tweets(path: Path) -> pd.DataFrame:
    """Return the rows of a Parquet file that another stage wrote.

    Raises:
        InputError: the file is damaged or empty, as after a power cut.

    """
    try:
        rows = pd.read_parquet(path)
    except pyarrow.ArrowException as error:
        reason = str(error)
    else:
        if len(rows):
            return rows
        reason = "it has no rows"
    raise InputError(
        f"{path}: cannot be used: {reason}. `python -m experiments.restore` removes damaged files, "
        "from DVC's cache too; then repeat `dvc repro`"
    )
