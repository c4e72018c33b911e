"""Any table of tweets, told by its content, whatever its name."""

import gzip
import io
import re
import zipfile
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from reader.format import Format
from reader.open import opened
from tests.reader.reading import read

ROWS = [("1", "smoke over the café \u2013 run", "1"), ("2", 'she said "hi", twice', "0")]
CSV = 'id,text,target\n1,smoke over the café \u2013 run,1\n2,"she said ""hi"", twice",0\n'


def zipped(*names: str, content: bytes = b"") -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    with pyarrow.CompressedOutputStream(file := pyarrow.BufferOutputStream(), "zstd") as stream:
        stream.write(content)
    return bytes(file.getvalue())


PACKED = {
    "none": CSV.encode(),
    "gzip": gzip.compress(CSV[:30].encode()) + gzip.compress(CSV[30:].encode()),  # joined files
    "zstd": zstd(CSV.encode()),
    "zip": zipped("folder/tweets.csv", "__MACOSX/folder/._tweets.csv", content=CSV.encode()),
}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("place", ["", "memory://bucket/"])
def test_compression_is_told_by_the_content(tmp_path: Path, kind: str, place: str) -> None:
    name = f"{place or f'{tmp_path}/'}tweets"
    with fsspec.open(name, "wb") as file:
        file.write(PACKED[kind])
    about, rows = read(name)
    assert about.get("compression", "none") == kind
    assert rows == ROWS


FORMS = [("\n", "LF", ","), ("\r\n", "CRLF", ";"), ("\r", "CR", "\t"), ("\n", "LF", "|")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_detected(tmp_path: Path, encoding: str, form: tuple[str, str, str]) -> None:
    ending, name, separator = form
    quoted = [(i, '"' + text.replace('"', '""') + '"', y) for i, text, y in ROWS]
    text = "".join(separator.join(line) + ending for line in [("id", "text", "target"), *quoted])
    (tmp_path / "tweets").write_bytes(text.encode(encoding))
    about, rows = read(tmp_path / "tweets")
    assert rows == ROWS
    assert about["line_ends"] == name
    assert about["encoding"].startswith(encoding)
    if (encoding, ending) == ("cp1252", "\n"):
        assert about["encoding"] == "cp1252 (line 2 is not UTF-8)"


def test_a_set_form_is_not_doubted(tmp_path: Path) -> None:
    (tmp_path / "tweets").write_bytes("text;a,target\ncafé;b,1\n".encode())
    _, rows = read(tmp_path / "tweets", Format("a", encoding="latin-1", separator=","))
    assert rows == [("caf\xc3\xa9;b", "1")]
    for name in ("klingon", "base64", "\0"):
        with pytest.raises(InputError, match=f"--encoding: {name} is not a text encoding"):
            read(tmp_path / "tweets", Format(encoding=name))
    with pytest.raises(InputError, match=r"tweets: 'ascii' codec .*; set --encoding"):
        read(tmp_path / "tweets", Format(encoding="ascii"))
    for mark, encoding in (("utf-8-sig", "UTF8"), ("utf-16", "utf-16-le")):
        (tmp_path / "tweets").write_text("text,target\ncafé,1\n", encoding=mark)
        with opened(str(tmp_path / "tweets"), Format(encoding=encoding)) as table:
            assert table.columns == ["text", "target"]  # without the mark


def test_parquet_keeps_its_types_and_names_strings_that_are_not_utf8(tmp_path: Path) -> None:
    table = pyarrow.table([["smoke"], [2**60], [True]], names=["text", "a", "b"])
    pq.write_table(table, tmp_path / "tweets")
    with opened(str(tmp_path / "tweets")) as read_table:
        (chunk,) = read_table.chunks(["a", "text"])
        assert chunk.table.to_pylist() == [{"a": 2**60, "text": "smoke"}]
    assert read(tmp_path / "tweets") == ({"format": "Parquet"}, [("smoke", 2**60, True)])
    raw = pyarrow.array([b"smoke", b"caf\xe9", b"cake"])
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    pq.write_table(pyarrow.table({"text": texts}), tmp_path / "tweets")
    with pytest.raises(InputError, match=r"tweets: cannot be read: .*Invalid UTF8"):
        read(tmp_path / "tweets")


XLS = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)
ZIP = zipped("train.csv", content=b"text,target\nnoodles,0\n")
NO_TABLE = {
    "empty": (b"", "the file is empty"),
    "web page": (b"\n<!DOCTYPE html><html>", "this is a web page"),
    "torn gz": (PACKED["gzip"][:40], "cannot be read: "),
    "torn Parquet": (b"PAR1 and no more", "cannot be read: "),
    "quote behind a name": (b'id,"text"s\n1,"a,b"\n', "cannot be read: ',' expected after"),
    "two in a zip": (zipped("train.csv", "b.csv"), "the zip holds 2 files (train.csv, b.csv)"),
    "xls": (XLS, "not text. If it is a workbook, open it"),
    "zip in gz": (gzip.compress(ZIP), "not text"),
    "Numbers": (zipped("Index/Document.iwa", "preview.jpg"), "this is a spreadsheet"),
    "X archive": (b"window.YTD.tweets.part0 = [ ]", "; docs/data.md says how to convert"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "this is a spreadsheet"),
    "Excel's XML": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<Workbook>', "a web page or XML; if a"),
    "mostly UTF-8": (b"text\ncaf\xe9\n" + "café\n".encode() * 2, "line 2: not UTF-8, though most"),
    "cut short": (ZIP[:-30], "cannot be read: File is not a zip file"),
    "other bytes": (ZIP.replace(b"noodles", b"Noodles"), "Bad CRC-32"),
    "unknown method": (ZIP.replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0c\0"), "method"),
    "password": (ZIP.replace(b"\x14\0\0\0", b"\x14\0\1\0"), "password required"),
}


@pytest.mark.parametrize("case", NO_TABLE)
def test_a_file_that_is_no_table_or_damaged_is_named(tmp_path: Path, case: str) -> None:
    content, reason = NO_TABLE[case]
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(InputError, match=f"/in: .*{re.escape(reason)}"):
        read(tmp_path / "in")
