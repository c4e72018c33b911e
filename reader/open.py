"""Opens any file of tweets as a table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from common.errors import NoTableError
from reader.delimited import Delimited
from reader.files import local, unpacked
from reader.format import Format
from reader.table import EmptyFileError, Table, as_input, encoding_of
from reader.typed import JsonLines, Parquet


@contextmanager
def opened(file: str, form: Format | None = None) -> Iterator[Table]:
    """Yield the table in a file of CSV, TSV, JSON lines or Parquet, by what the file holds.

    Args:
        file: a path or an fsspec URL; gz, zst, bz2 and a zip of one file are unpacked.
        form: what is known of it.

    Raises:
        InputError: it is missing, empty, damaged or no table.

    """
    form = form or Format()
    with local(file) as path:
        content = _Content(path, file, f"{form.prefix}encoding")
        with content() as unpacked_file:
            head = unpacked_file.read(4096)
        if not head:
            raise EmptyFileError(file)
        table: Table
        if head.startswith(b"PAR1"):
            if content.packed != "none":
                raise NoTableError(f"{file}: a Parquet file inside {content.packed}; unpack it")
            table = Parquet(path, file)
        else:
            encoding, remark = encoding_of(content, file, form)
            with as_input(file, content.setting):
                start = head.decode(encoding, "ignore").lstrip()[:1]
            if start == "[":
                raise NoTableError(f"{file}: a JSON array; write one object a line: jq -c '.[]'")
            kind = JsonLines if start == "{" else Delimited
            table = kind(content, file, form, encoding)
            said = f"{encoding} ({remark})" if remark else encoding
            table.about = {"format": table.about["format"], "encoding": said, **table.about}
            table.position = content.position
        if content.packed != "none":
            table.about["compression"] = content.packed
        yield table


class _Content:
    """Opens a file, as often as need be, and knows how far it is read."""

    def __init__(self, path: Path, name: str, setting: str) -> None:
        self.path, self.name, self.setting = path, name, setting
        self.packed = "none"

    @contextmanager
    def __call__(self) -> Iterator[BinaryIO]:
        with as_input(self.name, self.setting), self.path.open("rb") as raw:
            self.raw = raw
            with unpacked(raw, self.name) as (content, self.packed):
                yield content

    def position(self) -> int:
        return 0 if self.raw.closed else self.raw.tell()
