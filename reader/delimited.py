"""Tables of delimited text, such as CSV and TSV."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from reader.format import Format, Quotes, fold
from reader.table import EmptyFileError, Open, Refuse, Row, TextTable, numbered

SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
DECLARATION = re.compile(r'\ufeff?"?sep=(.)\1*"?\s*$', re.I)  # Excel's line above the header
SAMPLE_LINES = 20_000  # by which the quotes are detected
DIALECTS: dict[Quotes, dict[str, Any]] = {
    "double": {"quotechar": '"', "doublequote": True},
    "backslash": {"quotechar": '"', "doublequote": False, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE},
}
csv.field_size_limit(2**24)  # characters; limits the memory that an unclosed quote takes


class Delimited(TextTable):
    """A delimited table; its separator and quotes are detected from its first lines."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Detect the format and read the header.

        Raises InputError if there is no header, or its quotes are out of place.
        """
        self.opened, self.form, self.encoding = opened, form, encoding
        self.declared_separator = ""
        with self._open_lines() as lines:
            if declaration := DECLARATION.match(next(lines, "")):
                self.declared_separator = declaration[1]
        with self._open_lines() as lines:
            header = next((line for line in lines if line.strip("\r\n")), "")
        if not header:
            raise EmptyFileError(name)
        self.separator = form.separator or self.declared_separator or _find_separator(header, form)
        self.is_indented = f"{self.separator} " in header
        self.quotes = form.quotes or self._detect_quotes()
        with self._open_lines() as lines:
            columns = [column.strip() for column in self._read_header(self._parse(lines))]
        line_end = header[len(header.rstrip("\r\n")) :]
        about = {
            "format": "TSV" if self.separator == "\t" else "CSV",
            "separator": SEPARATORS.get(self.separator, self.separator),
            "line_ends": {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}.get(line_end, "none"),
            "quotes": self.quotes,
        }
        super().__init__(name, numbered(columns), about)

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""
        indexes = [self.columns.index(column) for column in columns]
        with self._open_lines() as lines:
            records = self._parse(lines)
            header = self._read_header(records)
            self.repeated_headers, number = [], 0
            while True:
                lines_before = records.line_num
                try:
                    record = next(records, None)
                except csv.Error as error:
                    number += 1
                    is_one_line = records.line_num == lines_before + 1
                    reason = "a quote is out of place"
                    if "unexpected end" in str(error):
                        reason = "a quote is never closed"
                    self._refuse_quotes(refuse if is_one_line else None, number, reason)
                    continue
                if record is None:
                    return
                if not record:  # a blank line
                    continue
                number += 1
                if records.line_num > lines_before + 1 and self._has_swallowed_rows(record):
                    self._refuse_quotes(None, number, "a quote swallows the rows below")
                if self._is_header(record, header):
                    self.repeated_headers.append(number)
                    if refuse:
                        refuse(number, "the header again")
                elif len(record) != self.width:
                    start = repr(self.separator.join(record)[:60])
                    reason = f"it has {len(record)} fields, the header {self.width} ({start}); "
                    reason += "put a text that contains a separator or a bare CR in quotes"
                    self.refuse_row(refuse, number, reason)
                else:
                    yield number, [record[i] for i in indexes]

    def _is_header(self, record: list[str], header: list[str]) -> bool:
        """Return whether a row repeats the header, as after concatenating files."""
        if self.declared_separator and DECLARATION.match(self.separator.join(record)):
            return True
        names = [fields[0].lstrip("\ufeff").strip('"') for fields in (record, header)]
        return record[1:] == header[1:] and names[0] == names[1]

    def _refuse_quotes(self, refuse: Refuse | None, number: int, reason: str) -> None:
        advice = f"set {self.form.prefix}quotes to none if quotes are ordinary characters here"
        self.refuse_row(refuse, number, f"{reason}; correct it, or {advice}")

    def _read_header(self, records: Iterator[list[str]]) -> list[str]:
        """Return the first non-blank record; set `width` and the label's index `label` by it."""
        header = next(filter(None, records), [])
        label = fold(self.form.label or "")
        self.width = len(header)
        self.label = next((i for i, c in enumerate(header) if label and fold(c) == label), None)
        return header

    @contextmanager
    def _open_lines(self) -> Iterator[Iterator[str]]:
        """Yield the lines from the header on, without a byte order mark."""
        with self.opened() as file:
            lines = iter(io.TextIOWrapper(file, self.encoding, newline=""))
            first = next(lines, "").removeprefix("\ufeff")
            yield lines if self.declared_separator else chain([first], lines)

    def _parse(self, lines: Iterator[str], quotes: Quotes | None = None) -> Any:  # noqa: ANN401 - csv's
        return csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.is_indented,
            strict=True,
            **DIALECTS[quotes or self.quotes],
        )

    def _detect_quotes(self) -> Quotes:
        """Return the first dialect with which all rows of the sample are as wide as the header."""
        with self._open_lines() as lines:
            sample = list(islice(lines, SAMPLE_LINES))
        if not any('"' in line for line in sample):
            return "double"
        has_escapes = any('\\"' in line for line in sample)
        dialects = [quotes for quotes in DIALECTS if has_escapes or quotes != "backslash"]
        return next((quotes for quotes in dialects if self._fits(sample, quotes)), "double")

    def _fits(self, sample: list[str], quotes: Quotes) -> bool:
        records = self._parse(iter(sample), quotes)
        try:
            self._read_header(records)
            return all(
                len(record) == self.width and not self._has_swallowed_rows(record)
                for record in filter(None, records)
            )
        except csv.Error as error:  # the sample may end inside a quote
            return len(sample) == SAMPLE_LINES and "unexpected end" in str(error)

    def _has_swallowed_rows(self, record: list[str]) -> bool:
        """Return whether each line of a record is a row, so that its quote was never closed."""
        if self.label is None:  # without labels, a row looks like a line of a text
            return False
        lines = self.separator.join(record).replace("\r", "\n").split("\n")
        rows = [line.split(self.separator) for line in lines if line]
        return len(rows) > 1 and all(
            len(row) == self.width and fold(row[self.label]) in self.form.labels for row in rows
        )


def _find_separator(header: str, form: Format) -> str:
    """Return the separator with which the header has the text column, else the most columns."""

    def rank(separator: str) -> tuple[bool, int]:
        names = [fold(name) for name in header.split(separator)]
        return fold(form.text) in names, len(names)

    return max(SEPARATORS, key=rank)
