"""Defines a tweet's text: its maximum length, and the patterns of links, mentions and entities.

The patterns keep to the syntax that RE2 (the reader) and Oniguruma (the tokenizer) share.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

# Characters: an X Premium post has up to 25 000, and more once "&" is written as "&amp;".
# The server, `score` and `prepare` refuse longer texts.
MAX_TEXT = 30_000
Text = Annotated[
    str, StringConstraints(max_length=MAX_TEXT, pattern=r"\S"), Field(description="One tweet.")
]

URL = r"https?://\S+|www\.\S+"
MENTION = r"\B@\w+"
# Twitter escapes only &, < and >; the other entities come from text copied from web pages.
# "&amp;" is last, so that "&amp;lt;" becomes "&lt;", as in one round of HTML unescaping.
ENTITIES = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&apos;": "'",
    "&nbsp;": " ",
    "&amp;": "&",
}
