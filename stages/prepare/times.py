"""Reads times: ISO 8601, numbers since 1970, ids of tweets, or a format that the user names."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from common.errors import InputError

ISO = r"\d{4}-?\d\d-?\d\d([T ]\d.*)?"
NUMBER = r"\d+(\.\d+)?([eE]\+?\d+)?"
UNITS = {1e9: 1e3, 1e12: 1.0, 1e15: 1e-3}  # the least number of s, ms, µs (in 2001): ms of a unit
ID = r"\d{17,19}"  # of a tweet, in Twitter's snowflakes, which hold their time
LEAST_ID, LAST_ID = 2**54, 2**63  # from November 2010 on
EPOCH = 1_288_834_974_657  # ms, when snowflakes began
TWITTER = "%a %b %d %H:%M:%S %z %Y"  # Sat Jun 22 01:03:54 +0000 2013
ADVICE = f"write ISO 8601, or set prepare.time_format; Twitter's own is '{TWITTER}'"


def milliseconds(
    values: pyarrow.Array, form: str | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the ms from 1970 to each time (in UTC without a zone), and which are unreadable.

    Raises InputError if `form` is no format of strptime.
    """
    texts = pd.Series(values.to_pandas(), dtype=str).str.strip()
    if form:
        try:
            return _of_dates(texts, form)
        except ValueError as error:
            raise InputError(f"prepare.time_format: {error}") from error
    times, unreadable = _of_dates(texts.where(texts.str.fullmatch(ISO), ""), "ISO8601")
    numbers = pd.to_numeric(texts.where(texts.str.fullmatch(NUMBER)), errors="coerce").to_numpy(
        float
    )
    for least, factor in UNITS.items():
        within = (numbers >= least) & (numbers < least * 10)
        times[within] = np.rint(numbers[within] * factor)
        unreadable &= ~within
    ids = (numbers > LEAST_ID) & (numbers < LAST_ID) & texts.str.fullmatch(ID).to_numpy(bool)
    times[ids] = (texts[ids].to_numpy(np.int64) >> 22) + EPOCH
    return times, unreadable & ~ids


def _of_dates(texts: "pd.Series[Any]", form: str) -> tuple[Any, Any]:
    times = pd.to_datetime(texts, errors="coerce", utc=True, format=form).dt.tz_localize(None)
    return times.to_numpy("datetime64[ms]").astype(np.int64), times.isna().to_numpy(copy=True)
