"""Any table -> checked rows, or an error that names the place."""

from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from common.errors import InputError
from locked.text import MAX_TEXT
from stages.prepare.source import _milliseconds
from stages.prepare.stage import prepare
from tests.stages.prepare.preparing import CLASSES, HEADER, NAMED, rows, run, settings, write


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tweets(source: Path | str, out: Path, **others: object) -> pd.DataFrame:
    return pd.concat(run(source, out, **others).values())


def test_only_text_and_target_are_required(out: Path) -> None:
    with fsspec.open("memory://bucket/in.csv", "w") as file:
        file.write("text,target\n" + "".join(f"words {i},{i % 2}\n" for i in range(300)))
    table = tweets("memory://bucket/in.csv", out)
    assert set(table["id"]) == {str(i) for i in range(1, 301)}
    assert set(table["keyword"]) == {""}


def test_words_that_pandas_takes_for_blanks_are_kept(tmp_path: Path, out: Path) -> None:
    lines = ["NA,forest%20fire,,null,1\n", "901,Sinking ,,NaN,0\n"]
    table = tweets(write(tmp_path / "in.csv", rows(300) + lines), out)
    blanks = table[table["text"].isin(["null", "NaN"])].sort_values("text")
    assert blanks["keyword"].tolist() == ["sinking", "forest fire"]
    assert "NA" in set(table["id"])


BAD = {
    "missing text column": ("id,words\n1,a\n", "lacks the column text; it has: id, words. .*set p"),
    "header only": (HEADER, "no rows"),
    "one class only": (HEADER + "".join(f"{i},,,w {i},1\n" for i in range(99)), "only disaster"),
    "too few rows": (HEADER + "1,,,fire,1\n2,,,cake,0\n", "too few rows"),
    "target of yes": (
        HEADER + "1,,,a,0\n2,,,b,yes\n",
        "row 2: target is 'yes', which neither .*drop_others: true. Values here: '0' .1., 'yes'",
    ),
    "blank target": (HEADER + "1,,,a,\n", "data row 1: target is ''"),
    "blank text": (HEADER + "1,,,a,1\n2,,,  ,1\n", "data row 2: text is blank"),
    "too long": (HEADER + f"1,,,{'a' * (MAX_TEXT + 1)},1\n", "data row 1: text is longer than 30"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_writes_nothing(tmp_path: Path, out: Path, case: str) -> None:
    text, reason = BAD[case]
    with pytest.raises(InputError, match=f"in.csv: .*{reason}"):
        run(write(tmp_path / "in.csv", [text], ""), out)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_columns_and_labels_of_another_name(tmp_path: Path, out: Path) -> None:
    source = write(tmp_path / "in.tsv", [CLASSES], "")
    with pytest.raises(InputError, match=r"row 4: class is 'unsure', .* 'unsure' \(100\)"):
        run(source, out, **NAMED)
    report = prepare(settings(source, **NAMED, drop_others=True), out)
    assert report["other_labels"] == {"unsure": 100}
    assert (report["rows"]["read"], report["rows"]["kept"]) == (400, 300)
    table = pd.concat(pd.read_parquet(file) for file in out.glob("*.parquet"))
    assert table["target"].sum() == 200
    assert str(10**18 + 4) in set(table["id"])
    none = {"disaster": ["x"], "not_disaster": ["y"]}
    with pytest.raises(InputError, match=r"drop_others leaves no row; labels: 'rescue' \(100\)"):
        run(source, out, **NAMED | none, drop_others=True)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"text": [1, 2]}, "text has the type int64"),
        ({"text": [["a"], ["b"]]}, "text has the type list"),
        ({"text": [{"a": 1}, {"a": 2}]}, "text has the type struct"),
        ({"text": ["a b…", "c"], "full_text": ["a b c", None]}, r"data row 1: text is truncated"),
        ({"id": [1.2e18, 7.0]}, "id is stored as a float, which has lost"),
    ],
)
def test_a_column_of_another_type_is_named(
    tmp_path: Path, out: Path, columns: dict[str, list[object]], reason: str
) -> None:
    table = pd.DataFrame({"text": ["a", "b"], "target": [1, 0], **columns})
    table.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=f"in.parquet: {reason}"):
        run(tmp_path / "in.parquet", out)


def test_short_ids_and_labels_may_be_floats(tmp_path: Path, out: Path) -> None:
    lines = [(float(i) if i else None, f"thing {i} says {i * 7919}", i % 2 > 0) for i in range(300)]
    pd.DataFrame(lines, columns=["id", "text", "target"]).to_parquet(tmp_path / "in.parquet")
    assert {"", "1", "299"} <= set(tweets(tmp_path / "in.parquet", out)["id"])


def test_other_files_of_a_folder_can_be_left_out(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in/tweets.csv", rows(300))
    write(tmp_path / "in/README.md", ["# My tweets\n\nThey are mine.\n"], "")
    reason = r"README.md: the header lacks the column text; .* leave this file out by prepare.files"
    with pytest.raises(InputError, match=reason):
        run(tmp_path / "in", out)
    assert run(tmp_path / "in", out, files="*.csv")


MOMENT = "2013-06-22T01:03:54.743"
TWITTER = "%a %b %d %H:%M:%S %z %Y"
TIMES = [
    ("2013-06-22T01:03:54.743Z", None, MOMENT),
    ("2013-06-22 03:03:54.743+02:00", None, MOMENT),
    ("20130622T010354.743Z", None, MOMENT),
    ("348244924530950144", None, MOMENT),  # the id of a tweet
    ("2013-06-22", None, "2013-06-22T00:00:00.000"),
    ("22.06.2013", "%d.%m.%Y", "2013-06-22T00:00:00.000"),
    ("Sat Jun 22 01:03:54 +0000 2013", TWITTER, "2013-06-22T01:03:54.000"),
    ("348244924530950144", TWITTER, None),
    *((value, None, None) for value in ("", "soon", "2013-02-30", "22.06.2013", "1371863034")),
    *((value, None, None) for value in ("3.48244924530950144E+17", "9223372036854775808")),
]


@pytest.mark.parametrize(("value", "form", "time"), TIMES)
def test_times(value: str, form: str | None, time: str | None) -> None:
    (milliseconds,), (is_unreadable,) = _milliseconds(pd.Series([value]), form)
    assert is_unreadable == (time is None)
    assert is_unreadable or np.datetime64(int(milliseconds), "ms") == np.datetime64(time)


def test_a_time_that_cannot_be_read_is_named(tmp_path: Path, out: Path) -> None:
    source = write(tmp_path / "in.csv", ["a,1,2013-06-01\n", "a,1,22.06.2013\n"], "text,target,t\n")
    reason = (
        r"row 2: t is not a readable time \(got '22.06.2013'\); write ISO 8601, or set prepare.t"
    )
    with pytest.raises(InputError, match=reason):
        run(source, out, time="t")
    with pytest.raises(InputError, match=r"prepare.time_format: 'Q' is a bad directive"):
        run(source, out, time="t", time_format="%Q")
