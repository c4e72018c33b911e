"""Numbers that describe a tweet without its text, with which the monitor measures drift."""

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
    """Return the 32-bit hash of a word, as a vocabulary has it."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def features(text: str, vocabulary: Container[int]) -> dict[str, float]:
    """Return the features of a tweet by name; `vocabulary` has the hashes of the known words."""
    tokens = words(text)
    letters, capitals = sum(map(str.isalpha, text)), sum(map(str.isupper, text))
    unknown_words = sum(hashed(word) not in vocabulary for word in tokens)
    return {
        "characters": len(text),
        "words": len(tokens),
        "link": int(_LINK.search(text) is not None),  # 0 or 1, as the next two
        "mention": int(_MENTION.search(text) is not None),
        "hashtag": int(_HASHTAG.search(text) is not None),
        "capitals": round(capitals / max(letters, 1), 4),  # share of the letters
        # share of the characters
        "non_ascii": round(1 - len(text.encode("ascii", "ignore")) / max(len(text), 1), 4),
        "unknown": round(unknown_words / max(len(tokens), 1), 4),  # share of the words
    }


FEATURES = tuple(features("", ()))  # their names
