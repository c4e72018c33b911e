"""Any table -> checked rows, or an error that names the place."""

import re
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from common.errors import InputError
from locked.text import MAX_TEXT
from stages.prepare.stage import prepare
from tests.stages.prepare.preparing import CLASSES, HEADER, NAMED, rows, run, settings, write


def test_only_text_and_target_are_required(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/in.csv", "w") as file:
        file.write("text,target\n" + "".join(f"words {i},{i % 2}\n" for i in range(300)))
    table = pd.concat(run("memory://bucket/in.csv", tmp_path / "out").values())
    assert set(table["id"]) == {str(i) for i in range(1, 301)}
    assert set(table["keyword"]) == {""}


def test_words_that_pandas_takes_for_blanks_are_kept(tmp_path: Path) -> None:
    lines = ["NA,forest%20fire,,null,1\n", "901,Sinking ,,NaN,0\n"]
    table = pd.concat(run(write(tmp_path / "in.csv", rows(300) + lines), tmp_path / "out").values())
    tweets = table[table["text"].isin(["null", "NaN"])].sort_values("text")
    assert tweets["keyword"].tolist() == ["sinking", "forest fire"]
    assert "NA" in set(table["id"])


BAD = {
    "missing text column": ("id,words\n1,a\n", "lacks the column text; it has: id, words. .*set p"),
    "empty file": ("", "the file is empty"),
    "header only": (HEADER, "no rows"),
    "one class only": (HEADER + "".join(f"{i},,,w {i},1\n" for i in range(99)), "only disaster"),
    "too few rows": (HEADER + "1,,,fire,1\n2,,,cake,0\n", "too few rows"),
    "target of yes": (
        HEADER + "1,,,a,0\n2,,,b,yes\n",
        "row 2: target is 'yes', which neither .*drop_others: true. Values here: '0' .1., 'yes'",
    ),
    "blank target": (HEADER + "1,,,a,\n", "data row 1: target is ''"),
    "blank text": (HEADER + "1,,,a,1\n2,,,  ,1\n", "data row 2: text is blank"),
    "more fields": (HEADER + "1,,,a,1,x\n2,,,b,0,y\n", "row 1: it has 6 fields, the header 5"),
    "too few fields": (HEADER + "1,,,a,1\n2,,\n", "data row 2: it has 3 fields"),
    "too long": (HEADER + f"1,,,{'a' * (MAX_TEXT + 1)},1\n", "data row 1: text is longer than 30"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_writes_nothing(tmp_path: Path, case: str) -> None:
    text, named = BAD[case]
    (tmp_path / "in.csv").write_text(text)
    with pytest.raises(InputError, match=f"in.csv: .*{named}"):
        run(tmp_path / "in.csv", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_columns_and_labels_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text(CLASSES)
    with pytest.raises(InputError, match=r"row 4: class is 'unsure', .* 'unsure' \(100\)"):
        run(tmp_path / "in.tsv", tmp_path / "out", **NAMED)
    p = settings(tmp_path / "in.tsv", **NAMED, drop_others=True)
    report = prepare(p, tmp_path / "out")
    assert report["other_labels"] == {"unsure": 100}
    assert (report["rows"]["read"], report["rows"]["kept"]) == (400, 300)
    tweets = pd.concat(pd.read_parquet(file) for file in (tmp_path / "out").glob("*.parquet"))
    assert tweets["target"].sum() == 200
    assert str(10**18 + 4) in set(tweets["id"])
    none = {"disaster": ["x"], "not_disaster": ["y"]}
    with pytest.raises(InputError, match=r"drop_others leaves no row; labels: 'rescue' \(100\)"):
        run(tmp_path / "in.tsv", tmp_path / "out", **NAMED | none, drop_others=True)


def test_labels_are_matched_without_case(tmp_path: Path) -> None:
    labels = ("Stra\u00dfe", "STRASSE", "no")
    lines = [f"thing {i} says {i * 7919},{labels[i % 3]}\n" for i in range(300)]
    source = write(tmp_path / "in.csv", lines, "text,target\n")
    named = {"disaster": ["stra\u00dfe"], "not_disaster": ["NO"]}
    tweets = pd.concat(run(source, tmp_path / "out", **named).values())
    assert tweets["target"].sum() == 200


@pytest.mark.parametrize("texts", [[1, 2], [["a"], ["b"]], [{"a": 1}, {"a": 2}]])
def test_a_text_is_a_string(tmp_path: Path, texts: list[object]) -> None:
    pd.DataFrame({"text": texts, "target": [1, 0]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: text is no text but (int64|list|struct)"):
        run(tmp_path / "in.parquet", tmp_path / "out")


def test_other_files_of_a_folder_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/tweets.csv", rows(300))
    (tmp_path / "in/README.md").write_text("# My tweets\n\nThey are mine.\n")
    reason = (
        r"in/README.md: the header lacks the column text; .* choose the tables by prepare.files"
    )
    with pytest.raises(InputError, match=reason):
        run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out", files="*.csv")


def test_a_folder_per_label(tmp_path: Path) -> None:
    for target in (0, 1):
        (tmp_path / f"in/target={target}").mkdir(parents=True)
        lines = [f"{i},thing {i} says {i * 7919}\n" for i in range(target, 300, 2)]
        write(tmp_path / f"in/target={target}/part.csv", lines, "id,text\n")
    tweets = pd.concat(run(tmp_path / "in", tmp_path / "out").values())
    assert (tweets["id"].astype(int) % 2 == tweets["target"]).all()
    assert len(tweets) == 300


def test_ids_that_lost_their_digits_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": [1.2e18, 7.0], "text": ["a", "b"], "target": [1, 0]})
    table.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in.parquet: id is stored as a float, which has lost"):
        run(tmp_path / "in.parquet", tmp_path / "out")


def test_short_ids_and_labels_may_be_floats(tmp_path: Path) -> None:
    lines = [(float(i) if i else None, f"thing {i} says {i * 7919}", i % 2 > 0) for i in range(300)]
    pd.DataFrame(lines, columns=["id", "text", "target"]).to_parquet(tmp_path / "in.parquet")
    tweets = pd.concat(run(tmp_path / "in.parquet", tmp_path / "out").values())
    assert {"", "1", "299"} <= set(tweets["id"])


def test_a_time_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    lines = [f"thing {i} says {i * 7919},{i % 2},2013-06-{i % 30 + 1:02}\n" for i in range(90)]
    source = write(tmp_path / "in.csv", [*lines, "a,1,22.06.2013\n"], "text,target,when\n")
    reason = "data row 91: when is no time that can be read (got '22.06.2013'); write ISO 8601, or"
    with pytest.raises(InputError, match=re.escape(reason) + " set prepare.time_format"):
        run(source, tmp_path / "out", time="when")
