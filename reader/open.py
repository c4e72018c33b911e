"""Opens any file of tweets as a table."""

from collections.abc import Iterator
from contextlib import contextmanager

from reader.content import HEAD, Content, detect_encoding
from reader.delimited import Delimited
from reader.files import local
from reader.format import Format
from reader.json_table import JsonTable
from reader.parquet import Parquet
from reader.table import EmptyFileError, Table, as_input


@contextmanager
def opened(file: str, form: Format | None = None) -> Iterator[Table]:
    """Yield the table in a CSV, TSV, JSON or Parquet file; the format is detected from the content.

    Args:
        file: a path or an fsspec URL; gz, zst, bz2 and a zip of one file are unpacked.
        form: the columns to look for and the file's format; by default, all of it is detected.

    Raises InputError if the file is missing, empty, damaged or not a table.

    """
    form = form or Format()
    with local(file) as path:
        content = Content(path, file, f"{form.prefix}encoding")
        with content() as unpacked_file:
            head = unpacked_file.read(HEAD)
        if not head:
            raise EmptyFileError(file)
        table: Table
        if head.startswith(b"PAR1"):
            table = Parquet(path, file)
        else:
            encoding, remark = detect_encoding(content, file, form)
            with as_input(file, content.setting):
                start = head.decode(encoding, "ignore").lstrip("\ufeff \r\n\t")
            # An X archive begins with window.YTD.: JsonTable's error says how to convert it.
            is_json = start.startswith(("{", "[", "window.YTD."))
            table = (JsonTable if is_json else Delimited)(content, file, form, encoding)
            shown = f"{encoding} ({remark})" if remark else encoding
            table.about = {"format": table.about["format"], "encoding": shown, **table.about}
            table.position = content.position
        if content.compression != "none":
            table.about["compression"] = content.compression
        yield table
