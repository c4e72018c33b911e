"""The canonical text of a tweet: tweets with the same one are duplicates."""

from collections.abc import Iterable

import pyarrow
import pyarrow.compute as pc

from locked.text import ENTITIES, MENTION, URL

# Format characters (zero-width, direction marks, soft hyphens) and variation selectors.
INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]+"
RETWEET = r"\b(rt|via)\s+@\w+:?"
CUT = r"[\pL\pN]\.\.\.[\p{P}\p{S}\s]*$"  # NFKC has made three full stops of the ellipsis


def canonical(text: pyarrow.Array) -> pyarrow.Array:
    """Return each tweet's words in lower case, without links, mentions and punctuation.

    Compatible characters are equal (NFKC, https://unicode.org/reports/tr15/). A text of links,
    mentions and punctuation alone is returned as it is.
    """
    words = pc.replace_substring_regex(_words(text), r"[\p{P}\p{S}\p{Z}\s]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), text, words)


def canonical_texts(texts: Iterable[str]) -> list[str]:
    """Return the canonical text of each text."""
    result: list[str] = canonical(pyarrow.array(texts, pyarrow.string())).to_pylist()
    return result


def is_cut(text: pyarrow.Array) -> pyarrow.Array:
    """Return which tweets end in an ellipsis after a word, as retweets that were too long do."""
    return pc.match_substring_regex(_words(text), CUT)


def _words(text: pyarrow.Array) -> pyarrow.Array:
    words = pc.utf8_lower(pc.utf8_normalize(text, form="NFKC"))
    for entity, character in ENTITIES.items():
        words = pc.replace_substring(words, entity, character)
    words = pc.replace_substring_regex(words, INVISIBLE, "")
    words = pc.replace_substring_regex(words, RETWEET, " ")
    return pc.replace_substring_regex(words, f"{URL}|{MENTION}", " ")
