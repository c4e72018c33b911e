"""Tables in JSON: one object a line, or documents of any layout, such as pages of X's API."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from common.errors import NoTableError
from reader.format import Format, fold
from reader.table import FULL_TEXT_PATHS, Open, Refuse, Row, TextTable

MAX_CHARACTERS = 2**27  # of documents that span lines, because they are read into memory
ARCHIVE = re.compile(r"window\.YTD\.\w+\.part\d+\s*=\s*")  # begins a file of a user's X archive
TWEET_KEYS = ("data", "statuses", "tweet")  # keys of a page whose values are its tweets
PAGE = {*TWEET_KEYS, "includes", "meta", "errors", "matching_rules", "search_metadata", "schema"}


class JsonTable(TextTable):
    """A table of JSON objects; its columns are the keys that occur in any of them."""

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Collect the keys.

        Raises InputError if the file has no JSON object, or documents that are too long.
        """
        self.opened, self.name, self.encoding, self.form = opened, name, encoding, form
        self.format = "JSON lines"
        keys, paths = dict[str, None](), dict[str, None]()
        nested = [path for path in FULL_TEXT_PATHS if "." in path]
        for _, tweet in self._objects(lambda _number, _reason: None):
            keys |= dict.fromkeys(tweet)
            paths |= dict.fromkeys(path for path in nested if _get_field(tweet, path) is not None)
        if not keys:
            raise NoTableError(f"{name}: its JSON has no tweets")
        super().__init__(name, [*keys], {"format": self.format}, form)
        self.full_text_columns = [*dict.fromkeys([*self.full_text_columns, *paths])]

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields; values other than strings become JSON."""
        for number, tweet in self._objects(refuse):
            try:
                fields = [_as_text(_get_field(tweet, column)) for column in columns]
                "".join(field for field in fields if field).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                is_surrogate = isinstance(error, UnicodeEncodeError)
                reason = "half a character (a lone surrogate)"
                self.refuse_row(refuse, number, reason if is_surrogate else "nested too deep")
                continue
            for name in self.text_columns:
                if name in columns and not isinstance(tweet.get(name), str | None):
                    value = str(_as_text(tweet[name]))[:40]
                    self.refuse_row(refuse, number, f"{name} is not a string (got {value})")
                    break
            else:
                yield number, fields

    def _objects(self, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield each JSON object with the number of its row."""
        number = 0
        for document in self._documents():
            if isinstance(document, ValueError | RecursionError):
                number += 1
                self.refuse_row(refuse, number, f"not JSON: {document}")
                continue
            for tweet in self._tweets(document):
                number += 1
                if isinstance(tweet, dict):
                    yield number, tweet
                else:
                    self.refuse_row(refuse, number, f"not a JSON object: {str(tweet)[:40]!r}")

    def _tweets(self, document: object) -> Iterator[object]:
        """Yield the tweets of a document: the items of an array or page, or the document itself."""
        if isinstance(document, list):
            yield from chain.from_iterable(map(self._tweets, document))
        elif isinstance(document, dict) and document and PAGE.issuperset(document):
            values = [document[key] for key in TWEET_KEYS if key in document]
            has_text = any(fold(key) == fold(self.form.text) for key in document)
            if has_text or not all(isinstance(value, dict | list) for value in values):
                yield document
            else:
                yield from chain.from_iterable(map(self._tweets, values))
        else:
            yield document

    def _documents(self) -> Iterator[object]:
        """Yield each JSON document, or for a line that is not JSON the exception."""
        with self.opened() as file:
            lines = io.TextIOWrapper(file, self.encoding)
            first = next((line for line in lines if line.strip("\ufeff \r\n\t")), "")
            if _is_multiline(first):
                self.format = "JSON"
                yield from self._parse_multiline(first + lines.read(MAX_CHARACTERS))
                return
            for line in chain([first], lines):
                if text := line.strip("\ufeff \r\n\t"):
                    yield _parse(text)

    def _parse_multiline(self, text: str) -> Iterator[object]:
        """Yield the documents of a text in which a document spans lines."""
        if len(text) >= MAX_CHARACTERS:
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


def _is_multiline(first_line: str) -> bool:
    """Return whether the first line begins a document that spans lines."""
    text = first_line.strip("\ufeff \r\n\t")
    is_start = text.startswith("[") or text.endswith(("{", "[", ",")) or bool(ARCHIVE.match(text))
    return is_start and isinstance(_parse(text), ValueError)


def _parse(text: str) -> object:
    """Return the JSON document, or the exception if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _get_field(tweet: dict[str, object], column: str) -> object:
    """Return a field by its key or by a path such as extended_tweet.full_text, None if missing."""
    if column in tweet or "." not in column:
        return tweet.get(column)
    value: object = tweet
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
