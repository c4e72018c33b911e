"""Tables in JSON: one object a line, an array, or pages of X's API."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from common.errors import InputError
from reader.format import Format
from reader.table import Open, Refuse, Row, TextTable

BLANK = "\ufeff \r\n\t"
PAGE = {"data", "includes", "meta", "errors", "matching_rules"}  # keys of a page of X's API
CUT = re.compile(r"\s*(…|\.\.\.)(\s*https?://\S+)?\s*$")  # how a truncated text ends
# Where APIs of Twitter and X have the full text of a tweet whose text is truncated.
FULL_TEXTS = (
    *(("full_text",), ("extended_tweet", "full_text"), ("note_tweet", "text")),
    *(("retweeted_status", "full_text"), ("retweeted_status", "extended_tweet", "full_text")),
)
RETWEET = re.compile(r"RT @\w+: ")  # the mark is missing in retweeted_status


class JsonTable(TextTable):
    """A table of JSON objects; its columns are the keys that occur in any of them.

    If a tweet's text is truncated and the object has its full text too, the full text is used.
    """

    def __init__(self, opened: Open, name: str, form: Format, encoding: str) -> None:
        """Collect the keys.

        Raises InputError if the file has no JSON object.
        """
        self.opened, self.encoding = opened, encoding
        keys, problems = dict[str, None](), list[str]()
        for _, tweet in self._objects(lambda _, reason: problems.append(reason)):
            keys |= dict.fromkeys(tweet)
        if not keys:
            problem = problems[0] if problems else "its JSON has no tweets"
            raise InputError(f"{name}: {problem}; docs/data.md says how to convert such files")
        super().__init__(name, [*keys], {"format": "JSON"})
        self.text = self.optional(form.text)

    def rows(self, columns: Sequence[str], refuse: Refuse | None) -> Iterator[Row]:
        """Yield each row's number and its fields; values other than strings become JSON."""
        for number, tweet in self._objects(refuse):
            if self.text and self.text in columns:
                text = tweet.get(self.text)
                if not isinstance(text, str | None):
                    reason = f"{self.text} is not a string (got {json.dumps(text)[:40]})"
                    self.refuse_row(refuse, number, reason)
                    continue
                tweet[self.text] = text and _full_text(text, tweet)
            fields = [_as_text(tweet.get(column)) for column in columns]
            try:
                "".join(field for field in fields if field).encode()
            except UnicodeEncodeError:
                self.refuse_row(refuse, number, "half a character (a lone surrogate)")
                continue
            yield number, fields

    def _objects(self, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield each JSON object with the number of its row."""
        number = 0
        for text in self._documents():
            try:
                tweets = list(_tweets(json.loads(text)))
            except (ValueError, RecursionError) as error:
                number += 1
                self.refuse_row(refuse, number, f"not JSON: {error}")
                continue
            for tweet in tweets:
                number += 1
                if isinstance(tweet, dict):
                    yield number, tweet
                else:
                    self.refuse_row(refuse, number, f"not a JSON object: {str(tweet)[:40]!r}")

    def _documents(self) -> Iterator[str]:
        """Yield each line; if the first line begins a longer document, the whole file."""
        with self.opened() as file:
            lines = io.TextIOWrapper(file, self.encoding)
            first = next((line for line in lines if line.strip(BLANK)), "").lstrip(BLANK)
            if first.rstrip().endswith(("{", "[", ",")):
                yield first + lines.read()
                return
            yield from filter(None, (line.strip(BLANK) for line in chain([first], lines)))


def _tweets(document: object) -> Iterator[object]:
    """Yield the tweets of a document: the items of an array or page, or the document itself."""
    if isinstance(document, list):
        for item in document:
            yield from _tweets(item)
    elif isinstance(document, dict) and document and PAGE.issuperset(document):
        data = document.get("data", [])  # the last page may have none
        yield from _tweets(data) if isinstance(data, dict | list) else [document]
    else:
        yield document


def _full_text(text: str, tweet: dict[str, object]) -> str:
    """Return the full text of a tweet if its text is truncated, else the text."""
    start = CUT.sub("", text)
    mark = match[0] if (match := RETWEET.match(start)) else ""
    for path in FULL_TEXTS if start != text else ():
        value: object = tweet
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value.startswith(start):
            return value
        if isinstance(value, str) and value.startswith(start.removeprefix(mark)):
            return mark + value
    return text


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
