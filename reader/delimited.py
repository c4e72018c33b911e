"""Tables of lines: CSV, TSV and their kin."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from common.errors import NoTableError
from reader.format import Format, Quotes, fold
from reader.table import EmptyFileError, Open, Refuse, Row, TextTable

ALONE = "\x1f"  # what no text has, where there is one column
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", ALONE: "none"}
SAMPLE = 20_000  # rows that show how quotes are meant
HEADER_LINES = 100  # at most, where names have line ends in them
DIALECTS: dict[Quotes, dict[str, Any]] = {
    "double": {"quotechar": '"', "doublequote": True},
    "backslash": {"quotechar": '"', "doublequote": False, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE},
}
csv.field_size_limit(2**24)  # characters; what a quote that is never closed may take


class Delimited(TextTable):
    """A table of lines, its form found out from its header and its first rows."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Find out the form.

        Raises:
            InputError: there is no header, or its quotes are out of place.

        """
        self.opened, self.form, self.name, self.encoding = opened, form, name, encoding
        with self._lines() as lines:
            header = _whole_header(lines)
            ending = header[len(header.rstrip("\r\n")) :]
        if not header:
            raise EmptyFileError(name)
        self.separator = form.separator or _separator(header, form)
        self.indented = f"{self.separator} " in header
        self.quotes = form.quotes or self._find_quotes()
        with self._lines() as lines:
            try:
                columns = self._header(self._parsed(lines, self.quotes))
            except csv.Error as error:
                reason = self._misquoted([header], error)
                raise NoTableError(f"{name}: the header: {reason}") from error
        if self.quotes == "none":
            columns = [column.strip().strip('"') for column in columns]
        about = {
            "format": "TSV" if self.separator == "\t" else "CSV",
            "separator": SEPARATORS.get(self.separator, self.separator),
            "line_ends": {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}.get(ending, "none"),
            "quotes": self.quotes,
        }
        super().__init__(name, [column.strip() for column in columns], about)

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""
        places = [self.columns.index(column) for column in columns]
        self.repeated_headers = []
        with self._lines() as stream:
            lines = _Remembering(stream)
            records = self._parsed(lines, self.quotes)
            header = self._header(records)
            number = 0
            while True:
                lines.taken.clear()
                try:
                    record = next(records, None)
                except csv.Error as error:
                    number += 1
                    reason = self._misquoted(lines.taken, error)
                    self.refused(refuse if len(lines.taken) == 1 else None, number, reason)
                    continue
                if record is None:
                    return
                if not record:  # a blank line
                    continue
                number += 1
                if len(lines.taken) > 1 and self._swallowed(lines.taken):
                    self.refused(None, number, self._misquoted(lines.taken))
                if record == header:
                    self.repeated_headers.append(number)
                    if refuse:
                        refuse(number, "the header again")
                elif len(record) != self.width:
                    reason = f"it has {len(record)} fields, the header {self.width}"
                    self.refused(refuse, number, f"{reason} ({lines.taken[0].strip()[:60]!r})")
                else:
                    yield number, [record[i] for i in places]

    def _header(self, records: Iterator[list[str]]) -> list[str]:
        """Return the first record that is not blank, and take the form of rows from it."""
        header = next(filter(None, records), [])
        label = fold(self.form.label or "")
        self.width = len(header)
        self.label = next((i for i, c in enumerate(header) if label and fold(c) == label), None)
        return header

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        with self.opened() as file:
            yield iter(io.TextIOWrapper(file, self.encoding, newline=""))

    def _parsed(self, lines: Iterator[str], quotes: Quotes) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.indented,
            strict=True,
            **DIALECTS[quotes],
        )

    def _find_quotes(self) -> Quotes:
        """Return the first way to read quotes that gives each of the first rows all its fields."""
        with self._lines() as lines:
            sample = list(islice(lines, SAMPLE))
        if not any('"' in line for line in sample):
            return "double"
        escaped = any('\\"' in line for line in sample)
        whole = len(sample) < SAMPLE
        for quotes in DIALECTS:
            if (quotes != "backslash" or escaped) and self._fits(sample, quotes, whole):
                return quotes
        return "double"

    def _fits(self, sample: list[str], quotes: Quotes, whole: bool) -> bool:
        lines = _Remembering(iter(sample))
        records = self._parsed(lines, quotes)
        try:
            self._header(records)
            lines.taken.clear()
            for record in records:
                if record and len(record) != self.width:
                    return False
                if len(lines.taken) > 1 and self._swallowed(lines.taken):
                    return False
                lines.taken.clear()
        except csv.Error as error:
            return "unexpected end" in str(error) and not whole and len(lines.taken) < SAMPLE // 2
        return True

    def _swallowed(self, lines: list[str]) -> bool:
        """Tell a record of several rows from a text of several lines: each line is a row."""
        if self.label is None:  # nothing tells a row from a line of a text
            return False
        for fields in self._parsed(iter(lines), "none"):
            if len(fields) != self.width:
                return False
            if fold(fields[self.label]) not in self.form.labels:
                return False
        return True

    def _misquoted(self, lines: list[str], error: object = "") -> str:
        what = "a quote swallows the rows below" if len(lines) > 1 else "a quote is out of place"
        if "unexpected end" in str(error):
            what = "a quote is never closed"
        return (
            f"{what} ({''.join(lines)[:60].strip()!r}); mend it, or set {self.form.prefix}quotes "
            "to none if quotes are ordinary characters here"
        )


class _Remembering(Iterator[str]):
    """Lines, with those since the last `taken.clear()` kept."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.taken = lines, list[str]()

    def __next__(self) -> str:
        line = next(self.lines)
        self.taken.append(line)
        return line


def _whole_header(lines: Iterator[str]) -> str:
    """Return the first line that is not blank, with those that belong to it by its quotes."""
    first = header = next((line for line in lines if line.strip("\r\n")), "")
    for line in islice(lines, HEADER_LINES):
        if header.count('"') % 2 == 0:
            return header
        header += line
    return first


def _separator(header: str, form: Format) -> str:
    """Return what divides the header so that the text's column is found, else into most parts."""
    if not any(separator in header for separator in SEPARATORS):
        return ALONE

    def rank(separator: str) -> tuple[bool, int]:
        names = [fold(name) for name in header.split(separator)]
        return fold(form.text) in names, len(names)

    return max(SEPARATORS, key=rank)
