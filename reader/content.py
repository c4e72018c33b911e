"""Unpacks a file, refuses it if it is not a table, and detects its encoding."""

import codecs
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow

from common.errors import InputError
from reader.format import Format
from reader.table import Open, as_input

HEAD = 4096  # bytes by which a file's format is detected
COMPRESSIONS = {  # by the first bytes of a file
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"PK\x03\x04": "zip",
}
SAVE_AS_CSV = "open it in its program and save it as CSV (UTF-8)"
WEB_PAGES = (b"<?xml", b"<!doctype", b"<html", b"<table")  # some have the name of a spreadsheet
DOCUMENT_PARTS = {  # of .xlsx, .ods and .numbers, in their zip
    *("[Content_Types].xml", "META-INF/manifest.xml", "Index.zip", "Index/Document.iwa"),
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

    Raises InputError if a zip holds several files, or is a document.
    """
    head = raw.read(HEAD)
    raw.seek(0)
    kinds = [kind for sign, kind in COMPRESSIONS.items() if head.startswith(sign)]
    compression = kinds[0] if kinds else "none"
    if compression == "zip":
        with zipfile.ZipFile(raw) as archive, archive.open(_member(archive, name)) as member:
            yield io.BufferedReader(member), compression  # type: ignore[type-var] # readable too
    elif compression != "none":
        with pyarrow.CompressedInputStream(raw, compression) as stream:
            yield io.BufferedReader(stream), compression
    else:
        yield raw, compression


def _member(archive: zipfile.ZipFile, name: str) -> str:
    """Return the name of the only file in a zip."""
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    names = [member for member in names if not member.startswith("__MACOSX/")]
    if DOCUMENT_PARTS.intersection(names):
        raise InputError(f"{name}: this is a spreadsheet or another document; {SAVE_AS_CSV}")
    if len(names) != 1:
        shown = ", ".join(names[:5])
        raise InputError(f"{name}: the zip holds {len(names)} files ({shown}); unpack it")
    return names[0]


def detect_encoding(opened: Open, name: str, form: Format) -> tuple[str, str]:
    """Return Python's name of the encoding, and a remark if it is uncertain (or "").

    The first of these that applies: the setting, the byte order mark, UTF-8, Windows-1252.

    Raises InputError if the file is binary or a web page, a few of its lines are not UTF-8, or the
    setting names no encoding.
    """
    setting = f"{form.prefix}encoding"
    if form.encoding:
        try:
            "".encode(form.encoding)  # fails for codecs that do not encode texts, such as hex
        except (LookupError, ValueError) as error:
            raise InputError(f"{setting}: {form.encoding} is not a text encoding") from error
        return form.encoding, ""
    with opened() as file:
        head = file.read(HEAD)
    if head.lstrip(b"\xef\xbb\xbf\r\n ").lower().startswith(WEB_PAGES):
        reason = "a web page or XML; if a spreadsheet program opens it"
        raise InputError(f"{name}: this is {reason}, {SAVE_AS_CSV}")
    encoding = next((encoding for mark, encoding in BOMS.items() if head.startswith(mark)), "utf-8")
    if encoding == "utf-16":
        return encoding, ""
    if b"\0" in head:
        reason = f"not text. If it is a workbook, {SAVE_AS_CSV}; if it is UTF-16, set {setting}"
        raise InputError(f"{name}: {reason}")
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
        return encoding, ""
    if valid_lines > len(invalid):
        raise InputError(
            f"{name}: line {invalid[0]}: not UTF-8, though most of the file is; correct the line, "
            f"or set {setting}"
        )
    return "cp1252", f"line {invalid[0]} is not UTF-8"
