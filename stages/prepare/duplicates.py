"""Finds duplicates and near-duplicates among millions of tweets, in bounded time and memory.

Duplicates have one canonical text. Near-duplicates: at least 70 % of the words that occur in either
tweet occur in both (Jaccard similarity 0.7 or more). Only pairs with a common MinHash key (Broder
1997, https://doi.org/10.1109/SEQUEN.1997.666900) are compared, by locality-sensitive hashing
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from common.progress import Progress
from reader.canonical import canonicalise, is_cut

BANDS, BAND_ROWS = 24, 4  # a pair of similarity s has a common key with p = 1 - (1 - s^4)^24
NEAR = 0.7  # the least similarity, at which p = .999
LEAST_WORDS = 8  # before a cut; many different tweets begin with the same few words
PAIRS = 200_000  # compared at once
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio: a product with it mixes the bits
Hashes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Duplicates(NamedTuple):
    """Which rows are alike; each array has an entry a row."""

    hashes: Hashes  # of the canonical text, seeded
    same: Ids  # rows with the same number are one tweet
    near: Ids  # rows with the same number are linked by near-duplicates


class _Texts(NamedTuple):
    """Canonical texts as hashed words: some 160 bytes a tweet."""

    hashes: Hashes
    keys: npt.NDArray[np.uint32]  # (texts, BANDS), equal ones of similar texts
    starts: Ids  # (texts,) index of the first word
    counts: npt.NDArray[np.int32]  # (texts,) words
    cut: Bools  # (texts,)
    words: npt.NDArray[np.uint32]  # of all rows, one after another


def find_duplicates(texts: pyarrow.ChunkedArray, seed: int) -> Duplicates:
    """Return which texts are alike; the seed decides their hashes."""
    parts = [_hashed(chunk, seed) for chunk in texts.chunks if len(chunk)]
    hashes, keys, counts, cut, words = map(np.concatenate, zip(*parts, strict=True))
    _, rows, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    starts = np.cumsum(counts, dtype=np.int64) - counts
    columns = (part[rows] for part in (hashes, keys, starts, counts, cut))
    same, near = _linked(_Texts._make([*columns, words]))
    return Duplicates(hashes, same[inverse], near[inverse])


def _hashed(texts: pyarrow.Array, seed: int) -> tuple[npt.NDArray[np.generic], ...]:
    """Return hash, keys, number of words and cut of each text, and the hashes of all words."""
    bare = canonicalise(texts)
    # SipHash of 64 bits: two of 5 million different texts collide with p < 1e-6.
    values = np.asarray(bare, dtype=object)
    hashes = pd.util.hash_array(values, hash_key=f"{seed:016d}", categorize=False)
    words = pc.split_pattern(bare, " ")
    hashed = pd.util.hash_array(np.asarray(words.flatten(), dtype=object))
    counts = np.asarray(pc.list_value_length(words), dtype=np.int32)
    short = (hashed >> np.uint64(32)).astype(np.uint32)
    return hashes, _keys(hashed, counts), counts, np.asarray(is_cut(texts)), short


def _keys(words: Hashes, counts: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """Return (rows, BANDS) keys of each row's set of words."""
    drawn = np.random.Generator(np.random.Philox(1)).integers(2**64, size=(96, 2), dtype=np.uint64)
    starts = np.cumsum(counts) - counts
    keys = np.zeros((len(counts), BANDS), dtype=np.uint64)
    for number, (factor, term) in enumerate(drawn):
        hashed = (words * (factor | np.uint64(1)) + term) >> np.uint64(48)
        band = number // BAND_ROWS
        keys[:, band] = keys[:, band] << np.uint64(16) | np.minimum.reduceat(hashed, starts)
    return ((keys * GOLDEN) >> np.uint64(32)).astype(np.uint32)


def _linked(texts: _Texts) -> tuple[Ids, Ids]:
    """Return two numbers for each text: of the same tweet, and of linked near-duplicates."""
    count = len(texts.hashes)
    same_pairs, near_pairs = [np.empty((2, 0), np.int64)], [np.empty((2, 0), np.int64)]
    near = np.arange(count)
    for band in Progress(range(BANDS), desc="prepare: near-duplicates", unit=" bands"):
        candidates = _candidates(texts.keys[:, band], texts.hashes)
        linked = (near[candidates[0]] == near[candidates[1]]) & ~texts.cut[candidates].any(axis=0)
        candidates = candidates[:, ~linked]
        for start in range(0, candidates.shape[1], PAIRS):
            pairs = candidates[:, start : start + PAIRS]
            begins = _begins(texts, pairs)
            near_pairs.append(pairs[:, begins | (_similarity(texts, pairs) >= NEAR)])
            same_pairs.append(pairs[:, begins])
        near = _components(near_pairs, count)
    return _components(same_pairs, count), near


def _candidates(keys: npt.NDArray[np.uint32], hashes: Hashes) -> Ids:
    """Return (2, pairs): each text with the one before it and with the first one of its key."""
    ranked = keys.astype(np.uint64) << np.uint64(32) | hashes >> np.uint64(32)
    order = np.argsort(ranked, kind="stable")
    key = keys[order]
    is_first = np.concatenate([[True], key[1:] != key[:-1]])
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(key)), 0))
    others = np.flatnonzero(~is_first)
    distant = others[first[others] < others - 1]
    left = np.concatenate([others - 1, first[distant]])
    return np.stack([order[left], order[np.concatenate([others, distant])]])


def _similarity(texts: _Texts, pairs: Ids) -> npt.NDArray[np.float64]:
    """Return the Jaccard similarity of the sets of words of each pair."""

    def words_of(side: Ids) -> Hashes:
        owners, indexes = _spread(texts.starts[side], texts.counts[side])
        return np.unique(owners.astype(np.uint64) << np.uint64(32) | texts.words[indexes])

    left, right = words_of(pairs[0]), words_of(pairs[1])
    shared = np.intersect1d(left, right, assume_unique=True)
    of_left, of_right, both = (
        np.bincount((part >> np.uint64(32)).astype(np.int64), minlength=pairs.shape[1])
        for part in (left, right, shared)
    )
    return np.asarray(both / (of_left + of_right - both))


def _begins(texts: _Texts, pairs: Ids) -> Bools:
    """Return for each pair whether one is cut, and the other begins with the words before it."""
    result = np.zeros(pairs.shape[1], dtype=bool)
    for short, long in (pairs, pairs[::-1]):
        length = texts.counts[short] - 1  # the last word may be cut itself
        enough = (length >= LEAST_WORDS) & (texts.counts[long] > length)
        chosen = np.flatnonzero(texts.cut[short] & enough)
        owners, indexes = _spread(texts.starts[short[chosen]], length[chosen])
        shift = (texts.starts[long[chosen]] - texts.starts[short[chosen]])[owners]
        differ = texts.words[indexes] != texts.words[indexes + shift]
        result[chosen] |= np.bincount(owners, weights=differ, minlength=len(chosen)) == 0
    return result


def _spread(starts: Ids, counts: npt.NDArray[np.int32]) -> tuple[Ids, Ids]:
    """Return the text and the index of each word of each text."""
    owners = np.repeat(np.arange(len(starts)), counts)
    before = np.cumsum(counts, dtype=np.int64) - counts
    return owners, np.arange(len(owners)) - before[owners] + starts[owners]


def _components(pairs: list[Ids], count: int) -> Ids:
    left, right = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(left), bool), (left, right)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)
