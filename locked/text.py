"""What is a tweet that can be answered; what in it is a link, a mention or an entity.

The patterns keep to the syntax that RE2 (the reader) and Oniguruma (the tokenizer) share.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

MAX_TEXT = 4_000  # characters
Text = Annotated[
    str, StringConstraints(max_length=MAX_TEXT, pattern=r"\S"), Field(description="One tweet.")
]

URL = r"https?://\S+|www\.\S+"
MENTION = r"\B@\w+"
# Twitter escapes only &, < and >; the rest comes with text copied from web pages.
# "&amp;" is last, so that "&amp;lt;" becomes "&lt;", as one round of HTML unescaping has it.
ENTITIES = {
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&apos;": "'",
    "&nbsp;": " ",
    "&amp;": "&",
}
