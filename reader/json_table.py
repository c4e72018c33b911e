"""Tables in JSON: an object a line, or documents of any layout, also the pages of X's API."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from common.errors import NoTableError
from reader.format import Format, fold
from reader.table import PATHS, Open, Refuse, Row, TextTable

MOST_CHARACTERS = 2**27  # of documents of several lines, which have to fit in memory
ARCHIVE = re.compile(r"window\.YTD\.\w+\.part\d+\s*=\s*")  # the archive that X gives its users
ROWS = ("data", "statuses", "tweet")  # keys of a page under which its tweets are
PAGE = {*ROWS, "includes", "meta", "errors", "matching_rules", "search_metadata", "schema"}


class JsonTable(TextTable):
    """JSON objects; the columns are the keys of all of them."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Collect the keys; raise InputError if no object is a tweet."""
        self.opened, self.name, self.encoding, self.form = opened, name, encoding, form
        self.format = "JSON lines"
        keys, paths = dict[str, None](), dict[str, None]()
        for _, tweet in self._objects(lambda _number, _reason: None):
            keys |= dict.fromkeys(tweet)
            paths |= dict.fromkeys(p for p in PATHS if "." in p and _field(tweet, p) is not None)
        if not keys:
            raise NoTableError(f"{name}: no JSON object in it is a tweet")
        super().__init__(name, [*keys], {"format": self.format}, form)
        self.whole = [*dict.fromkeys([*self.whole, *paths])]

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields; what is no string is written as JSON."""
        for number, tweet in self._objects(refuse):
            try:
                fields = [_as_text(_field(tweet, column)) for column in columns]
                "".join(field for field in fields if field).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                is_half = isinstance(error, UnicodeEncodeError)
                reason = "half a character (a lone surrogate)" if is_half else "nested too deep"
                self.refused(refuse, number, reason)
                continue
            for name in self.texts:
                if name in columns and not isinstance(tweet.get(name), str | None):
                    value = str(_as_text(tweet[name]))[:40]
                    self.refused(refuse, number, f"{name} is no string (got {value})")
                    break
            else:
                yield number, fields

    def _objects(self, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, object]]]:
        number = 0
        for document in self._documents():
            if isinstance(document, ValueError | RecursionError):
                number += 1
                self.refused(refuse, number, f"not JSON: {document}")
                continue
            for tweet in self._tweets(document):
                number += 1
                if isinstance(tweet, dict):
                    yield number, tweet
                else:
                    self.refused(refuse, number, f"no JSON object but {str(tweet)[:40]!r}")

    def _tweets(self, document: object) -> Iterator[object]:
        """Yield the tweets of a document: of an array, of a page, or the document itself."""
        if isinstance(document, list):
            yield from chain.from_iterable(map(self._tweets, document))
        elif isinstance(document, dict) and document and PAGE.issuperset(document):
            inner = [document[key] for key in ROWS if key in document]
            is_text = any(fold(key) == fold(self.form.text) for key in document)
            if is_text or not all(isinstance(part, dict | list) for part in inner):
                yield document
            else:
                yield from chain.from_iterable(map(self._tweets, inner))
        else:
            yield document

    def _documents(self) -> Iterator[object]:
        """Yield each JSON document, or the error in its place."""
        with self.opened() as file:
            lines = io.TextIOWrapper(file, self.encoding)
            first = next((line for line in lines if line.strip("\ufeff \r\n\t")), "")
            if _is_spread(first):
                self.format = "JSON"
                yield from self._spread(first + lines.read(MOST_CHARACTERS))
                return
            for line in chain([first], lines):
                if text := line.strip("\ufeff \r\n\t"):
                    yield _parsed(text)

    def _spread(self, text: str) -> Iterator[object]:
        """Yield documents of several lines."""
        if len(text) >= MOST_CHARACTERS:
            raise NoTableError(
                f"{self.name}: too long for JSON of several lines; write one object a line: "
                "jq -c '.[]', or '.data[]' of pages"
            )
        decoder, end = json.JSONDecoder(), 0
        if start := ARCHIVE.match(text):
            end = start.end()
        while end < len(text):
            try:
                document, end = decoder.raw_decode(text, end)
            except (ValueError, RecursionError) as error:
                raise NoTableError(f"{self.name}: not JSON: {error}") from error
            yield document
            while end < len(text) and text[end] in "\ufeff \r\n\t,":
                end += 1


def _is_spread(line: str) -> bool:
    """Return whether a first line begins a document that goes on below."""
    text = line.strip("\ufeff \r\n\t")
    begins = text.startswith("[") or text.endswith(("{", "[", ",")) or bool(ARCHIVE.match(text))
    return begins and isinstance(_parsed(text), ValueError)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _field(tweet: dict[str, object], column: str) -> object:
    """Return a field by its key, or by its path through objects: extended_tweet.full_text."""
    if column in tweet or "." not in column:
        return tweet.get(column)
    value: object = tweet
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
