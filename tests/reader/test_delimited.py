"""Quotes, names and rows of CSV files as people have them."""

from pathlib import Path

import pytest

from common.errors import InputError
from reader.format import Format
from reader.open import opened
from tests.reader.reading import FORM, read, refusals

PLAIN = "".join(f"tweet number {i},{i % 2}\n" for i in range(9))


@pytest.mark.parametrize(
    ("content", "quotes", "texts"),
    [
        ('text,target\n"flood 1,1\n"flood 2,0\n', "none", ['"flood 1', '"flood 2']),
        # the quotes would swallow rows
        ('text,target\n"a,1\nb,0\nno way",0\nc,1\n', "none", ['"a', "b", 'no way"', "c"]),
        ('target,text\n1,"Fire, at:\n\n0, a\nb"\n0,c\n', "double", ["Fire, at:\n\n0, a\nb", "c"]),
        ('text,target\n"a \\"hi\\", b",1\n"c",0\n', "backslash", ['a "hi", b', "c"]),
        ('\n"the\nid","text",target\n1,"fire,\nrun",1\n', "double", ["fire,\nrun"]),
    ],
)
def test_quotes_are_detected(tmp_path: Path, content: str, quotes: str, texts: list[str]) -> None:
    (tmp_path / "in.csv").write_text(content)
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert table.about["quotes"] == quotes
        rows = [row["text"] for c in table.chunks(["text"]) for row in c.table.to_pylist()]
    assert rows == texts


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ('"flood,1\nnoodles,0\nno",0\n', "a quote swallows the rows below; .* prepare.quotes"),
        ('"flood,1\n', "a quote is never closed"),
        ('"flood" now,1\n', "a quote is out of place"),
        ("flood,1,2\n", r"it has 3 fields, the header 2 \('flood,1,2'\)"),
    ],
)
def test_a_wrong_row_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, reason: str
) -> None:
    monkeypatch.setattr("reader.delimited.SAMPLE_LINES", 5)
    (tmp_path / "in.csv").write_text("text,target\n" + PLAIN + rows + PLAIN, newline="")
    with pytest.raises(InputError, match=f"in.csv: data row 10: {reason}"):
        read(tmp_path / "in.csv")
    set_to = Format("text", "target", FORM.labels, quotes="none")
    if rows.startswith('"flood,'):
        assert len(read(tmp_path / "in.csv", set_to)[1]) == 18 + rows.count("\n")


def test_names_are_matched_without_case_space_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("'id', Text , target;;\n1, fire,1\n")
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        names = ["'id'", "Text", "target;;"]
        assert table.columns == names
        assert [table.optional(name) for name in ("ID", "text", "keyword")] == [*names[:2], None]
        assert next(iter(table.chunks(["Text"]))).table.to_pylist() == [{"Text": "fire"}]
        message = r"in.csv: the header lacks the column label; it has: 'id', Text, target;;; set it"
        with pytest.raises(InputError, match=message):
            table.column("label", "set it")


def test_columns_of_one_name_and_without_a_name(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Text,TEXT\na,b\n")
    several = pytest.raises(InputError, match=r"in.csv: several columns are called text")
    with opened(str(tmp_path / "in.csv"), FORM) as table, several:
        table.optional("text")
    (tmp_path / "in.csv").write_text("a|text;target;;\nfire;1;a;b\n")
    with opened(str(tmp_path / "in.csv"), Format("target")) as table:
        assert table.columns == ["a|text", "target", "", " (2)"]
    assert read(tmp_path / "in.csv", Format("target"))[1] == [("fire", "1", "a", "b")]


def test_the_column_of_texts_or_excel_names_the_separator(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id;text;what, if, any, at all\n1;fire;no\n")
    assert read(tmp_path / "in.csv")[1] == [("1", "fire", "no")]
    (tmp_path / "in.csv").write_text("sep=;\r\na,b;text\r\n1;fire\r\n", "utf-8-sig", newline="")
    assert read(tmp_path / "in.csv")[1] == [("1", "fire")]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;", "\ufeffsep=;"])
def test_excel_declares_the_separator_and_may_do_so_again(tmp_path: Path, first: str) -> None:
    content = f"{first}\r\na,b;text\r\n1;fire\r\n{first}\r\na,b;text\r\n2;cake\r\n"
    (tmp_path / "in.csv").write_text(content, newline="")
    again = [(2, "the header again"), (3, "the header again")]
    assert refusals(tmp_path / "in.csv") == ([1, 4], again)
    assert read(tmp_path / "in.csv")[1] == [("1", "fire"), ("2", "cake")]


@pytest.mark.parametrize("again", ["id,text", "\ufeffid,text", '\ufeff"id",text'])
def test_a_header_again_is_left_out(tmp_path: Path, again: str) -> None:
    (tmp_path / "in.csv").write_text(f"id,text\n1,a\n{again}\n3,c\n")
    assert refusals(tmp_path / "in.csv") == ([1, 3], [(2, "the header again")])
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert [chunk.table["text"].to_pylist() for chunk in table.chunks(["text"])] == [["a", "c"]]
        assert table.repeated_headers == [2]


def test_rows_have_their_numbers_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,a\n\n2,b\nbroken\n\n4,"c"d\n5,e\n')
    numbers, refused = refusals(tmp_path / "in.csv")
    assert numbers == [1, 2, 5]
    assert refused[0][0] == 3
    assert refused[0][1].startswith("it has 1 fields, the header 2 ('broken'); put a text")
    assert refused[1][0] == 4
    assert refused[1][1].startswith("a quote is out of place; correct it, or set prepare.quotes")
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        parts = [chunk.table for chunk in table.chunks(["text"], lambda *_: None, max_rows=2)]
        assert [part["text"].to_pylist() for part in parts] == [["a", "b"], ["e"]]
