"""Tables of lines: CSV, TSV and the like."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

from common.errors import NoTableError
from reader.format import Format, Quotes, fold
from reader.table import EmptyFileError, Open, Refuse, Row, TextTable

NO_SEPARATOR = "\x1f"  # of a table with one column: no text has this character
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", NO_SEPARATOR: "none"}
DECLARED = re.compile(r'\ufeff?"?sep=(.)\1*"?[\r\n]*', re.I)  # Excel's line above the header
SAMPLE = 20_000  # rows by which quotes are judged
HEADER_LINES = 100  # at most, of a header whose names have line ends in them
DIALECTS: dict[Quotes, dict[str, Any]] = {
    "double": {"quotechar": '"', "doublequote": True},
    "backslash": {"quotechar": '"', "doublequote": False, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE},
}
csv.field_size_limit(2**24)  # characters, the most that a quote which is never closed may take


class Delimited(TextTable):
    """A table of lines; its form is detected from its header and its first rows."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Detect the form.

        Raises InputError if there is no header, or its quotes are out of place.
        """
        self.opened, self.form, self.encoding, self.declared = opened, form, encoding, ""
        with self._lines() as lines:
            if declaration := DECLARED.fullmatch(next(lines, "")):
                self.declared = declaration[1]
        with self._lines() as lines:
            header = _whole_header(lines)
        if not header:
            raise EmptyFileError(name)
        self.line_end = header[len(header.rstrip("\r\n")) :]
        self.separator = form.separator or self.declared or _separator(header, form)
        self.is_indented = f"{self.separator} " in header
        self.quotes = form.quotes or self._detected_quotes()
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
            "line_ends": {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}.get(self.line_end, "none"),
            "quotes": self.quotes,
        }
        super().__init__(name, [column.strip() for column in columns], about, form)

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields."""
        indexes = [self.columns.index(column) for column in columns]
        self.repeated_headers = []
        with self._lines() as stream:
            lines = _Recorder(stream)
            records = self._parsed(lines, self.quotes)
            header = self._header(records)
            for number in count(1):
                lines.kept.clear()
                try:
                    record = next(filter(None, records), None)  # blank lines are no rows
                except csv.Error as error:
                    reason = self._misquoted(lines.rows, error)
                    self.refused(refuse if len(lines.rows) == 1 else None, number, reason)
                    continue
                if record is None:
                    return
                if len(lines.rows) > 1 and self._has_swallowed_rows(lines.rows):
                    self.refused(None, number, self._misquoted(lines.rows))
                if self._is_header(record, header):
                    self.repeated_headers.append(number)
                    if refuse:
                        refuse(number, "the header again")
                elif reason := self._unfit(record, lines.rows):
                    self.refused(refuse, number, reason)
                else:
                    yield number, [record[i] for i in indexes]

    def _is_header(self, record: list[str], header: list[str]) -> bool:
        """Return whether a row is the header of another file that was appended to the first."""
        first = [fields[0].lstrip("\ufeff").strip('"') for fields in (record, header)]
        if self.declared and DECLARED.fullmatch(self.separator.join(record)):
            return True
        return record[1:] == header[1:] and first[0] == first[1]

    def _unfit(self, record: list[str], lines: list[str]) -> str:
        """Return what is wrong with a row, "" if it fits."""
        start = repr(lines[0].strip()[:60])
        if lines[-1].endswith("\r") and self.line_end != "\r":
            return f"a bare CR (\\r) follows {start}; remove it, or put the text in quotes"
        if len(record) != self.width:
            return f"it has {len(record)} fields, the header {self.width} ({start})"
        return ""

    def _header(self, records: Iterator[list[str]]) -> list[str]:
        """Return the first record that is not blank; set the width and the label's index by it."""
        header = next(filter(None, records), [])
        label = fold(self.form.label or "")
        self.width = len(header)
        self.label = next((i for i, c in enumerate(header) if label and fold(c) == label), None)
        return header

    @contextmanager
    def _lines(self) -> Iterator[Iterator[str]]:
        with self.opened() as file:
            lines = iter(io.TextIOWrapper(file, self.encoding, newline=""))
            yield islice(lines, 1 if self.declared else 0, None)

    def _parsed(self, lines: Iterator[str], quotes: Quotes) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.is_indented,
            strict=True,
            **DIALECTS[quotes],
        )

    def _detected_quotes(self) -> Quotes:
        """Return the first meaning of quotes that gives each of the first rows all its fields."""
        with self._lines() as lines:
            sample = list(islice(lines, SAMPLE))
        escaped = any('\\"' in line for line in sample)
        tried = [quotes for quotes in DIALECTS if escaped or quotes != "backslash"]
        if not any('"' in line for line in sample):
            return "double"
        return next((quotes for quotes in tried if self._fits(sample, quotes)), "double")

    def _fits(self, sample: list[str], quotes: Quotes) -> bool:
        lines = _Recorder(iter(sample))
        records = self._parsed(lines, quotes)
        try:
            self._header(records)
            lines.kept.clear()
            for record in records:
                if record and len(record) != self.width:
                    return False
                if len(lines.kept) > 1 and self._has_swallowed_rows(lines.kept):
                    return False
                lines.kept.clear()
        except csv.Error as error:  # the sample may end inside a quote
            is_part = len(sample) == SAMPLE and len(lines.kept) < SAMPLE // 2
            return is_part and "unexpected end" in str(error)
        return True

    def _has_swallowed_rows(self, lines: list[str]) -> bool:
        """Return whether each line of a record is a row: its quote takes in the rows below."""
        if self.label is None:  # nothing tells a row from a line of a text
            return False
        return all(
            len(fields) == self.width and fold(fields[self.label]) in self.form.labels
            for fields in self._parsed(iter(lines), "none")
        )

    def _misquoted(self, lines: list[str], error: object = "") -> str:
        reason = "a quote swallows the rows below" if len(lines) > 1 else "a quote is out of place"
        if "unexpected end" in str(error):
            reason = "a quote is never closed"
        return (
            f"{reason} ({''.join(lines)[:60].strip()!r}); correct it, or set "
            f"{self.form.prefix}quotes to none if quotes are ordinary characters here"
        )


class _Recorder(Iterator[str]):
    """Yields lines, and keeps those since the last `kept.clear()`."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.kept = lines, list[str]()

    def __next__(self) -> str:
        line = next(self.lines)
        self.kept.append(line)
        return line

    @property
    def rows(self) -> list[str]:
        """The kept lines that are not blank."""
        return [line for line in self.kept if line.strip("\r\n")]


def _whole_header(lines: Iterator[str]) -> str:
    """Return the first line that is not blank, and those that its quotes join to it."""
    first = header = next((line for line in lines if line.strip("\r\n")), "")
    for line in islice(lines, HEADER_LINES):
        if header.count('"') % 2 == 0:
            return header
        header += line
    return first


def _separator(header: str, form: Format) -> str:
    """Return the separator that gives the text's column its name, else the most columns."""
    if not any(separator in header for separator in SEPARATORS):
        return NO_SEPARATOR

    def rank(separator: str) -> tuple[bool, int]:
        names = [fold(name) for name in header.split(separator)]
        return fold(form.text) in names, len(names)

    return max(SEPARATORS, key=rank)
