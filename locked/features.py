"""Numbers that describe a tweet without its text, for comparing traffic."""

import re
import string
import zlib
from collections.abc import Container

from locked.text import MENTION, URL

FEATURES = (
    "characters",
    "words",
    "link",  # 0 or 1, as the next two
    "mention",
    "hashtag",
    "capitals",  # share of the letters
    "non_ascii",  # share of the characters
    "unknown",  # share of the words that the training tweets lack
)
WORD = re.compile(r"\w+")
_LOWER, _UPPER = string.ascii_lowercase.encode(), string.ascii_uppercase.encode()
_LINK, _MENTION, _HASHTAG = re.compile(URL), re.compile(MENTION), re.compile(r"\B#\w")


def words(text: str) -> list[str]:
    """Return the words of a tweet in lower case, without links and mentions."""
    return WORD.findall(_MENTION.sub(" ", _LINK.sub(" ", text)).lower())


def hashed(word: str) -> int:
    """Return the 32 bits that stand for a word in a vocabulary."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def features(text: str, vocabulary: Container[int]) -> dict[str, float]:
    """Describe a tweet by FEATURES; `vocabulary` holds the hashed words of the training tweets."""
    tokens = words(text)
    lower, upper = _letters(text)
    unknown = sum(hashed(word) not in vocabulary for word in tokens)
    return {
        "characters": len(text),
        "words": len(tokens),
        "link": int(_LINK.search(text) is not None),
        "mention": int(_MENTION.search(text) is not None),
        "hashtag": int(_HASHTAG.search(text) is not None),
        "capitals": round(upper / max(lower + upper, 1), 4),
        "non_ascii": round(1 - len(text.encode("ascii", "ignore")) / max(len(text), 1), 4),
        "unknown": round(unknown / max(len(tokens), 1), 4),
    }


def _letters(text: str) -> tuple[int, int]:
    """Count letters that are no capitals, and capitals."""
    if text.isascii():  # most are, and a server describes each that it answers
        raw = text.encode()
        lower, upper = (len(raw) - len(raw.translate(None, kind)) for kind in (_LOWER, _UPPER))
        return lower, upper
    upper = sum(map(str.isupper, text))
    return sum(map(str.isalpha, text)) - upper, upper
