"""When tweets were written, whatever a table's spelling; one column is read in one way."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from pandas.tseries.api import guess_datetime_format

Milliseconds = npt.NDArray[np.int64]  # since 1970
SNOWFLAKE = 2**54  # numbers above are ids of tweets, which hold their time: later than 2010
EPOCH = 1_288_834_974_657  # ms, when Twitter's snowflakes began
UNITS = {"seconds": 1e9, "milliseconds": 1e12, "microseconds": 1e15}  # from 2001 on, to 2286
LONG = "ids of tweets, or nanoseconds"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
TWO_NUMBERS = (
    r"^(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})[./-](?P<year>\d{4}|\d\d)(?:[T ,]|$)"
)
ISO = r"^\d{4}-\d\d-\d\d([T ]|$)"
NAMED = (  # a month, a day and a year, in any order
    r"(?i)\b(jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\b",
    r"(?i)(^|[ ,-])\d{1,2}(st|nd|rd|th)?([ ,.-]|$)",
    r"(^|[ ,-])\d{4}([ ,]|$)",
)

FORMS = (  # what pandas cannot guess: Twitter's own, and clocks of twelve hours
    "%a %b %d %H:%M:%S %z %Y",
    "%Y-%m-%d %I:%M %p",
    "%Y-%m-%d %I:%M:%S %p",
)


class UnclearTimeError(ValueError):
    """A value has no time, or may have several; `at` is its place."""

    def __init__(self, wrong: npt.NDArray[np.bool_], reason: str) -> None:
        super().__init__(reason)
        self.at = int(np.argmax(wrong))


def milliseconds(values: pyarrow.ChunkedArray) -> Milliseconds:
    """Read a column of times.

    Numbers are seconds, milliseconds, microseconds or, where they end in six zeros, nanoseconds
    since 1970, else ids of tweets; eight digits are a date. Dates have a day, a month and a year;
    those that begin with two numbers are read as the one of them tells that can only be a day.

    Raises:
        UnclearTimeError: a value is no time, or is unlike the others.

    """
    texts = pc.utf8_trim_whitespace(values)
    texts = pc.replace_substring_regex(texts, r"^(\d{4})(\d\d)(\d\d)([T ]|$)", r"\1-\2-\3\4")
    number = np.asarray(pc.match_substring_regex(texts, NUMBER))
    if number.all():
        return _of_numbers(texts)
    if number.mean() > 0.5:
        raise UnclearTimeError(~number, "is no time")
    if number.any():
        raise UnclearTimeError(number, "is a number where others are dates")
    return _of_dates(texts)


def _of_numbers(texts: pyarrow.ChunkedArray) -> Milliseconds:
    numbers = np.asarray(pc.cast(texts, pyarrow.float64()))
    units = [*UNITS, LONG]
    within = [(numbers >= least) & (numbers < least * 10) for least in UNITS.values()]
    within.append((numbers > SNOWFLAKE) & (numbers < 2**63))
    which = np.select(within, range(len(units)), -1)
    if (which < 0).any():
        raise UnclearTimeError(which < 0, "is no time")
    if len(which) and (other := which != which[0]).any():
        found, first = units[which[other][0]], units[which[0]]
        raise UnclearTimeError(other, f"is one of {found} where the first is one of {first}")
    if len(which) and units[which[0]] != LONG:
        return np.asarray(numbers * (1e12 / [*UNITS.values()][which[0]]), dtype=np.int64)
    digits = np.asarray(pc.match_substring_regex(texts, r"^\d+$"))
    if not digits.all():
        raise UnclearTimeError(~digits, "is a long number that has lost digits")
    whole = np.asarray(pc.cast(texts, pyarrow.int64()))
    if (whole % 10**6 == 0).all():
        return np.asarray(whole // 10**6)
    return np.asarray((whole >> 22) + EPOCH)


def _of_dates(texts: pyarrow.ChunkedArray) -> Milliseconds:
    texts = _year_first(texts)
    for found, said in (
        (r"^(\d{4})[./-](\d{1,2})[./-](\d{1,2})([T ,]|$)", r"\1-\2-\3\4"),
        (r"^(\d{4})-(\d)-", r"\1-0\2-"),
        (r"^(\d{4}-\d\d)-(\d)([T ,]|$)", r"\1-0\2\3"),
        (r"^(\d{4}-\d\d-\d\d),? +", r"\1 "),
    ):
        texts = pc.replace_substring_regex(texts, found, said)
    whole = np.asarray(pc.match_substring_regex(texts, ISO))
    named = [np.asarray(pc.match_substring_regex(texts, part)) for part in NAMED]
    if (wrong := ~(whole | np.all(named, axis=0))).any():
        raise UnclearTimeError(wrong, "is no time")
    spelt = texts.to_pandas()
    first = spelt.iloc[:1]
    guess = guess_datetime_format(first[0]) or "mixed"
    # One form for most rows, for it is a hundred times faster than "mixed".
    times = _parsed(spelt, next((f for f in FORMS if _parsed(first, f).notna().all()), guess))
    if (left := times.isna()).any():
        times[left] = _parsed(spelt[left], "mixed")
    if (wrong := times.isna().to_numpy()).any():
        raise UnclearTimeError(wrong, "is no time")
    return np.asarray(times.astype("int64"))


def _parsed(spelt: "pd.Series[str]", form: str) -> "pd.Series[Any]":
    return pd.to_datetime(spelt, errors="coerce", utc=True, format=form).dt.as_unit("ms")


def _year_first(texts: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Bring dates that begin with two numbers, a day and a month, into one order."""
    parts = pc.extract_regex(texts, TWO_NUMBERS)
    first, second = (
        np.asarray(pc.fill_null(pc.cast(pc.struct_field(parts, name), pyarrow.int64()), 0))
        for name in ("first", "second")
    )
    marks = pc.struct_field(parts, "mark")
    if len(kinds := pc.unique(marks.drop_null())) > 1:
        other = pc.fill_null(pc.equal(marks, kinds[1]), False)
        raise UnclearTimeError(np.asarray(other), "is written otherwise than the dates above")
    by_day, by_month = first > 12, second > 12
    if by_day.any() and by_month.any():
        later = by_day if np.argmax(by_day) > np.argmax(by_month) else by_month
        raise UnclearTimeError(later, "has day and month in another order than a row above")
    if (first != second).any() and not (by_day.any() or by_month.any()):
        raise UnclearTimeError(
            first != second, "may begin with the day or the month, and no row tells which"
        )
    short = np.asarray(pc.equal(pc.utf8_length(pc.struct_field(parts, "year")), 2).fill_null(False))
    if short.any() and not by_month.any():
        raise UnclearTimeError(short, "has a year of two digits, or begins with it")
    order = r"\2-\1" if by_day.any() else r"\1-\2"
    for year, written in ((r"(\d{4})", r"\3"), (r"(\d\d)", r"20\3")):
        found = rf"^(\d{{1,2}})[./-](\d{{1,2}})[./-]{year}([T ,]|$)"
        texts = pc.replace_substring_regex(texts, found, rf"{written}-{order}\4")
    return texts
