"""What a format has no form for is written otherwise, and can be read."""

import base64
import csv
import datetime
import decimal
import io
import json
import math
import uuid
from typing import Any

import pyarrow
import pytest

from score.formats import Kind, encode

DAY = datetime.datetime(2026, 11, 27, 1, 2, 3)
NESTED = {"tags": ["a", None], "place": {"at": [1.5, math.nan], "when": DAY}}
VALUES: dict[str, tuple[pyarrow.Array, object]] = {
    "list": (pyarrow.array([["a", "b,\n"]]), ["a", "b,\n"]),
    "large list": (pyarrow.array([[1]], pyarrow.large_list(pyarrow.int8())), [1]),
    "list of one size": (pyarrow.array([[1, 2]], pyarrow.list_(pyarrow.int8(), 2)), [1, 2]),
    "map": (
        pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
        [["a", 1]],
    ),
    "struct": (
        pyarrow.array([NESTED]),
        {"tags": ["a", None], "place": {"at": [1.5, None], "when": "2026-11-27T01:02:03"}},
    ),
    "none": (pyarrow.array([None], pyarrow.list_(pyarrow.int8())), None),
    "bytes": (pyarrow.array([b'\xff"']), base64.urlsafe_b64encode(b'\xff"').decode()),
    "category": (pyarrow.array(["a"]).dictionary_encode(), "a"),
    "view": (pyarrow.array(["é"], pyarrow.string_view()), "é"),
    "uuid": (pyarrow.array([b"a" * 16], pyarrow.uuid()), str(uuid.UUID(bytes=b"a" * 16))),
    "decimal": (pyarrow.array([decimal.Decimal("1.20")]), "1.20"),
    "time": (pyarrow.array([DAY]), "2026-11-27 01:02:03.000000"),
    "nanoseconds": (
        pyarrow.array([1], pyarrow.timestamp("ns")),
        "1970-01-01 00:00:00.000000001",
    ),
}


def lines(values: pyarrow.Array | pyarrow.ChunkedArray, kind: Kind) -> list[Any]:
    content = encode(pyarrow.table({"id": ["7"] * len(values), "it": values}), kind).decode()
    if kind == "csv":
        return [row["it"] for row in csv.DictReader(io.StringIO(content))]
    return [json.loads(line, parse_constant=pytest.fail)["it"] for line in content.splitlines()]


@pytest.mark.parametrize("case", VALUES)
def test_each_type_is_encode(case: str) -> None:
    values, expected = VALUES[case]
    assert lines(values, "jsonl") == [expected]
    (cell,) = lines(values, "csv")
    assert (cell or None if isinstance(expected, str | None) else json.loads(cell)) == expected


@pytest.mark.parametrize("kind", [pyarrow.float16(), pyarrow.float32(), pyarrow.float64()])
def test_json_has_null_for_what_is_no_number(kind: pyarrow.DataType) -> None:
    values = pyarrow.array([math.nan, math.inf, -math.inf, 0.5, None], kind)
    assert lines(values, "jsonl") == [None, None, None, 0.5, None]
    assert lines(values, "csv") == ["nan", "inf", "-inf", "0.5", ""]


def test_plain_columns_of_csv_stay_as_they_are() -> None:
    table = pyarrow.table({"n": [1, None], "yes": [True, None], "text": ['a "b",\nc', ""]})
    assert encode(table, "csv") == b'"n","yes","text"\n1,true,"a ""b"",\nc"\n,,""\n'
