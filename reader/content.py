"""The bytes of a file: unpacks them, refuses files that are no tables, detects the encoding."""

import codecs
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow

from common.errors import InputError, NoTableError
from reader.format import Format
from reader.table import Open, as_input

HEAD = 4096  # bytes that show what a file is
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter begins an empty zip
SHEET = "open it in its program and save it as CSV (UTF-8)"
WEB_PAGE = f"a web page, not a table; if a spreadsheet program opens it, {SHEET}"
UNPACK = "unpack it, and name the table inside"
SIGNS = {  # first bytes, in lower case, of files that are not tables
    b"\xd0\xcf\x11\xe0": f"an old Excel workbook, or one with a password; {SHEET}",
    b"<?xml": f"XML, no table; if a spreadsheet program wrote it, {SHEET}",
    b"<!doctype": WEB_PAGE,
    b"<html": WEB_PAGE,
    b"<table": WEB_PAGE,
    b"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull`",
    b"%pdf": "a PDF, not a table",
    b"sqlite format 3\0": "an SQLite database; export the table as CSV",
    b"\xfd7zxz\0": f"an xz archive; {UNPACK}",
    b"7z\xbc\xaf": f"a 7z archive; {UNPACK}",
    b"rar!\x1a": f"a RAR archive; {UNPACK}",
}
ZIPPED = {  # how the name of a file inside begins, in a zip that is a document
    "xl/workbook.": f"an Excel workbook; {SHEET}",
    "word/document.": f"a Word document; {SHEET}",
    "[Content_Types].xml": f"a document of Microsoft Office; {SHEET}",
    "META-INF/manifest.xml": f"an OpenDocument file; {SHEET}",
    "Index.zip": f"a document of Apple Numbers; {SHEET}",
    "Index/Document.iwa": f"a document of Apple Numbers; {SHEET}",
}
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Content:
    """Opens a file as often as needed, unpacked; `position` is the number of bytes read so far."""

    def __init__(self, path: Path, name: str, setting: str) -> None:
        self.path, self.name, self.setting = path, name, setting
        self.compression = "none"

    @contextmanager
    def __call__(self) -> Iterator[BinaryIO]:
        """Yield the unpacked bytes, from their beginning."""
        with as_input(self.name, self.setting), self.path.open("rb") as raw:
            self.raw = raw
            with unpacked(raw, self.name) as (content, self.compression):
                yield content

    def position(self) -> int:
        """Return how many bytes of the packed file are read."""
        return 0 if self.raw.closed else self.raw.tell()


@contextmanager
def unpacked(raw: BinaryIO, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file's bytes without their compression, and the compression's name or "none".

    Raises InputError if it is no table by its first bytes, or a zip of several files or with a
    password.
    """
    head = raw.read(HEAD)
    raw.seek(0)
    _check_kind(head, name)
    compression = next((kind for sign, kind in COMPRESSIONS.items() if head.startswith(sign)), None)
    if head.startswith(ZIP):
        with zipfile.ZipFile(raw) as archive, archive.open(_member(archive, name)) as member:
            yield _checked(member, name), "zip"
    elif compression:
        with pyarrow.CompressedInputStream(raw, compression) as stream:
            yield _checked(stream, name), compression
    else:
        yield raw, "none"


def _checked(stream: Any, name: str) -> BinaryIO:  # noqa: ANN401 - of zipfile or of pyarrow
    content = io.BufferedReader(stream)
    head = content.peek(HEAD)
    _check_kind(head, name)
    if head.startswith((*ZIP, *COMPRESSIONS, b"PAR1")):
        raise NoTableError(f"{name}: it is packed twice; unpack it once")
    return content


def _check_kind(head: bytes, name: str) -> None:
    start = head.lstrip(b"\xef\xbb\xbf\r\n ").lower()
    for sign, kind in SIGNS.items():
        if start.startswith(sign):
            raise NoTableError(f"{name}: this is {kind}")
    if head[257:262] == b"ustar":
        raise NoTableError(f"{name}: this is a tar archive; {UNPACK}")


def _member(archive: zipfile.ZipFile, name: str) -> str:
    """Return the name of the only file in a zip."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in infos if not info.filename.startswith("__MACOSX/")]
    for sign, kind in ZIPPED.items():
        if any(member.startswith(sign) for member in names):
            raise NoTableError(f"{name}: this is {kind}")
    if len(names) != 1:
        raise NoTableError(
            f"{name}: the zip holds {len(names)} files ({', '.join(names[:5])}); {UNPACK}"
        )
    if archive.getinfo(names[0]).flag_bits & 1:
        raise InputError(f"{name}: the zip has a password; unpack it")
    return names[0]


def encoding_of(opened: Open, name: str, form: Format) -> tuple[str, str]:
    """Return the encoding: as set, by its byte order mark, UTF-8, or else Windows-1252.

    Returns:
        Python's name of it, and a remark where it is not certain.

    Raises InputError if a few lines are not UTF-8, or the encoding that is set does not exist.

    """
    setting = f"{form.prefix}encoding"
    with opened() as file:
        head = file.read(HEAD)
    marked = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), "")
    if form.encoding:
        try:
            "".encode(form.encoding)  # refuses codecs that are not of texts
            chosen = codecs.lookup(form.encoding).name
        except (LookupError, ValueError) as error:
            raise InputError(f"{setting}: {form.encoding} is no encoding of texts") from error
        is_same = chosen.split("-")[:2] == marked.split("-")[:2]  # utf-8 and utf-8-sig
        return (marked if is_same else chosen), ""
    if marked == "utf-16":
        return marked, ""
    if head.count(b"\0") > len(head) // 4:
        return ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be"), "no byte order mark"
    good, bad = 0, list[int]()
    with opened() as file:
        for number, line in enumerate(file, 1):
            if not line.isascii():
                try:
                    line.decode()
                    good += 1
                except UnicodeDecodeError:
                    bad.append(number)
    if not bad:
        return (marked or "utf-8"), ""
    if good > len(bad):
        raise InputError(
            f"{name}: line {bad[0]}: not UTF-8, though most of the file is; correct the line, or "
            f"set {setting}"
        )
    return "cp1252", f"line {bad[0]} is not UTF-8"
