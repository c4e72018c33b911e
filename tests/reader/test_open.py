"""Any table of tweets, told by what it holds, whatever its name."""

import gzip
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from reader.format import Format
from reader.open import opened

FORM = Format("text", "target", frozenset({"0", "1"}), prefix="prepare.")
ROWS = [("1", "smoke over the café \u2013 run", "1"), ("2", 'she said "hi", twice', "0")]
CSV = 'id,text,target\n1,smoke over the café \u2013 run,1\n2,"she said ""hi"", twice",0\n'


def read(path: Path | str, form: Format = FORM) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """Return what was found out, and the rows."""
    with opened(str(path), form) as table:
        parts = [chunk.table for chunk in table.chunks(table.columns)]
        rows = pyarrow.concat_tables(parts).to_pylist() if parts else []
        return table.about, [tuple(row.values()) for row in rows]


def zipped(content: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/tweets.csv", content)
        archive.writestr("__MACOSX/folder/._tweets.csv", "what a Mac adds")


def zstd(content: bytes, path: Path) -> None:
    with pyarrow.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(content)


COMPRESSIONS: dict[str, Callable[[bytes, Path], object]] = {
    "none": lambda content, path: path.write_bytes(content),
    "gzip": lambda content, path: path.write_bytes(gzip.compress(content)),
    "zstd": zstd,
    "zip": zipped,
}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_compression_is_told_by_the_content(tmp_path: Path, kind: str) -> None:
    COMPRESSIONS[kind](CSV.encode(), tmp_path / "tweets")
    about, rows = read(tmp_path / "tweets")
    assert about.get("compression", "none") == kind
    assert rows == ROWS


def test_gz_files_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    head, tail = CSV[:30].encode(), CSV[30:].encode()
    (tmp_path / "tweets.csv.gz").write_bytes(gzip.compress(head) + gzip.compress(tail))
    assert read(tmp_path / "tweets.csv.gz")[1] == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize(("ending", "name"), [("\n", "LF"), ("\r\n", "CRLF"), ("\r", "CR")])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_form_is_found_out(
    tmp_path: Path, encoding: str, ending: str, name: str, separator: str
) -> None:
    quoted = [(i, '"' + text.replace('"', '""') + '"', y) for i, text, y in ROWS]
    lines = [("id", "text", "target"), *quoted]
    text = "".join(separator.join(line) + ending for line in lines)
    (tmp_path / "tweets").write_bytes(text.encode(encoding))
    about, rows = read(tmp_path / "tweets")
    assert rows == ROWS
    assert about["line_ends"] == name
    assert about["encoding"].startswith(encoding)


def test_bytes_that_windows_lacks_are_latin_1(tmp_path: Path) -> None:
    (tmp_path / "tweets").write_bytes("text,target\nM\xe1laga \x81,1\n".encode("latin-1"))
    about, rows = read(tmp_path / "tweets")
    assert about["encoding"] == "latin-1 (line 2 is not UTF-8)"
    assert rows == [("M\xe1laga \x81", "1")]


def test_a_set_form_is_not_doubted(tmp_path: Path) -> None:
    (tmp_path / "tweets").write_bytes("text;a,target\ncafé;b,1\n".encode())
    _, rows = read(tmp_path / "tweets", Format("a", encoding="latin-1", separator=","))
    assert rows == [("caf\xc3\xa9;b", "1")]
    for name in ("klingon", "base64", "\0"):
        with pytest.raises(InputError, match=f"--encoding: {name} is no encoding of texts"):
            read(tmp_path / "tweets", Format(encoding=name))
    with pytest.raises(InputError, match=r"tweets: 'ascii' codec .*; set --encoding"):
        read(tmp_path / "tweets", Format(encoding="ascii"))


@pytest.mark.parametrize("set_to", [None, "utf-8", "UTF8"])
def test_a_mark_is_no_part_of_the_header(tmp_path: Path, set_to: str | None) -> None:
    (tmp_path / "tweets").write_text("text,target\ncafé,1\n", encoding="utf-8-sig")
    with opened(str(tmp_path / "tweets"), Format(encoding=set_to)) as table:
        assert table.columns == ["text", "target"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_json_lines(tmp_path: Path, encoding: str) -> None:
    objects = [
        {"id": 1234567890123456789, "text": "smoke\u2028 over", "target": 1},
        {"id": None, "target": True, "user": {"name": "x"}, "text": "hi"},
    ]
    lines = "\n".join(map(json.dumps, objects)) + "\n\n"
    (tmp_path / "tweets").write_bytes(lines.encode(encoding))
    about, rows = read(tmp_path / "tweets")
    assert about["format"] == "JSON lines"
    assert about["encoding"].startswith(encoding)
    assert rows == [
        ("1234567890123456789", "smoke\u2028 over", "1", None),
        (None, "hi", "true", '{"name": "x"}'),
    ]


def test_keys_that_come_late_are_columns_too(tmp_path: Path) -> None:
    lines = ['{"text": "a"}\n'] * 3000 + ['{"text": "b", "place": "Rome"}\n']
    (tmp_path / "tweets").write_text("".join(lines))
    assert read(tmp_path / "tweets")[1][2999:] == [("a", None), ("b", "Rome")]


def test_keys_that_are_no_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "tweets").write_text(json.dumps({str(i): "a" for i in range(10_001)}))
    with pytest.raises(InputError, match="tweets: more than 10000 different keys"):
        read(tmp_path / "tweets")


def test_parquet_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    table = pyarrow.table([["smoke"], [1], [2], ["x"]], names=["text", "a", "a", "b"])
    pq.write_table(table, tmp_path / "tweets")
    with opened(str(tmp_path / "tweets")) as found:
        (chunk,) = found.chunks(["a (2)", "text"])
        assert chunk.table.to_pylist() == [{"a (2)": 2, "text": "smoke"}]
    assert read(tmp_path / "tweets")[1] == [("smoke", 1, 2, "x")]


def test_parquet_strings_that_are_not_utf8_are_named_by_row(tmp_path: Path) -> None:
    raw = pyarrow.array([b"smoke", b"caf\xe9", b"cake"])
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    lists = pyarrow.ListArray.from_arrays([0, 0, 1, 3], texts)
    pq.write_table(pyarrow.table({"text": texts, "of": lists}), tmp_path / "tweets")
    with pytest.raises(InputError, match="tweets: data row 2: text is not UTF-8"):
        read(tmp_path / "tweets")
    refused = list[tuple[int, str]]()
    with opened(str(tmp_path / "tweets")) as table:
        (chunk,) = table.chunks(["text", "of"], lambda *said: refused.append(said))
    assert chunk.numbers.tolist() == [1]
    assert refused == [(2, "text is not UTF-8"), (3, "of is not UTF-8")]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pyarrow.table({"id": [2**60], "text": ["smoke"], "target": [True]})
    pq.write_table(table, tmp_path / "tweets")
    about, rows = read(tmp_path / "tweets")
    assert about == {"format": "Parquet"}
    assert rows == [(2**60, "smoke", True)]


def test_a_url_is_read(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/tweets.csv.gz", "wb") as file:
        file.write(gzip.compress(CSV.encode()))
    assert read("memory://bucket/tweets.csv.gz")[1] == ROWS


def test_chunks_number_the_rows_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reader.table.CHUNK_ROWS", 2)
    (tmp_path / "in.csv").write_text("text,target\na,1\n\nb,0\nbroken\ntext,target\nc,1\n")
    refused = list[tuple[int, str]]()
    with opened(str(tmp_path / "in.csv"), FORM) as table:
        chunks = list(table.chunks(["text"], lambda *said: refused.append(said)))
    assert [chunk.numbers.tolist() for chunk in chunks] == [[1, 2], [5]]
    assert [chunk.table["text"].to_pylist() for chunk in chunks] == [["a", "b"], ["c"]]
    assert refused == [
        (3, "it has 1 fields, the header 2 ('broken')"),
        (4, "the header again"),
    ]
    assert table.repeated_headers == [4]


NO_TABLE = {
    "empty": (b"", "the file is empty"),
    "web page": (b"<!DOCTYPE html><html>", "this is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    "JSON array": (b'[{"text": "a"}]', "a JSON array; write one object a line"),
    "torn gz": (gzip.compress(CSV.encode() * 9)[:40], "cannot be read: "),
    "torn Parquet": (b"PAR1 and no more", "cannot be read: "),
    "JSON, then not": (b'{"text": "a"}\n{"text": ', "data row 2: not JSON"),
    "JSON, then a number": (b'{"text": "a"}\n7\n', "data row 2: no JSON object but '7'"),
    "JSON of a number": (b'{"text": "a"}\n{"text": 7}', "data row 2: text is no string (got 7)"),
    "JSON of an object": (b'{"Text": {"a": 1}}', 'data row 1: Text is no string (got {"a": 1})'),
    "deep JSON": (b'{"text": "a"}\n' + b"[" * 100_000, "data row 2: not JSON: maximum recursion"),
    "UTF-16 JSON array": ('[{"text": "a"}]'.encode("utf-16"), "a JSON array; write one"),
    "quote in the header": (b'id,"text\n1,"a,b"\n', "the header: a quote is out of"),
    "quote behind a name": (b'id,"text"s\n1,"a,b"\n', "the header: a quote is out of place"),
}


@pytest.mark.parametrize("case", NO_TABLE)
def test_what_is_no_table_is_named(tmp_path: Path, case: str) -> None:
    content, said = NO_TABLE[case]
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(InputError, match=f"/in: .*{re.escape(said)}"):
        read(tmp_path / "in")


def test_zips_of_other_things_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("train.csv", CSV)
        archive.writestr("test.csv", CSV)
    with pytest.raises(InputError, match=r"two.zip: the zip holds 2 files \(train.csv, test.csv\)"):
        read(tmp_path / "two.zip")
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    with pytest.raises(InputError, match=r"book.xlsx: this is an Excel workbook"):
        read(tmp_path / "book.xlsx")


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda content: content[:-30], "cannot be read: File is not a zip file"),
    "other bytes": (lambda content: content.replace(b"noodles", b"Noodles"), "Bad CRC-32"),
    "unknown method": (
        lambda content: content.replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0c\0"),
        "method",
    ),
    "password": (lambda content: content.replace(b"\x14\0\0\0", b"\x14\0\1\0"), "has a password"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_broken_zip_is_named(tmp_path: Path, case: str) -> None:
    spoil, said = SPOILT[case]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("train.csv", "text,target\nnoodles,0\n")
    (tmp_path / "in.zip").write_bytes(spoil((tmp_path / "in.zip").read_bytes()))
    with pytest.raises(InputError, match=f"/in.zip: .*{said}"):
        read(tmp_path / "in.zip")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.csv: no such file"):
        read(tmp_path / "nowhere.csv")
