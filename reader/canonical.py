"""What a tweet says, apart from how it was passed on: tweets that read the same are one tweet."""

from collections.abc import Iterable

import pyarrow
import pyarrow.compute as pc

from locked.text import ENTITIES, MENTION, URL

# Format characters (zero-width, direction marks, soft hyphens) and variation selectors.
INVISIBLE = r"[\p{Cf}\x{FE00}-\x{FE0F}]+"
PASSED_ON = r"\b(rt|via)\s+@\w+:?"
CUT = r"[\pL\pN]\.\.\.[\p{P}\p{S}\s]*$"  # the ellipsis is three full stops by then


def canonical(text: pyarrow.Array) -> pyarrow.Array:
    """Reduce each tweet to bare words in lower case, without links, mentions and punctuation.

    Compatible characters are one (NFKC, https://unicode.org/reports/tr15/). A text of nothing but
    links, mentions and punctuation reads as itself.
    """
    words = pc.replace_substring_regex(_unwrapped(text), r"[\p{P}\p{S}\p{Z}\s]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), text, words)


def canonical_texts(texts: Iterable[str]) -> list[str]:
    """Return what each text reads as."""
    read: list[str] = canonical(pyarrow.array(texts, pyarrow.string())).to_pylist()
    return read


def is_cut(text: pyarrow.Array) -> pyarrow.Array:
    """Tell which tweets end in the middle, as retweets that grew too long do."""
    return pc.match_substring_regex(_unwrapped(text), CUT)


def _unwrapped(text: pyarrow.Array) -> pyarrow.Array:
    words = pc.utf8_lower(pc.utf8_normalize(text, form="NFKC"))
    for entity, character in ENTITIES.items():
        words = pc.replace_substring(words, entity, character)
    words = pc.replace_substring_regex(words, INVISIBLE, "")
    words = pc.replace_substring_regex(words, PASSED_ON, " ")
    return pc.replace_substring_regex(words, f"{URL}|{MENTION}", " ")
