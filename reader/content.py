"""Unpacks a file, refuses it if it is not a table, and detects its encoding."""

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

HEAD = 4096  # bytes by which a file's format is detected
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter begins an empty zip
SAVE_AS_CSV = "open it in its program and save it as CSV (UTF-8)"
WEB_PAGE = f"a web page, not a table; if a spreadsheet program opens it, {SAVE_AS_CSV}"
UNPACK = "unpack it, and name the table inside"
SIGNATURES = {  # first bytes, in lower case, of files that are not tables
    b"\xd0\xcf\x11\xe0": f"an old Excel workbook, or one with a password; {SAVE_AS_CSV}",
    b"<?xml": f"XML, not a table; if a spreadsheet program wrote it, {SAVE_AS_CSV}",
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
ZIPPED_DOCUMENTS = {  # by the first characters of the name of a file in the zip
    "xl/workbook.": f"an Excel workbook; {SAVE_AS_CSV}",
    "word/document.": f"a Word document; {SAVE_AS_CSV}",
    "[Content_Types].xml": f"a document of Microsoft Office; {SAVE_AS_CSV}",
    "META-INF/manifest.xml": f"an OpenDocument file; {SAVE_AS_CSV}",
    "Index.zip": f"a document of Apple Numbers; {SAVE_AS_CSV}",
    "Index/Document.iwa": f"a document of Apple Numbers; {SAVE_AS_CSV}",
}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Content:
    """A file whose unpacked bytes can be read repeatedly: a call opens them.

    Errors call the file `name`, and name `setting` as the one that sets the encoding.
    """

    def __init__(self, path: Path, name: str, setting: str) -> None:
        self.path, self.name, self.setting = path, name, setting
        self.compression = "none"

    @contextmanager
    def __call__(self) -> Iterator[BinaryIO]:
        """Yield the unpacked file, opened at its beginning."""
        with as_input(self.name, self.setting), self.path.open("rb") as raw:
            self.raw = raw
            with unpacked(raw, self.name) as (content, self.compression):
                yield content

    def position(self) -> int:
        """Return the number of bytes read from the packed file, 0 if it is closed."""
        return 0 if self.raw.closed else self.raw.tell()


@contextmanager
def unpacked(raw: BinaryIO, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file's unpacked bytes, and the name of its compression or "none".

    Raises InputError if the first bytes are not those of a table, or if a zip holds several files
    or has a password.
    """
    head = raw.read(HEAD)
    raw.seek(0)
    _check_kind(head, name)
    compression = next((kind for sign, kind in COMPRESSIONS.items() if head.startswith(sign)), None)
    if head.startswith(ZIP):
        with zipfile.ZipFile(raw) as archive, archive.open(_member(archive, name)) as member:
            yield _buffer(member, name), "zip"
    elif compression:
        with pyarrow.CompressedInputStream(raw, compression) as stream:
            yield _buffer(stream, name), compression
    else:
        yield raw, "none"


def _buffer(stream: Any, name: str) -> BinaryIO:  # noqa: ANN401 - of zipfile or of pyarrow
    """Return an unpacked stream with a buffer.

    Raises NoTableError if the content is not a table, or packed again.
    """
    content = io.BufferedReader(stream)
    head = content.peek(HEAD)
    _check_kind(head, name)
    if head.startswith((*ZIP, *COMPRESSIONS, b"PAR1")):
        raise NoTableError(f"{name}: it is packed twice; unpack it once")
    return content


def _check_kind(head: bytes, name: str) -> None:
    start = head.lstrip(b"\xef\xbb\xbf\r\n ").lower()
    for sign, kind in SIGNATURES.items():
        if start.startswith(sign):
            raise NoTableError(f"{name}: this is {kind}")
    if head[257:262] == b"ustar":
        raise NoTableError(f"{name}: this is a tar archive; {UNPACK}")


def _member(archive: zipfile.ZipFile, name: str) -> str:
    """Return the name of the only file in a zip."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in infos if not info.filename.startswith("__MACOSX/")]
    for sign, kind in ZIPPED_DOCUMENTS.items():
        if any(member.startswith(sign) for member in names):
            raise NoTableError(f"{name}: this is {kind}")
    if len(names) != 1:
        raise NoTableError(
            f"{name}: the zip holds {len(names)} files ({', '.join(names[:5])}); {UNPACK}"
        )
    if archive.getinfo(names[0]).flag_bits & 1:
        raise InputError(f"{name}: the zip has a password; unpack it")
    return names[0]


def detect_encoding(opened: Open, name: str, form: Format) -> tuple[str, str]:
    """Return Python's name of the encoding, and a remark if it is uncertain (or "").

    The first of these that applies: the setting, the byte order mark, UTF-16 if there are many zero
    bytes, UTF-8, Windows-1252.

    Raises InputError if a few lines are not UTF-8, or the encoding in the setting does not exist.
    """
    setting = f"{form.prefix}encoding"
    with opened() as file:
        head = file.read(HEAD)
    marked = next((encoding for mark, encoding in BOMS.items() if head.startswith(mark)), "")
    if form.encoding:
        try:
            "".encode(form.encoding)  # fails for codecs that do not encode texts, such as hex
            encoding = codecs.lookup(form.encoding).name
        except (LookupError, ValueError) as error:
            raise InputError(f"{setting}: {form.encoding} is not a text encoding") from error
        is_same = encoding.split("-")[:2] == marked.split("-")[:2]  # utf-8 and utf-8-sig
        return (marked if is_same else encoding), ""
    if marked == "utf-16":
        return marked, ""
    if head.count(b"\0") > len(head) // 4:
        return ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be"), "no byte order mark"
    valid_lines, invalid = 0, list[int]()  # lines with other characters than ASCII
    with opened() as file:
        for number, line in enumerate(file, 1):
            if not line.isascii():
                try:
                    line.decode()
                    valid_lines += 1
                except UnicodeDecodeError:
                    invalid.append(number)
    if not invalid:
        return (marked or "utf-8"), ""
    if valid_lines > len(invalid):
        raise InputError(
            f"{name}: line {invalid[0]}: not UTF-8, though most of the file is; correct the line, "
            f"or set {setting}"
        )
    return "cp1252", f"line {invalid[0]} is not UTF-8"
