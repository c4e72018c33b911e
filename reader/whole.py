"""Replaces texts that an API of Twitter or X has cut by the whole ones."""

import re
from collections.abc import Sequence

import pyarrow

PATHS = (  # where a tweet has its whole text, beside the cut one
    "full_text",
    "extended_tweet.full_text",
    "note_tweet.text",
    "retweeted_status.full_text",
    "retweeted_status.extended_tweet.full_text",
)
CUT = re.compile(r"\s*(…|\.\.\.)(\s*https?://\S+)?\s*$")  # how a cut text ends
RETWEET = re.compile(r"RT @\w+: ")


def with_whole_texts(table: pyarrow.Table, text: str, paths: Sequence[str]) -> pyarrow.Table:
    """Return the table with each cut or missing text replaced by the whole one in these columns."""
    if not paths or not pyarrow.types.is_string(table.schema.field(text).type):
        return table
    candidates = zip(*(table[path].to_pylist() for path in paths), strict=True)
    texts = map(_whole, table[text].to_pylist(), candidates)
    index = table.schema.get_field_index(text)
    return table.set_column(index, text, pyarrow.array(texts, pyarrow.string()))


def _whole(text: str | None, candidates: tuple[object, ...]) -> str | None:
    texts = [candidate for candidate in candidates if candidate and isinstance(candidate, str)]
    if not text or text.isspace():
        return texts[0] if texts else text
    start = CUT.sub("", text)
    mark = match.group() if (match := RETWEET.match(start)) else ""
    for whole in texts if start != text else ():
        if whole.startswith(start):
            return whole
        if whole.startswith(start.removeprefix(mark)):  # the original has no RT @user
            return mark + whole
    return text
