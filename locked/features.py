"""Numbers that describe a tweet and tell nothing of its text, by which traffic is compared."""

import re
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
_LINK, _MENTION, _HASHTAG = re.compile(URL), re.compile(MENTION), re.compile(r"\B#\w")


def words(text: str) -> list[str]:
    """Return the words of a tweet in lower case, without links and mentions."""
    return WORD.findall(_MENTION.sub(" ", _LINK.sub(" ", text)).lower())


def hashed(word: str) -> int:
    """Return the 32 bits that stand for a word in a vocabulary."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def features(text: str, vocabulary: Container[int]) -> dict[str, float]:
    """Describe a tweet by FEATURES; `vocabulary` holds the hashed words of the training tweets."""
    found = words(text)
    letters = sum(map(str.isalpha, text))
    return {
        "characters": len(text),
        "words": len(found),
        "link": int(_LINK.search(text) is not None),
        "mention": int(_MENTION.search(text) is not None),
        "hashtag": int(_HASHTAG.search(text) is not None),
        "capitals": round(sum(map(str.isupper, text)) / max(letters, 1), 4),
        "non_ascii": round(
            (len(text) - len(text.encode("ascii", "ignore"))) / max(len(text), 1), 4
        ),
        "unknown": round(
            sum(hashed(word) not in vocabulary for word in found) / max(len(found), 1), 4
        ),
    }
