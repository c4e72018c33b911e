"""Parses times: ISO 8601, numbers since 1970, ids of tweets, or a format that the user sets."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow

from common.errors import InputError

ISO = r"\d{4}-?\d\d-?\d\d([T ]\d.*)?"
NUMBER = r"\d+(\.\d+)?([eE]\+?\d+)?"
UNITS = {1e9: 1e3, 1e12: 1.0, 1e15: 1e-3}  # least number (in 2001) of s, ms and µs: ms per unit
ID = r"\d{17,19}"  # of a tweet: a snowflake, which contains its time
LEAST_ID, LAST_ID = 2**54, 2**63  # snowflakes from November 2010 on
EPOCH = 1_288_834_974_657  # ms from 1970 to the time 0 of snowflakes
TWITTER = "%a %b %d %H:%M:%S %z %Y"  # Sat Jun 22 01:03:54 +0000 2013
ADVICE = f"write ISO 8601, or set prepare.time_format; Twitter's own is '{TWITTER}'"


def milliseconds(
    values: pyarrow.Array, form: str | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the ms from 1970 to each time, and a mask of unreadable values: (values,) each.

    Times without a zone are in UTC. Without the strptime format `form`, the format is detected.

    Raises InputError if `form` is not valid.
    """
    texts = pd.Series(values.to_pandas(), dtype=str).str.strip()
    if form:
        try:
            return _parse_dates(texts, form)
        except ValueError as error:
            raise InputError(f"prepare.time_format: {error}") from error
    times, is_unreadable = _parse_dates(texts.where(texts.str.fullmatch(ISO), ""), "ISO8601")
    digits = texts.where(texts.str.fullmatch(NUMBER))
    numbers = pd.to_numeric(digits, errors="coerce").to_numpy(float)
    for least, factor in UNITS.items():
        is_in_unit = (numbers >= least) & (numbers < least * 10)
        times[is_in_unit] = np.rint(numbers[is_in_unit] * factor)
        is_unreadable &= ~is_in_unit
    is_id = (numbers > LEAST_ID) & (numbers < LAST_ID) & texts.str.fullmatch(ID).to_numpy(bool)
    times[is_id] = (texts[is_id].to_numpy(np.int64) >> 22) + EPOCH
    return times, is_unreadable & ~is_id


def _parse_dates(texts: "pd.Series[Any]", form: str) -> tuple[Any, Any]:
    times = pd.to_datetime(texts, errors="coerce", utc=True, format=form).dt.tz_localize(None)
    return times.to_numpy("datetime64[ms]").astype(np.int64), times.isna().to_numpy(copy=True)
