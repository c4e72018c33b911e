"""What counts as a link, a mention or an entity in a tweet, for every stage that needs to know.

The patterns keep to the syntax that RE2 (prepare) and Oniguruma (the tokenizer) share.
"""

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
