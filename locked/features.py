"""Numbers that describe a tweet without its text, for comparing traffic."""

import re
import zlib
from collections.abc import Container

from locked.text import MENTION, URL

WORD = re.compile(r"\w+")
_LINK, _MENTION, _HASHTAG = re.compile(URL), re.compile(MENTION), re.compile(r"\B#\w")


def words(text: str) -> list[str]:
    """Return the words of a tweet in lower case, without links and mentions."""
    return WORD.findall(_MENTION.sub(" ", _LINK.sub(" ", text)).lower())


def hashed(word: str) -> int:
    """Return the 32 bits that stand for a word in a vocabulary."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def features(text: str, vocabulary: Container[int]) -> dict[str, float]:
    """Describe a tweet; `vocabulary` has the hashed words of the training tweets."""
    tokens = words(text)
    letters, capitals = sum(map(str.isalpha, text)), sum(map(str.isupper, text))
    unknown = sum(hashed(word) not in vocabulary for word in tokens)
    return {
        "characters": len(text),
        "words": len(tokens),
        "link": int(_LINK.search(text) is not None),  # 0 or 1, as the next two
        "mention": int(_MENTION.search(text) is not None),
        "hashtag": int(_HASHTAG.search(text) is not None),
        "capitals": round(capitals / max(letters, 1), 4),  # share of the letters
        "non_ascii": round(1 - len(text.encode("ascii", "ignore")) / max(len(text), 1), 4),  # share
        "unknown": round(unknown / max(len(tokens), 1), 4),  # share of the words
    }


FEATURES = tuple(features("", ()))  # their names
