"""The canonical text of a tweet: tweets with equal canonical text are duplicates."""

from collections.abc import Iterable

import pyarrow
import pyarrow.compute as pc

from locked.text import ENTITIES, MENTION, URL

# Format characters (zero-width, direction marks, soft hyphens) and variation selectors.
INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]+"
RETWEET = r"\b(rt|via)\s+@\w+:?"


def canonicalise(texts: pyarrow.Array) -> pyarrow.Array:
    """Return each tweet's words in lower case, without links, mentions and punctuation.

    Characters are normalised by NFKC (https://unicode.org/reports/tr15/). A text that has only
    links, mentions and punctuation is returned unchanged.
    """
    words = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    for entity, character in ENTITIES.items():
        words = pc.replace_substring(words, entity, character)
    words = pc.replace_substring_regex(words, INVISIBLE, "")
    words = pc.replace_substring_regex(words, RETWEET, " ")
    words = pc.replace_substring_regex(words, f"{URL}|{MENTION}", " ")
    words = pc.replace_substring_regex(words, r"[\p{P}\p{S}\p{Z}\s]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), texts, words)


def canonical_texts(texts: Iterable[str]) -> list[str]:
    """Return the canonical text of each text."""
    result: list[str] = canonicalise(pyarrow.array(texts, pyarrow.string())).to_pylist()
    return result
