"""Quotes, names and rows of CSV files as people have them."""

import re
from pathlib import Path

import pyarrow
import pytest

from common.errors import InputError
from reader.format import Format
from reader.open import opened

FORM = Format("text", "target", frozenset({"0", "1"}), prefix="prepare.")


def read(path: Path, content: str, form: Format = FORM) -> tuple[str, list[str]]:
    """Return how quotes were read, and the texts."""
    path.write_text(content, encoding="utf-8")
    with opened(str(path), form) as table:
        text = table.column("text", "prepare.text")
        parts = [chunk.table[text] for chunk in table.chunks([text])]
        return table.about["quotes"], pyarrow.chunked_array(parts).to_pylist()


def plain(count: int) -> str:
    return "".join(f"tweet number {i},{i % 2}\n" for i in range(count))


def test_lone_quotes_are_ordinary_characters(tmp_path: Path) -> None:
    lines = ["text,target", *(f'"flood at gate {i},{i % 2}' for i in range(400))]
    quotes, texts = read(tmp_path / "in.csv", "\n".join(lines))
    assert quotes == "none"
    assert texts == [f'"flood at gate {i}' for i in range(400)]


def test_quotes_that_would_swallow_rows_are_ordinary_characters(tmp_path: Path) -> None:
    content = "text,target\n" + '"flood at gate,1\nbest noodles ever,0\nno way",0\n' + plain(9)
    quotes, texts = read(tmp_path / "in.csv", content)
    assert quotes == "none"
    assert len(texts) == 12


def test_a_tweet_of_several_lines_is_one(tmp_path: Path) -> None:
    content = 'target,text\n1,"Fire, at the mill:\nsmoke, and\nno way out"\n0,cake\n'
    assert read(tmp_path / "in.csv", content) == (
        "double",
        ["Fire, at the mill:\nsmoke, and\nno way out", "cake"],
    )


def test_backslashes_before_quotes(tmp_path: Path) -> None:
    content = 'text,target\n"she said \\"hi\\", twice",1\n"b",0\n'
    assert read(tmp_path / "in.csv", content) == ("backslash", ['she said "hi", twice', "b"])


def test_a_quote_beyond_the_sample_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reader.delimited.SAMPLE", 5)
    swallowing = "text,target\n" + plain(9) + '"flood,1\nnoodles,0\nno",0\n' + plain(9)
    said = (
        r"in.csv: data row 10: a quote swallows the rows below .*flood,1.* prepare.quotes to none"
    )
    with pytest.raises(InputError, match=said):
        read(tmp_path / "in.csv", swallowing)
    with pytest.raises(InputError, match=r"data row 10: a quote is never closed \('\"flood,1"):
        read(tmp_path / "in.csv", "text,target\n" + plain(9) + '"flood,1\n' + plain(9))
    with pytest.raises(InputError, match="data row 10: a quote is out of place"):
        read(tmp_path / "in.csv", "text,target\n" + plain(9) + '"flood" now,1\n' + plain(9))
    set_to = Format("text", "target", FORM.labels, quotes="none")
    assert len(read(tmp_path / "in.csv", swallowing, set_to)[1]) == 21


def test_names_are_matched_without_case_space_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("'id', Text , target\n1, fire,1\n")
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert table.columns == ["'id'", "Text", "target"]
        assert [table.optional(name) for name in ("ID", "text", "TARGET", "keyword")] == [
            *table.columns,
            None,
        ]
        assert next(iter(table.chunks(["Text"]))).table.to_pylist() == [{"Text": "fire"}]


def test_a_header_of_several_lines(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('\n"the\nid","text",target\n1,"fire,\nrun",1\n')
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert table.columns == ["the\nid", "text", "target"]
        (chunk,) = table.chunks(["text", "the\nid"])
    assert chunk.numbers.tolist() == [1]
    assert chunk.table.to_pylist() == [{"text": "fire,\nrun", "the\nid": "1"}]


def test_a_lone_quote_in_the_header_is_an_ordinary_character(tmp_path: Path) -> None:
    content = 'id,"text,target\n1,fire,1\n2,the 5" pipe,0\n'
    assert read(tmp_path / "in.csv", content) == ("none", ["fire", 'the 5" pipe'])


def test_the_header_is_shown_where_a_column_is_lacking(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("tweet_text\tclass_label\na\tb\n")
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        said = "in.csv: the header lacks the column text; it has: tweet_text, class_label. "
        with pytest.raises(InputError, match=re.escape(said) + "If another .* set prepare.text"):
            table.column("text", "prepare.text")


@pytest.mark.parametrize("header", ["Text,TEXT", "text,text"])
def test_two_columns_of_one_name_are_named(tmp_path: Path, header: str) -> None:
    (tmp_path / "in.csv").write_text(f"{header}\na,b\n")
    with (
        opened(str(tmp_path / "in.csv"), FORM) as table,
        pytest.raises(InputError, match=r"in.csv: several columns are called text"),
    ):
        table.optional("text")


def test_columns_without_a_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text;target;;\nfire;1;a;b\n")
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert table.columns == ["text", "target", "", " (2)"]
        rows = next(iter(table.chunks(table.columns))).table.to_pylist()
    assert rows == [{"text": "fire", "target": "1", "": "a", " (2)": "b"}]


def test_a_list_of_tweets_has_no_separator(tmp_path: Path) -> None:
    content = 'text\nsmoke, and no way out\n"fire; run, now"\n'
    assert read(tmp_path / "in.csv", content) == (
        "double",
        ["smoke, and no way out", "fire; run, now"],
    )


def test_names_are_bare_where_quotes_are_ordinary_characters(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('"text","target"\n"flood,1\n5" of rain,0\n')
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        assert (table.about["quotes"], table.columns) == ("none", ["text", "target"])
        assert next(iter(table.chunks(["text"]))).table["text"].to_pylist() == [
            '"flood',
            '5" of rain',
        ]
