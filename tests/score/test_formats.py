"""Values that a format has no form for are written in another one, and can be read."""

import csv
import datetime
import decimal
import io
import json
import math
import uuid
from typing import Any

import pyarrow as pa
import pytest

from score.formats import Kind, encode

DAY = datetime.datetime(2026, 11, 27, 1, 2, 3)
NESTED = {"tags": ["a", None], "place": {"at": [1.5, math.nan], "when": DAY}}
PLAIN = {"tags": ["a", None], "place": {"at": [1.5, None], "when": "2026-11-27T01:02:03"}}


def values_of(rows: pa.Array, kind: Kind) -> list[Any]:
    content = encode(pa.table({"id": ["7"] * len(rows), "it": rows}), kind).decode()
    if kind == "csv":
        return [row["it"] for row in csv.DictReader(io.StringIO(content))]
    return [json.loads(line, parse_constant=pytest.fail)["it"] for line in content.splitlines()]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (pa.array([["a", "b,\n"]]), ["a", "b,\n"]),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), [["a", 1]]),
        (pa.array([NESTED]), PLAIN),
        (pa.array([None], pa.list_(pa.int8())), None),
        (pa.array([b'\xff"']), "_yI="),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array(["é"], pa.string_view()), "é"),
        (pa.array([b"a" * 16], pa.uuid()), str(uuid.UUID(bytes=b"a" * 16))),
        (pa.array([decimal.Decimal("1.20")]), "1.20"),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    ],
)
def test_each_type_has_a_form(rows: pa.Array, expected: object) -> None:
    assert values_of(rows, "jsonl") == [expected]
    (cell,) = values_of(rows, "csv")
    assert (cell or None if isinstance(expected, str | None) else json.loads(cell)) == expected


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_json_has_null_for_what_is_no_number(kind: pa.DataType) -> None:
    rows = pa.array([math.nan, math.inf, -math.inf, 0.5, None], kind)
    assert values_of(rows, "jsonl") == [None, None, None, 0.5, None]
    assert values_of(rows, "csv") == ["nan", "inf", "-inf", "0.5", ""]


def test_plain_columns_of_csv_stay_as_they_are() -> None:
    table = pa.table({"n": [1, None], "yes": [True, None], "text": ['a "b",\nc', ""]})
    assert encode(table, "csv") == b'"n","yes","text"\n1,true,"a ""b"",\nc"\n,,""\n'
