"""Times of any usual spelling, read in one way a column; what is unclear is named."""

import pandas as pd
import pyarrow
import pytest

from stages.prepare.times import UnclearTimeError, milliseconds


def read(*values: str) -> list[str]:
    times = milliseconds(pyarrow.chunked_array([list(values)], pyarrow.string()))
    return [pd.Timestamp(int(time), unit="ms").isoformat() for time in times]


@pytest.mark.parametrize(
    "value",
    [
        "2013-06-22T01:03:54.743Z",
        "2013-06-22 01:03:54.743+00:00",
        "22/6/2013 01:03:54.743",
        "6/22/13 01:03:54.743",
        "2013.6.22 01:03:54.743",
        "20130622T010354.743Z",
        "Sat Jun 22 01:03:54.743 +0000 2013",
        "Sat, 22 Jun 2013 01:03:54.743 GMT",
        "June 22nd, 2013 1:03:54.743 AM",
        "1371863034.743",
        "1.371863034743e+09",
        "1371863034743",
        "1371863034743000",
        "1371863034743000000",
        "348244924530950144",  # an id of a tweet
    ],
)
def test_times_of_any_spelling(value: str) -> None:
    assert read(value, value) == ["2013-06-22T01:03:54.743000"] * 2


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (["20130415", "2013-04-16"], ["2013-04-15", "2013-04-16"]),
        (["01.02.2013", "13.02.2013"], ["2013-02-01", "2013-02-13"]),
        (["01/02/2013", "2/13/2013"], ["2013-01-02", "2013-02-13"]),
        (["02.02.2013", "2013-02-03"], ["2013-02-02", "2013-02-03"]),
        (["Mon Feb 4 10:00:00 +0000 2013", "2013-02-05"], ["2013-02-04T10:00:00", "2013-02-05"]),
    ],
)
def test_days_are_told_by_the_column(values: list[str], days: list[str]) -> None:
    assert read(*values) == [pd.Timestamp(day).isoformat() for day in days]


@pytest.mark.parametrize(
    ("values", "at", "said"),
    [
        (["2013-06-22", "soon"], 1, "is no time"),
        (["2013-06-22", ""], 1, "is no time"),
        (["2013-06-22", "2013-02-30"], 1, "is no time"),
        (["2013-06-22", "2013-13-04"], 1, "is no time"),
        (["2013-06-22", "May"], 1, "is no time"),  # pandas takes the year 1
        (["2013-06-22", "12:30"], 1, "is no time"),  # and today
        (["2013-06-22", "Jun 2013"], 1, "is no time"),
        (["2013"], 0, "is no time"),
        (["41379.5"], 0, "is no time"),
        (["-1371863034"], 0, "is no time"),
        (["inf"], 0, "is no time"),
        (["1371863034", "1e400"], 1, "is no time"),
        (["1371863034", "9" * 400], 1, "is no time"),
        (["1371863034", "1371863035", "nan"], 2, "is no time"),
        (["2013-06-22", "1371863034"], 1, "is a number where others are dates"),
        (["1371863034", "1371863034000"], 1, "one of milliseconds where the first is one of sec"),
        (["1371863034", "348244924530950144"], 1, "one of ids of tweets, or nanoseconds where"),
        (["348244924530950144", "3.48E+17"], 1, "is a long number that has lost digits"),
        (["02.02.2013", "01.02.2013"], 1, "may begin with the day or the month"),
        (["13.02.2013", "2013-02-03", "01/02/2013"], 2, "is written otherwise than the dates"),
        (["13.02.2013", "1.2.2013", "02.13.2013"], 2, "has day and month in another order"),
        (["2013-02-13", "13-02-13"], 1, "has a year of two digits, or begins with it"),
    ],
)
def test_what_is_unclear_is_named(values: list[str], at: int, said: str) -> None:
    with pytest.raises(UnclearTimeError, match=said) as raised:
        read(*values)
    assert raised.value.at == at
