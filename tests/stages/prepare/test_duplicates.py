"""Who is found to be alike, and who is not."""

import random

import numpy as np
import pyarrow
import pytest

from stages.prepare.duplicates import CanonicalTexts, Kin

WORDS = [f"word{i}" for i in range(2000)]


def kin(*texts: str, seed: int = 1, chunk: int = 10_000) -> Kin:
    texts_seen = CanonicalTexts(seed)
    for start in range(0, len(texts), chunk):
        texts_seen.add(pyarrow.array(texts[start : start + chunk]))
    return texts_seen.kin()


def tweets(count: int, words: int = 15, seed: int = 1) -> list[list[str]]:
    chance = random.Random(seed)  # noqa: S311 - a fixed sample, not a secret
    return [chance.choices(WORDS, k=words) for _ in range(count)]


def test_one_reading_is_one_tweet() -> None:
    found = kin("Fire at the mill!", "cake", "RT @you: fire, at the mill")
    assert found.same[0] == found.same[2] != found.same[1]
    assert found.hashes[0] == found.hashes[2] != found.hashes[1]
    assert kin("cake", seed=2).hashes[0] != found.hashes[1]


def test_a_few_changed_words_are_near_but_another_tweet() -> None:
    originals = tweets(300)
    changed = [[*words[:6], "new", *words[7:]] for words in originals]
    found = kin(*map(" ".join, originals + changed))
    assert (found.near[:300] == found.near[300:]).all()
    assert len(np.unique(found.near)) == 300
    assert len(np.unique(found.same)) == 600


def test_half_the_words_make_another_tweet() -> None:
    originals = tweets(300)
    others = [
        [*words[:7], *new[:8]] for words, new in zip(originals, tweets(300, seed=2), strict=True)
    ]
    found = kin(*map(" ".join, originals + others))
    assert len(np.unique(found.near)) == 600


def test_a_cut_copy_is_the_same_tweet() -> None:
    originals = tweets(300)
    copies = [f"RT @someone: {' '.join(words[:12])} {words[12][:4]}\u2026" for words in originals]
    found = kin(*map(" ".join, originals), *copies)
    assert (found.same[:300] == found.same[300:]).all()
    assert len(np.unique(found.same)) == 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("just heard a loud bang\u2026", "just heard a loud noise at the old mill"),  # too short
        (" ".join(WORDS[:12]), " ".join(WORDS[:14])),  # not cut
        (" ".join(WORDS[:12]) + "\u2026", " ".join([*WORDS[:5], "no", *WORDS[6:14]])),
    ],
)
def test_a_beginning_alone_makes_no_copy(one: str, other: str) -> None:
    found = kin(one, other)
    assert found.same[0] != found.same[1]


def test_order_and_chunks_change_nothing() -> None:
    texts = [" ".join(words) for words in tweets(200)]
    texts += [f"{text} more" for text in texts[:50]]
    whole, parts, turned = kin(*texts), kin(*texts, chunk=7), kin(*texts[::-1])
    assert (whole.near == parts.near).all()
    assert (whole.hashes == turned.hashes[::-1]).all()
    pairs = whole.near[:, None] == whole.near
    again = turned.near[::-1]
    assert (pairs == (again[:, None] == again)).all()


def test_what_everybody_repeats_is_found_in_bounded_time() -> None:
    """Each of ten thousand copies is looked at a few times, not beside every other."""
    text = " ".join(WORDS[:15])
    found = kin(*(f"{text} number{i}" for i in range(10_000)))
    assert len(np.unique(found.near)) == 1
    assert len(np.unique(found.same)) == 10_000
