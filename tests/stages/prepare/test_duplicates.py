"""Which tweets are duplicates or near-duplicates."""

import random

import numpy as np
import pyarrow
import pytest

from stages.prepare.duplicates import Duplicates, _candidate_pairs, find_duplicates

WORDS = [f"word{i}" for i in range(2000)]


def duplicates(*texts: str, seed: int = 1) -> Duplicates:
    return find_duplicates(pyarrow.chunked_array([texts]), seed)


def tweets(seed: int = 1) -> list[list[str]]:
    chance = random.Random(seed)  # noqa: S311 - a fixed sample, not a secret
    return [chance.choices(WORDS, k=15) for _ in range(300)]


def test_one_canonical_text_is_one_tweet() -> None:
    result = duplicates("Fire at the mill!", "cake", "RT @you: fire, at the mill")
    assert result.same[0] == result.same[2] != result.same[1]
    assert result.hashes[0] == result.hashes[2] != result.hashes[1]
    assert duplicates("cake", seed=2).hashes[0] != result.hashes[1]


@pytest.mark.parametrize(("changed", "is_near"), [(1, True), (8, False)])
def test_changed_words(changed: int, is_near: bool) -> None:
    originals, others = tweets(), tweets(seed=2)
    copies = [[*a[changed:], *b[:changed]] for a, b in zip(originals, others, strict=True)]
    result = duplicates(*map(" ".join, originals + copies))
    assert (result.near[:300] == result.near[300:]).all() == is_near
    assert len(np.unique(result.near)) == (300 if is_near else 600)
    assert len(np.unique(result.same)) == 600


def test_a_cut_copy_is_the_same_tweet() -> None:
    originals = tweets()
    copies = [f"RT @someone: {' '.join(words[:12])} {words[12][:4]}\u2026" for words in originals]
    result = duplicates(*map(" ".join, originals), *copies)
    assert (result.same[:300] == result.same[300:]).all()
    assert len(np.unique(result.same)) == 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("just heard a loud bang\u2026", "just heard a loud noise at the old mill"),  # too short
        (" ".join(WORDS[:12]), " ".join(WORDS[:14])),  # not cut
        (" ".join(WORDS[:12]) + "\u2026", " ".join([*WORDS[:5], "no", *WORDS[6:14]])),
    ],
)
def test_a_common_beginning_alone_is_not_enough(one: str, other: str) -> None:
    result = duplicates(one, other)
    assert result.same[0] != result.same[1]


def test_a_copy_is_compared_with_few_others() -> None:
    """Otherwise a thousand copies would be half a million pairs."""
    hashes = np.random.default_rng(0).integers(2**64, size=1000, dtype=np.uint64)
    assert _candidate_pairs(np.zeros(1000, np.uint32), hashes).shape[1] < 2000
    result = duplicates(*(f"{' '.join(WORDS[:15])} number{i}" for i in range(1000)))
    assert len(np.unique(result.near)) == 1
    assert len(np.unique(result.same)) == 1000
