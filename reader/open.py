"""Opens any file of tweets as a table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from reader.delimited import Delimited
from reader.files import local, unpacked
from reader.format import Format
from reader.io import InputError
from reader.table import Table, as_input
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
        with as_input(file), unpacked(path, file) as (content, packed):
            head = content.read(4096)
        if not head:
            raise InputError(f"{file}: the file is empty")
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        table: Table
        if head.startswith(b"PAR1"):
            if packed != "none":
                raise InputError(f"{file}: a Parquet file inside {packed}; unpack it")
            table = Parquet(path, file)
        elif start == b"[":
            raise InputError(f"{file}: a JSON array; write one object a line: jq -c '.[]'")
        else:
            kind = JsonLines if start == b"{" else Delimited

            @contextmanager
            def again() -> Iterator[BinaryIO]:
                with (
                    as_input(file, f"{form.prefix}encoding"),
                    unpacked(path, file) as (content, _),
                ):
                    yield content

            table = kind(again, file, form)
        if packed != "none":
            table.about["compression"] = packed
        yield table
