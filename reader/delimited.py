"""Tables of delimited text, such as CSV and TSV."""

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

NO_SEPARATOR = "\x1f"  # of a table with one column; no text contains this character
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", NO_SEPARATOR: "none"}
DECLARATION = re.compile(r'\ufeff?"?sep=(.)\1*"?[\r\n]*', re.I)  # Excel's line above the header
SAMPLE_LINES = 20_000  # by which the quotes are detected
MAX_HEADER_LINES = 100  # quoted names may contain line ends
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
            if declaration := DECLARATION.fullmatch(next(lines, "")):
                self.declared_separator = declaration[1]
        with self._open_lines() as lines:
            header = _read_header_text(lines)
        if not header:
            raise EmptyFileError(name)
        self.line_end = header[len(header.rstrip("\r\n")) :]
        self.separator = form.separator or self.declared_separator or _find_separator(header, form)
        self.is_indented = f"{self.separator} " in header
        self.quotes = form.quotes or self._detect_quotes()
        with self._open_lines() as lines:
            try:
                columns = self._read_header(self._parse(lines, self.quotes))
            except csv.Error as error:
                reason = self._quote_error([header], error)
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
        with self._open_lines() as stream:
            lines = _Recorder(stream)
            records = self._parse(lines, self.quotes)
            header = self._read_header(records)
            for number in count(1):
                lines.recorded.clear()
                try:
                    record = next(filter(None, records), None)  # blank lines are no rows
                except csv.Error as error:
                    reason = self._quote_error(lines.non_blank, error)
                    self.refuse_row(refuse if len(lines.non_blank) == 1 else None, number, reason)
                    continue
                if record is None:
                    return
                if len(lines.non_blank) > 1 and self._has_swallowed_rows(lines.non_blank):
                    self.refuse_row(None, number, self._quote_error(lines.non_blank))
                if self._is_header(record, header):
                    self.repeated_headers.append(number)
                    if refuse:
                        refuse(number, "the header again")
                elif reason := self._row_error(record, lines.non_blank):
                    self.refuse_row(refuse, number, reason)
                else:
                    yield number, [record[i] for i in indexes]

    def _is_header(self, record: list[str], header: list[str]) -> bool:
        """Return whether a row repeats the header, as after concatenating files."""
        names = [fields[0].lstrip("\ufeff").strip('"') for fields in (record, header)]
        if self.declared_separator and DECLARATION.fullmatch(self.separator.join(record)):
            return True
        return record[1:] == header[1:] and names[0] == names[1]

    def _row_error(self, record: list[str], lines: list[str]) -> str:
        """Return what is wrong with a row, or "" if it is valid."""
        start = repr(lines[0].strip()[:60])
        if lines[-1].endswith("\r") and self.line_end != "\r":
            return f"a bare CR (\\r) follows {start}; remove it, or put the text in quotes"
        if len(record) != self.width:
            return f"it has {len(record)} fields, the header {self.width} ({start})"
        return ""

    def _read_header(self, records: Iterator[list[str]]) -> list[str]:
        """Return the first non-blank record; set `width` and the label's index `label` by it."""
        header = next(filter(None, records), [])
        label = fold(self.form.label or "")
        self.width = len(header)
        self.label = next((i for i, c in enumerate(header) if label and fold(c) == label), None)
        return header

    @contextmanager
    def _open_lines(self) -> Iterator[Iterator[str]]:
        """Yield the lines from the header on."""
        with self.opened() as file:
            lines = iter(io.TextIOWrapper(file, self.encoding, newline=""))
            yield islice(lines, 1 if self.declared_separator else 0, None)

    def _parse(self, lines: Iterator[str], quotes: Quotes) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.is_indented,
            strict=True,
            **DIALECTS[quotes],
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
        lines = _Recorder(iter(sample))
        records = self._parse(lines, quotes)
        try:
            self._read_header(records)
            lines.recorded.clear()
            for record in records:
                if record and len(record) != self.width:
                    return False
                if len(lines.recorded) > 1 and self._has_swallowed_rows(lines.recorded):
                    return False
                lines.recorded.clear()
        except csv.Error as error:  # the sample may end inside a quote
            is_truncated = len(sample) == SAMPLE_LINES and len(lines.recorded) < SAMPLE_LINES // 2
            return is_truncated and "unexpected end" in str(error)
        return True

    def _has_swallowed_rows(self, lines: list[str]) -> bool:
        """Return whether each line of a record is a row, so that its quote was never closed."""
        if self.label is None:  # without labels, a row looks like a line of a text
            return False
        return all(
            len(fields) == self.width and fold(fields[self.label]) in self.form.labels
            for fields in self._parse(iter(lines), "none")
        )

    def _quote_error(self, lines: list[str], error: object = "") -> str:
        """Return what is wrong with the quotes of a record, and what to do."""
        reason = "a quote swallows the rows below" if len(lines) > 1 else "a quote is out of place"
        if "unexpected end" in str(error):
            reason = "a quote is never closed"
        return (
            f"{reason} ({''.join(lines)[:60].strip()!r}); correct it, or set "
            f"{self.form.prefix}quotes to none if quotes are ordinary characters here"
        )


class _Recorder(Iterator[str]):
    """Yields lines and records them in `recorded`, which the caller clears."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.recorded = lines, list[str]()

    def __next__(self) -> str:
        line = next(self.lines)
        self.recorded.append(line)
        return line

    @property
    def non_blank(self) -> list[str]:
        """The recorded lines that are not blank."""
        return [line for line in self.recorded if line.strip("\r\n")]


def _read_header_text(lines: Iterator[str]) -> str:
    """Return the first non-blank line, with the lines below that belong to its quoted names."""
    first = header = next((line for line in lines if line.strip("\r\n")), "")
    for line in islice(lines, MAX_HEADER_LINES):
        if header.count('"') % 2 == 0:
            return header
        header += line
    return first


def _find_separator(header: str, form: Format) -> str:
    """Return the separator with which the header has the text column, else the most columns."""
    if not any(separator in header for separator in SEPARATORS):
        return NO_SEPARATOR

    def rank(separator: str) -> tuple[bool, int]:
        names = [fold(name) for name in header.split(separator)]
        return fold(form.text) in names, len(names)

    return max(SEPARATORS, key=rank)
