"""The canonical text of a tweet: tweets with equal canonical text are duplicates."""

from collections.abc import Iterable

import pyarrow
import pyarrow.compute as pc

from locked.text import ENTITIES, MENTION, URL

# Format characters (zero-width, direction marks, soft hyphens) and variation selectors.
INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]+"
RETWEET = r"\b(rt|via)\s+@\w+:?"
CUT = r"[\pL\pN]\.\.\.[\p{P}\p{S}\s]*$"  # NFKC turns an ellipsis into three full stops


def canonicalise(texts: pyarrow.Array) -> pyarrow.Array:
    """Return each tweet's words in lower case, without links, mentions and punctuation.

    Characters are normalised by NFKC (https://unicode.org/reports/tr15/). A text that has only
    links, mentions and punctuation is returned unchanged.
    """
    words = pc.replace_substring_regex(_normalise(texts), r"[\p{P}\p{S}\p{Z}\s]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), texts, words)


def canonical_texts(texts: Iterable[str]) -> list[str]:
    """Return the canonical text of each text."""
    result: list[str] = canonicalise(pyarrow.array(texts, pyarrow.string())).to_pylist()
    return result


def is_cut(texts: pyarrow.Array) -> pyarrow.Array:
    """Return a mask of the tweets that end in a word and an ellipsis, as truncated retweets do."""
    return pc.match_substring_regex(_normalise(texts), CUT)


def _normalise(texts: pyarrow.Array) -> pyarrow.Array:
    """Return the texts in lower case and NFKC, without entities, links, mentions and RT marks."""
    texts = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    for entity, character in ENTITIES.items():
        texts = pc.replace_substring(texts, entity, character)
    texts = pc.replace_substring_regex(texts, INVISIBLE, "")
    texts = pc.replace_substring_regex(texts, RETWEET, " ")
    return pc.replace_substring_regex(texts, f"{URL}|{MENTION}", " ")
