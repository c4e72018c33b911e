"""Times in each way that is read, a value at a time."""

import pandas as pd
import pyarrow
import pytest

from common.errors import InputError
from stages.prepare.times import TWITTER, milliseconds

MOMENT = "2013-06-22T01:03:54.743000"
DAY = "2013-06-22T00:00:00"


def read(value: str, form: str | None = None) -> str:
    times, unreadable = milliseconds(pyarrow.array(["2013-01-01", value]), form)
    return "" if unreadable[1] else pd.Timestamp(int(times[1]), unit="ms").isoformat()


MOMENTS = {
    MOMENT: [
        *("2013-06-22T01:03:54.743Z", " 2013-06-22 01:03:54.743+00:00", "20130622T010354.743Z"),
        *("2013-06-22T03:03:54.743+02:00", "1371863034.743", "1.371863034743e+09"),
        *("1371863034743", "1371863034743000"),
        "348244924530950144",  # an id of a tweet
    ],
    DAY: ["2013-06-22", "20130622"],
    "": [
        *("", "soon", "May", "12:30", "Jun 2013", "2013", "2013-02-30"),
        *("41379.5", "-1371863034", "inf", "nan", "1e400", "9" * 400, "9223372036854775808"),
        "22.06.2013",  # whether the day or the month is first is for the user to say
        "3.48244924530950144E+17",  # an id that has lost digits
    ],
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_times_are_read_one_by_one(moment: str) -> None:
    assert {value: read(value) for value in MOMENTS[moment]} == dict.fromkeys(
        MOMENTS[moment], moment
    )


def test_a_format_is_for_all_values() -> None:
    assert read("Sat Jun 22 01:03:54 +0000 2013", TWITTER) == "2013-06-22T01:03:54"
    assert read("22.06.2013", "%d.%m.%Y") == DAY
    assert read("2013-06-22", "%d.%m.%Y") == ""
    with pytest.raises(InputError, match=r"prepare.time_format: 'Q' is a bad directive"):
        read("2013", "%Q")
